//! [`EngineSet`]: an engine for each of many users, under one total.

use std::fmt;
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::{EngineError, LuaEngine};
use crate::error::Failure;
use crate::value::ScriptTable;

const MIB: usize = 1024 * 1024;

/// How many engines an [`EngineSet`] keeps, and how much they may hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineSetConfig {
    /// Engines that may exist at once. Default 64; at least 1.
    pub max_engines: usize,
    /// Bytes that all engines may hold together: those that rest count what they hold, those in use
    /// `max_engine_memory`. Default 1 GiB; at least `max_engine_memory`.
    pub max_total_memory: usize,
    /// Bytes that each engine may hold; an engine that is made with a larger limit gets this one.
    /// Default 50 MiB.
    pub max_engine_memory: usize,
    /// How long [`EngineSet::with`] waits for an engine that another thread uses, or for room.
    /// Default 1 s.
    pub wait: Duration,
}

impl Default for EngineSetConfig {
    fn default() -> Self {
        Self {
            max_engines: 64,
            max_total_memory: 1024 * MIB,
            max_engine_memory: 50 * MIB,
            wait: Duration::from_secs(1),
        }
    }
}

/// What is left of an engine that had to make room.
#[derive(Clone, Debug, PartialEq)]
pub struct Evicted<K> {
    /// Whose engine it was.
    pub key: K,
    /// Its globals that are plain data, for [`LuaEngine::restore`]; or why they can't be had: they are larger than the
    /// engine's `value_limit`, or to look at them takes longer than 10 s, or its `time_limit` if that is more. Its
    /// `call_timeout` and its [`Interrupter`](super::Interrupter) don't matter here.
    pub state: Result<ScriptTable, Failure>,
}

/// The figures of an [`EngineSet`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineSetStats {
    /// Engines that exist, those in use included.
    pub engines: usize,
    /// Engines in use, being made or being evicted.
    pub in_use: usize,
    /// Bytes that count towards `max_total_memory`.
    pub memory_bytes: usize,
    /// Engines ever made.
    pub created: u64,
    /// Engines ever evicted.
    pub evicted: u64,
}

/// Why [`EngineSet::with`] gives no engine, [`EngineSet::try_with`] no value, or [`EngineSet::new`] no set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineSetError {
    /// Another thread kept the engine, or all room, for too long.
    #[error(
        "no engine in {waited:?}: it is in use, or all room is; use engines for a shorter time, or \
         raise `wait`, `max_engines` or `max_total_memory`"
    )]
    Busy {
        /// The time spent waiting.
        waited: Duration,
    },
    /// The engine can't be made, or something can't be offered to it.
    #[error(transparent)]
    Make(#[from] EngineError),
    /// A script failed.
    #[error(transparent)]
    Script(#[from] Failure),
    /// The configuration is not valid.
    #[error("`{field}` is {value}: at least {least} is needed")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The least that it may be.
        least: usize,
    },
}

type Make<K> = dyn Fn(&K) -> Result<LuaEngine, EngineError> + Send + Sync;
type OnEvict<K> = dyn Fn(Evicted<K>) + Send + Sync;

/// Engines by key, such as one for each user, bounded in number and in memory together. When there is no
/// room, the one that was used least recently goes, and its state is handed to the owner of the set.
///
/// To be shared by many threads: an engine is used by one at a time, and whoever wants it meanwhile waits
/// for at most [`EngineSetConfig::wait`]. An engine in use is never evicted.
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
    inner: Mutex<Inner<K>>,
    returned: Condvar,
    config: EngineSetConfig,
    make: Box<Make<K>>,
    on_evict: Box<OnEvict<K>>,
}

struct Inner<K> {
    slots: LruCache<K, Slot>,
    memory: usize,
    /// Keys whose slot is [`Slot::Away`].
    away: usize,
    created: u64,
    evicted: u64,
}

enum Slot {
    /// The engine, and the bytes that it held when it was given back.
    Resting(Box<LuaEngine>, usize),
    /// In use, being made, or being evicted.
    Away,
}

