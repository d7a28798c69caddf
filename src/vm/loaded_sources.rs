//! [`LoadedSources`]: the whole sources that a VM keeps loaded.

use std::num::NonZeroUsize;

use lru::LruCache;
use mlua::Function;

/// Sources that a VM keeps loaded. To load a few lines again takes less than a microsecond, so a few are enough.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// The main functions of sources, by the id of the program. Evicts the least recently used.
#[derive(Debug)]
pub(super) struct LoadedSources(LruCache<u64, LoadedSource>);

/// A source that is loaded.
#[derive(Debug)]
pub(super) struct LoadedSource {
    pub(super) main: Function,
    /// At least the bytes that loading it took.
    pub(super) bytes: usize,
    /// The bytes of its strings.
    pub(super) strings: usize,
}

impl LoadedSources {
    pub(super) fn new() -> Self {
        Self(LruCache::new(KEPT))
    }

    /// The main function of a program, which becomes the most recently used.
    pub(super) fn get(&mut self, id: u64) -> Option<&Function> {
        self.0.get(&id).map(|source| &source.main)
    }

    /// Keeps a source. Gives the one that it evicted.
    pub(super) fn keep(&mut self, id: u64, source: LoadedSource) -> Option<LoadedSource> {
        self.0.push(id, source).map(|(_, gone)| gone)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The bytes of the strings of all sources.
    pub(super) fn strings(&self) -> usize {
        self.0.iter().map(|(_, source)| source.strings).sum()
    }
}
