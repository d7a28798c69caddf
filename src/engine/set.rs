//! [`EngineSet`]: an engine for each of many users, within one limit of memory.

pub(super) mod config;
mod entries;

use std::fmt;
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use self::config::{EngineSetConfig, EngineSetError, EngineSetStats, Evicted};
use self::entries::{EngineEntries, TakenEngine};
use super::builder::EngineError;
use super::lua_engine::LuaEngine;

type MakeEngine<K> = dyn Fn(&K) -> Result<LuaEngine, EngineError> + Send + Sync;
type OnEvict<K> = dyn Fn(Evicted<K>) + Send + Sync;

/// Engines by key, such as one for each user, with limits on their number and their total memory. When there is no room,
/// the least recently used engine is evicted, and the owner of the set gets its state.
///
/// Many threads can share a set. An engine is used by one thread at a time; others wait for it for at most
/// [`EngineSetConfig::wait`]. An engine in use is never evicted.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
/// use bevy_lua_pool::engine::{EngineSet, EngineSetConfig, LuaEngine};
///
/// let saved = Arc::new(Mutex::new(HashMap::new()));
/// let (load, save) = (saved.clone(), saved);
/// let users = EngineSet::new(
///     EngineSetConfig { max_engines: 1, ..EngineSetConfig::default() },
///     move |user: &String| {
///         let mut engine = LuaEngine::new()?;
///         if let Some(state) = load.lock().unwrap().remove(user) {
///             engine.restore(&state)?;
///         }
///         Ok(engine)
///     },
///     move |evicted| {
///         if let Ok(state) = evicted.state {
///             save.lock().unwrap().insert(evicted.key, state);
///         }
///     },
/// )?;
/// users.try_with("ann", |engine| engine.run("gold = 5"))?;
/// users.try_with("bob", |engine| engine.run("gold = 1"))?;
/// let gold = users.try_with("ann", |engine| engine.evaluate("gold"))?;
/// assert_eq!(gold, 5.0.into());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EngineSet<K> {
    engines: Mutex<EngineEntries<K>>,
    /// Signalled when an engine or room becomes available.
    available: Condvar,
    config: EngineSetConfig,
    make: Box<MakeEngine<K>>,
    on_evict: Box<OnEvict<K>>,
}

impl<K: Hash + Eq + Clone> EngineSet<K> {
    /// An empty set. `make` makes the engine of a key that has none; it may restore an earlier state. `on_evict` gets the
    /// state of an evicted engine; until it returns, no new engine is made for that key. Both are called on the thread
    /// that needs the room, without a lock held, and must not use the set.
    ///
    /// # Errors
    /// [`EngineSetError::Config`] if a number is too small.
    pub fn new(
        config: EngineSetConfig,
        make: impl Fn(&K) -> Result<LuaEngine, EngineError> + Send + Sync + 'static,
        on_evict: impl Fn(Evicted<K>) + Send + Sync + 'static,
    ) -> Result<Self, EngineSetError> {
        config.check()?;
        Ok(Self {
            engines: Mutex::new(EngineEntries::new()),
            available: Condvar::new(),
            config,
            make: Box::new(make),
            on_evict: Box::new(on_evict),
        })
    }

