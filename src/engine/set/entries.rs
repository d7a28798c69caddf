//! [`EngineEntries`]: the engines of a set, in the order of their last use, and the memory that they count as.

use std::hash::Hash;

use lru::LruCache;

use super::config::EngineSetConfig;
use crate::engine::lua_engine::LuaEngine;

/// The engines of a set. The fields `memory` and `busy` are the sums over all entries.
pub(super) struct EngineEntries<K> {
    entries: LruCache<K, EngineEntry>,
    pub(super) memory: usize,
    /// Keys whose entry is [`EngineEntry::Busy`].
    pub(super) busy: usize,
    pub(super) created: u64,
    pub(super) evicted: u64,
}

enum EngineEntry {
    /// The engine, and the bytes that it held when it was returned.
    Idle(Box<LuaEngine>, usize),
    /// In use, being made, or being evicted.
    Busy,
}

/// An engine that was taken out of its entry, and the bytes that its key counts as until they are released.
pub(super) struct TakenEngine {
    pub(super) engine: Box<LuaEngine>,
    pub(super) memory: usize,
}

impl<K: Hash + Eq> EngineEntries<K> {
    pub(super) fn new() -> Self {
        Self { entries: LruCache::unbounded(), memory: 0, busy: 0, created: 0, evicted: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_busy(&self, key: &K) -> bool {
        matches!(self.entries.peek(key), Some(EngineEntry::Busy))
    }

    /// Whether the engine of this key can be used, or made, without evicting another one.
    pub(super) fn has_room_for(&self, key: &K, config: &EngineSetConfig) -> bool {
        let (known, idle_memory) = match self.entries.peek(key) {
            Some(EngineEntry::Idle(_, memory)) => (true, *memory),
            _ => (false, 0),
        };
        let memory = self.memory - idle_memory + config.max_engine_memory;
        memory <= config.max_total_memory && (known || self.entries.len() < config.max_engines)
    }

    /// Takes an idle engine; the key is busy from then on and counts as many bytes as before.
    pub(super) fn take(&mut self, key: &K) -> Option<TakenEngine> {
        let entry = self.entries.peek_mut(key)?;
        match std::mem::replace(entry, EngineEntry::Busy) {
            EngineEntry::Idle(engine, memory) => {
                self.busy += 1;
                Some(TakenEngine { engine, memory })
            }
            EngineEntry::Busy => None,
        }
    }

    /// Returns an engine that was reserved with `reserved` bytes; it counts as `memory` now, and was used last.
    pub(super) fn put_back(
        &mut self,
        key: &K,
        engine: Box<LuaEngine>,
        reserved: usize,
        memory: usize,
    ) {
        self.memory = self.memory - reserved + memory;
        self.busy -= 1;
        self.entries.promote(key);
        if let Some(entry) = self.entries.peek_mut(key) {
            *entry = EngineEntry::Idle(engine, memory);
        }
    }

    /// Removes a busy key that counts as `memory`.
    pub(super) fn remove_busy(&mut self, key: &K, memory: usize) {
        self.entries.pop(key);
        self.busy -= 1;
        self.memory -= memory;
    }
}

impl<K: Hash + Eq + Clone> EngineEntries<K> {
    /// Makes the key busy and counts it as `memory` bytes. Returns its engine if it has one.
    pub(super) fn reserve(&mut self, key: &K, memory: usize) -> Option<Box<LuaEngine>> {
        self.memory += memory;
        if let Some(taken) = self.take(key) {
            self.memory -= taken.memory;
            return Some(taken.engine);
        }
        self.entries.put(key.clone(), EngineEntry::Busy);
        self.busy += 1;
        None
    }

    /// Takes the least recently used of the idle engines, except that of `but`.
    pub(super) fn take_oldest(&mut self, but: Option<&K>) -> Option<(K, TakenEngine)> {
        let is_candidate = |key: &K, entry: &EngineEntry| {
            matches!(entry, EngineEntry::Idle(..)) && but != Some(key)
        };
        let mut oldest_first = self.entries.iter().rev();
        let key = oldest_first.find(|(key, entry)| is_candidate(key, entry))?.0.clone();
        let taken = self.take(&key)?;
        Some((key, taken))
    }
}
