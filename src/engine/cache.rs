//! [`CompiledCache`]: compiled sources, by text.

use lru::LruCache;

/// A bounded cache by source text that drops the least recently used entry first.
#[derive(Debug)]
pub(crate) struct CompiledCache<T> {
    /// The values, each with the bytes that it counts as.
    entries: LruCache<Box<str>, (T, usize)>,
    bytes: usize,
    bounds: CacheBounds,
}

/// The bounds of a [`CompiledCache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheBounds {
    /// The number of sources.
    pub(crate) entries: usize,
    /// Bytes of all sources and their values together. A larger entry is not kept.
    pub(crate) bytes: usize,
}

impl<T> CompiledCache<T> {
    pub(crate) fn new(bounds: CacheBounds) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, bounds }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&mut self, source: &str) -> Option<&T> {
        self.entries.get(source).map(|(value, _)| value)
    }

    /// Keeps a value of `bytes` for a source, in place of an earlier one. Returns whether it fits the bounds.
    pub(crate) fn put(&mut self, source: &str, value: T, bytes: usize) -> bool {
        if let Some((_, old)) = self.entries.pop(source) {
            self.bytes -= old;
        }
        let bytes = source.len() + bytes;
        if bytes > self.bounds.bytes || self.bounds.entries == 0 {
            return false;
        }
        self.bytes += bytes;
        self.entries.put(source.into(), (value, bytes));
        while self.bytes > self.bounds.bytes || self.entries.len() > self.bounds.entries {
            match self.entries.pop_lru() {
                Some((_, (_, gone))) => self.bytes -= gone,
                None => break,
            }
        }
        true
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: usize, bytes: usize) -> CompiledCache<u32> {
        CompiledCache::new(CacheBounds { entries, bytes })
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = cache(2, 100);
        cache.put("a", 1, 0);
        cache.put("b", 2, 0);
        assert_eq!(cache.get("a"), Some(&1));
        cache.put("c", 3, 0);
        assert_eq!((cache.len(), cache.get("b")), (2, None));
        assert_eq!(cache.get("a"), Some(&1));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut cache = cache(100, 10);
        assert!(!cache.put("01234567890", 1, 0), "more than all there may be");
        assert!(cache.put("0123456789", 1, 0));
        assert!(cache.put("x", 2, 0));
        assert_eq!((cache.len(), cache.bytes), (1, 1));
        cache.put("x", 3, 0);
        assert_eq!((cache.len(), cache.bytes), (1, 1));
        assert_eq!(cache.get("x"), Some(&3));
        assert!(cache.put("y", 4, 8), "what belongs to a source counts");
        assert_eq!((cache.len(), cache.bytes), (2, 10));
        assert!(cache.put("z", 5, 8));
        assert_eq!((cache.len(), cache.bytes, cache.get("z")), (1, 9, Some(&5)));
        assert!(!cache.put("z", 6, 10));
        assert_eq!((cache.len(), cache.bytes), (0, 0));
        cache.clear();
        assert_eq!((cache.len(), cache.bytes), (0, 0));
    }
}