impl<K: Hash + Eq + Clone> EngineSet<K> {
    /// An empty set. `make` makes the engine of a key that has none; it may restore what it had before.
    /// `on_evict` gets what is left of an engine that had to go; until it returns, nobody gets a new
    /// engine for that key. Both are called on the thread that needs room, without any lock held; they
    /// must not use the set.
    ///
    /// # Errors
    /// [`EngineSetError::Config`] if a number is too small.
    pub fn new(
        config: EngineSetConfig,
        make: impl Fn(&K) -> Result<LuaEngine, EngineError> + Send + Sync + 'static,
        on_evict: impl Fn(Evicted<K>) + Send + Sync + 'static,
    ) -> Result<Self, EngineSetError> {
        let at_least = |field, value, least| {
            if value < least {
                return Err(EngineSetError::Config { field, value, least });
            }
            Ok(())
        };
        at_least("max_engines", config.max_engines, 1)?;
        at_least("max_engine_memory", config.max_engine_memory, MIB)?;
        at_least("max_total_memory", config.max_total_memory, config.max_engine_memory)?;
        let inner =
            Inner { slots: LruCache::unbounded(), memory: 0, away: 0, created: 0, evicted: 0 };
        Ok(Self {
            inner: Mutex::new(inner),
            returned: Condvar::new(),
            config,
            make: Box::new(make),
            on_evict: Box::new(on_evict),
        })
    }

    /// Uses the engine of a key, which can be borrowed: a `&str` where the keys are `String`s. Makes it if there is
    /// none. Use one at a time: a thread that asks for a second one from within `body` may wait for itself.
    ///
    /// [`EngineSet::try_with`] is for a `body` that can fail.
    ///
    /// # Errors
    /// [`EngineSetError::Busy`] when the time to wait is over, [`EngineSetError::Make`] when the engine
    /// can't be made.
    pub fn with<Q, R>(
        &self,
        key: &Q,
        body: impl FnOnce(&mut LuaEngine) -> R,
    ) -> Result<R, EngineSetError>
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let mut taken = self.take(key.to_owned())?;
        let engine = match taken.engine.take() {
            Some(engine) => engine,
            None => {
                let mut engine = Box::new((self.make)(&taken.key)?);
                if engine.stats().memory_limit > self.config.max_engine_memory {
                    engine.set_memory_limit(self.config.max_engine_memory);
                }
                self.lock().created += 1;
                engine
            }
        };
        Ok(body(taken.engine.insert(engine)))
    }

    /// As [`EngineSet::with`], for a `body` that can fail as scripts do: there is one error for all that can go wrong.
    ///
    /// # Errors
    /// As [`EngineSet::with`]; [`EngineSetError::Script`] when a script failed.
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

    /// Evicts the engine of a key, if there is one that nobody uses; `on_evict` gets its state. Gives
    /// whether there was.
    pub fn evict<Q>(&self, key: &Q) -> bool
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let key = key.to_owned();
        let mut inner = self.lock();
        match inner.take(&key) {
            Some(victim) => {
                drop(inner);
                self.let_go(key, victim);
                true
            }
            None => false,
        }
    }

    /// Evicts all engines that nobody uses, the least recently used first: before the program ends, so
    /// that no state is lost. Gives how many there were.
    pub fn evict_all(&self) -> usize {
        let mut count = 0;
        loop {
            let mut inner = self.lock();
            let Some((key, victim)) = inner.take_oldest(None) else {
                return count;
            };
            drop(inner);
            self.let_go(key, victim);
            count += 1;
        }
    }

    /// The figures at this moment.
    #[must_use]
    pub fn stats(&self) -> EngineSetStats {
        let inner = self.lock();
        EngineSetStats {
            engines: inner.slots.len(),
            in_use: inner.away,
            memory_bytes: inner.memory,
            created: inner.created,
            evicted: inner.evicted,
        }
    }

    /// Takes the engine of a key, or the right to make it, once there is room for it.
    fn take(&self, key: K) -> Result<Taken<'_, K>, EngineSetError> {
        let start = Instant::now();
        let mut inner = self.lock();
        loop {
            if !matches!(inner.slots.peek(&key), Some(Slot::Away)) {
                if inner.has_room_for(&key, &self.config) {
                    let engine = inner.reserve(&key, self.config.max_engine_memory);
                    return Ok(Taken { set: self, key, engine });
                }
                if let Some((other, victim)) = inner.take_oldest(Some(&key)) {
                    drop(inner);
                    self.let_go(other, victim);
                    inner = self.lock();
                    continue;
                }
            }
            let waited = start.elapsed();
            let Some(left) = self.config.wait.checked_sub(waited).filter(|left| !left.is_zero())
            else {
                return Err(EngineSetError::Busy { waited });
            };
            inner = self
                .returned
                .wait_timeout(inner, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(inner, _)| inner);
        }
    }

    /// Hands an engine's state over and frees its place.
    fn let_go(&self, key: K, victim: Victim) {
        let Victim { engine, memory } = victim;
        let _place = Place { set: self, key: &key, memory };
        let state = engine.into_state();
        self.lock().evicted += 1;
        (self.on_evict)(Evicted { key: key.clone(), state });
    }
}

