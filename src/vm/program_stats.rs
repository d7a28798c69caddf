//! [`ProgramStats`]: how often programs were loaded and evicted.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters behind [`ProgramStats`], shared by all VMs of a factory.
#[derive(Debug, Default)]
pub(super) struct ProgramCounts {
    loads: AtomicU64,
    images: AtomicU64,
    evictions: AtomicU64,
    crowded_out: AtomicU64,
    measured: AtomicU64,
}

impl ProgramCounts {
    pub(super) fn loaded(&self) {
        self.loads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn imaged(&self) {
        self.images.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self, needed: bool) {
        let counter = if needed { &self.crowded_out } else { &self.evictions };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn measured(&self) {
        self.measured.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> ProgramStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProgramStats {
            loads: read(&self.loads),
            images: read(&self.images),
            evictions: read(&self.evictions),
            crowded_out: read(&self.crowded_out),
            measured: read(&self.measured),
        }
    }
}

/// How often programs were loaded and evicted in all VMs of a [`LuauFactory`](super::LuauFactory), since it was made.
///
/// Once all scripts of a game have run on all VMs, only `measured` should still grow. If others do, a VM has no room
/// for all that a frame needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramStats {
    /// Programs that were loaded into a VM.
    pub loads: u64,
    /// Images that were made: file levels that ran once, to serve all runs of their program on a VM.
    pub images: u64,
    /// Programs that were evicted to make room, after they had not been used for a while.
    pub evictions: u64,
    /// Programs that were evicted although they are in use, because a VM has no room for all that a frame needs.
    /// They are loaded again in every frame. A larger [`memory_limit`](crate::PoolConfig::memory_limit) helps.
    pub crowded_out: u64,
    /// Runs that came near their memory limit, and ran on a VM of their own that measures what they hold.
    pub measured: u64,
}