    /// Calls `body` with the engine of a key, which can be borrowed: a `&str` for `String` keys. Makes the engine if
    /// there is none. Use one at a time: a thread that asks for a second one within `body` may wait for itself.
    ///
    /// [`EngineSet::try_with`] is for a `body` that can fail.
    ///
    /// # Errors
    /// [`EngineSetError::Busy`] if the wait takes too long, [`EngineSetError::Make`] if the engine can't be made.
    pub fn with<Q, R>(
        &self,
        key: &Q,
        body: impl FnOnce(&mut LuaEngine) -> R,
    ) -> Result<R, EngineSetError>
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let mut guard = self.take(key.to_owned())?;
        let engine = match guard.engine.take() {
            Some(engine) => engine,
            None => {
                let mut engine = Box::new((self.make)(&guard.key)?);
                if engine.stats().memory_limit > self.config.max_engine_memory {
                    engine.set_memory_limit(self.config.max_engine_memory);
                }
                self.lock().created += 1;
                engine
            }
        };
        Ok(body(guard.engine.insert(engine)))
    }

    /// As [`EngineSet::with`], for a `body` that can fail: one error covers everything that can go wrong.
    ///
    /// # Errors
    /// As [`EngineSet::with`]; [`EngineSetError::Script`] if a script failed.
    pub fn try_with<Q, R, E>(
        &self,
        key: &Q,
        body: impl FnOnce(&mut LuaEngine) -> Result<R, E>,
    ) -> Result<R, EngineSetError>
    where
        Q: ToOwned<Owned = K> + ?Sized,
        E: Into<EngineSetError>,
    {
        self.with(key, body)?.map_err(E::into)
    }

    /// Evicts the engine of a key, if it has one that is not in use; `on_evict` gets its state. Returns whether it
    /// did.
    pub fn evict<Q>(&self, key: &Q) -> bool
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let key = key.to_owned();
        let taken = self.lock().take(&key);
        match taken {
            Some(taken) => {
                self.finish_eviction(key, taken);
                true
            }
            None => false,
        }
    }

    /// Evicts all engines that are not in use, the least recently used first, and returns their number. Call it before
    /// the program ends, so that no state is lost.
    pub fn evict_all(&self) -> usize {
        let mut count = 0;
        loop {
            let oldest = self.lock().take_oldest(None);
            let Some((key, taken)) = oldest else {
                return count;
            };
            self.finish_eviction(key, taken);
            count += 1;
        }
    }

    /// The current figures.
    #[must_use]
    pub fn stats(&self) -> EngineSetStats {
        let engines = self.lock();
        EngineSetStats {
            engines: engines.len(),
            in_use: engines.busy,
            memory_bytes: engines.memory,
            created: engines.created,
            evicted: engines.evicted,
        }
    }

    /// Takes the engine of a key, or the right to make it, once there is room for it.
    fn take(&self, key: K) -> Result<EngineGuard<'_, K>, EngineSetError> {
        let start = Instant::now();
        let mut engines = self.lock();
        loop {
            if !engines.is_busy(&key) {
                if engines.has_room_for(&key, &self.config) {
                    let engine = engines.reserve(&key, self.config.max_engine_memory);
                    return Ok(EngineGuard { set: self, key, engine });
                }
                if let Some((other, taken)) = engines.take_oldest(Some(&key)) {
                    drop(engines);
                    self.finish_eviction(other, taken);
                    engines = self.lock();
                    continue;
                }
            }
            let waited = start.elapsed();
            let Some(left) = self.config.wait.checked_sub(waited).filter(|left| !left.is_zero())
            else {
                return Err(EngineSetError::Busy { waited });
            };
            engines = self
                .available
                .wait_timeout(engines, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(engines, _)| engines);
        }
    }

    /// Passes the state of an engine to `on_evict`, then frees its entry.
    fn finish_eviction(&self, key: K, taken: TakenEngine) {
        let TakenEngine { engine, memory } = taken;
        let _free_entry = FreeEntry { set: self, key: &key, memory };
        let state = engine.into_state();
        self.lock().evicted += 1;
        (self.on_evict)(Evicted { key: key.clone(), state });
    }
}

impl<K: Hash + Eq> EngineSet<K> {
    fn lock(&self) -> MutexGuard<'_, EngineEntries<K>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a busy key that counts as `memory` bytes.
    fn free(&self, key: &K, memory: usize) {
        self.lock().remove_busy(key, memory);
        self.available.notify_all();
    }

    /// Returns an engine that was in use.
    fn put_back(&self, key: &K, engine: Box<LuaEngine>) {
        let memory = engine.memory_bytes();
        self.lock().put_back(key, engine, self.config.max_engine_memory, memory);
        self.available.notify_all();
    }
}

impl<K> fmt::Debug for EngineSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSet").field("config", &self.config).finish_non_exhaustive()
    }
}

/// An engine in use, or the right to make it. Returned on drop, also if the user panics.
struct EngineGuard<'s, K: Hash + Eq> {
    set: &'s EngineSet<K>,
    key: K,
    engine: Option<Box<LuaEngine>>,
}

impl<K: Hash + Eq> Drop for EngineGuard<'_, K> {
    fn drop(&mut self) {
        match self.engine.take() {
            Some(engine) => self.set.put_back(&self.key, engine),
            None => self.set.free(&self.key, self.set.config.max_engine_memory),
        }
    }
}

/// Frees the entry of an evicted engine on drop, also if `on_evict` panics.
struct FreeEntry<'s, K: Hash + Eq> {
    set: &'s EngineSet<K>,
    key: &'s K,
    memory: usize,
}

impl<K: Hash + Eq> Drop for FreeEntry<'_, K> {
    fn drop(&mut self) {
        self.set.free(self.key, self.memory);
    }
}