impl<K: Hash + Eq> EngineSet<K> {
    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a key that is away and counts so many bytes.
    fn free(&self, key: &K, memory: usize) {
        let mut inner = self.lock();
        inner.slots.pop(key);
        inner.away -= 1;
        inner.memory -= memory;
        drop(inner);
        self.returned.notify_all();
    }

    /// Gives an engine back that was in use.
    fn give_back(&self, key: &K, engine: Box<LuaEngine>) {
        let memory = engine.memory_bytes();
        let mut inner = self.lock();
        inner.memory = inner.memory - self.config.max_engine_memory + memory;
        inner.away -= 1;
        inner.slots.promote(key);
        if let Some(slot) = inner.slots.peek_mut(key) {
            *slot = Slot::Resting(engine, memory);
        }
        drop(inner);
        self.returned.notify_all();
    }
}

impl<K> fmt::Debug for EngineSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSet").field("config", &self.config).finish_non_exhaustive()
    }
}

/// An engine that has to go, and the bytes that it counts until it is gone.
struct Victim {
    engine: Box<LuaEngine>,
    memory: usize,
}

impl<K: Hash + Eq + Clone> Inner<K> {
    /// Whether the engine of this key can be used, or made, without any other having to go.
    fn has_room_for(&self, key: &K, config: &EngineSetConfig) -> bool {
        let (known, rests_with) = match self.slots.peek(key) {
            Some(Slot::Resting(_, memory)) => (true, *memory),
            _ => (false, 0),
        };
        let memory = self.memory - rests_with + config.max_engine_memory;
        memory <= config.max_total_memory && (known || self.slots.len() < config.max_engines)
    }

    /// Marks the key as away, with so many bytes. Gives its engine if it has one.
    fn reserve(&mut self, key: &K, memory: usize) -> Option<Box<LuaEngine>> {
        self.memory += memory;
        if let Some(victim) = self.take(key) {
            self.memory -= victim.memory;
            return Some(victim.engine);
        }
        self.slots.put(key.clone(), Slot::Away);
        self.away += 1;
        None
    }

    /// Takes an engine that rests; the key is away then, and counts what it counted.
    fn take(&mut self, key: &K) -> Option<Victim> {
        let slot = self.slots.peek_mut(key)?;
        match std::mem::replace(slot, Slot::Away) {
            Slot::Resting(engine, memory) => {
                self.away += 1;
                Some(Victim { engine, memory })
            }
            Slot::Away => None,
        }
    }

    /// Takes the engine that was used least recently among those that rest.
    fn take_oldest(&mut self, but: Option<&K>) -> Option<(K, Victim)> {
        let may_go = |key: &K, slot: &Slot| matches!(slot, Slot::Resting(..)) && but != Some(key);
        let key = self.slots.iter().rev().find(|(key, slot)| may_go(key, slot))?.0.clone();
        let victim = self.take(&key)?;
        Some((key, victim))
    }
}

/// An engine in use, or the right to make it; goes back also when its user panics.
struct Taken<'s, K: Hash + Eq> {
    set: &'s EngineSet<K>,
    key: K,
    engine: Option<Box<LuaEngine>>,
}

impl<K: Hash + Eq> Drop for Taken<'_, K> {
    fn drop(&mut self) {
        match self.engine.take() {
            Some(engine) => self.set.give_back(&self.key, engine),
            None => self.set.free(&self.key, self.set.config.max_engine_memory),
        }
    }
}

/// The place of an engine that goes; free once it is gone.
struct Place<'s, K: Hash + Eq> {
    set: &'s EngineSet<K>,
    key: &'s K,
    memory: usize,
}

impl<K: Hash + Eq> Drop for Place<'_, K> {
    fn drop(&mut self) {
        self.set.free(self.key, self.memory);
    }
}
