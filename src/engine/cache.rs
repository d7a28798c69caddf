//! [`SourceCache`]: what was compiled, by source text, bounded.

use lru::LruCache;

/// Keeps what belongs to a source text, so long as there is room: the least recently used goes first.
#[derive(Debug)]
pub(crate) struct SourceCache<T> {
    entries: LruCache<Box<str>, T>,
    bytes: usize,
    bounds: CacheBounds,
}

/// How much a [`SourceCache`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheBounds {
    /// Sources.
    pub(crate) entries: usize,
    /// Bytes of all sources together; a larger source is not kept at all.
    pub(crate) bytes: usize,
}

impl<T> SourceCache<T> {
    pub(crate) fn new(bounds: CacheBounds) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, bounds }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&mut self, source: &str) -> Option<&T> {
        self.entries.get(source)
    }

    /// Keeps `value`, in place of what was kept for the same source. Gives whether it had room.
    pub(crate) fn put(&mut self, source: &str, value: T) -> bool {
        if let Some((old, _)) = self.entries.pop_entry(source) {
            self.bytes -= old.len();
        }
        if source.len() > self.bounds.bytes || self.bounds.entries == 0 {
            return false;
        }
        self.bytes += source.len();
        self.entries.put(source.into(), value);
        while self.bytes > self.bounds.bytes || self.entries.len() > self.bounds.entries {
            match self.entries.pop_lru() {
                Some((gone, _)) => self.bytes -= gone.len(),
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

    fn cache(entries: usize, bytes: usize) -> SourceCache<u32> {
        SourceCache::new(CacheBounds { entries, bytes })
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = cache(2, 100);
        cache.put("a", 1);
        cache.put("b", 2);
        assert_eq!(cache.get("a"), Some(&1));
        cache.put("c", 3);
        assert_eq!((cache.len(), cache.get("b")), (2, None));
        assert_eq!(cache.get("a"), Some(&1));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut cache = cache(100, 10);
        assert!(!cache.put("01234567890", 1), "more than all there may be");
        assert!(cache.put("0123456789", 1));
        assert!(cache.put("x", 2));
        assert_eq!((cache.len(), cache.bytes), (1, 1));
        cache.put("x", 3);
        assert_eq!((cache.len(), cache.bytes), (1, 1));
        assert_eq!(cache.get("x"), Some(&3));
        cache.clear();
        assert_eq!((cache.len(), cache.bytes), (0, 0));
    }
}
