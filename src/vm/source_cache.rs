//! [`SourceCache`]: the whole sources that a VM keeps loaded.

use std::num::NonZeroUsize;

use lru::LruCache;
use mlua::Function;

/// Sources that a VM keeps loaded; the least recently used goes first. Loading one again takes less
/// than a microsecond for a few lines, so there is no need for many.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// The main functions of sources, by the number of the program.
#[derive(Debug)]
pub(super) struct SourceCache(LruCache<u64, LoadedSource>);

/// A source that is loaded.
#[derive(Debug)]
pub(super) struct LoadedSource {
    pub(super) main: Function,
    /// What it took to load it, in bytes, at least.
    pub(super) bytes: usize,
    /// What its strings take, in bytes.
    pub(super) strings: usize,
}

impl SourceCache {
    pub(super) fn new() -> Self {
        Self(LruCache::new(KEPT))
    }

    /// The main function of a program, used now.
    pub(super) fn get(&mut self, id: u64) -> Option<&Function> {
        self.0.get(&id).map(|source| &source.main)
    }

    /// Keeps a source; gives the one that had to go for it.
    pub(super) fn keep(&mut self, id: u64, source: LoadedSource) -> Option<LoadedSource> {
        self.0.push(id, source).map(|(_, gone)| gone)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What their strings take, in bytes.
    pub(super) fn strings(&self) -> usize {
        self.0.iter().map(|(_, source)| source.strings).sum()
    }
}
