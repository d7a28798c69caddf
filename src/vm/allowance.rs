//! What a VM holds from run to run, and how much more a run may use the quick way.
//!
//! The limit of a run is one of what it holds: of live objects. To measure that exactly, all garbage has to be
//! collected again and again, so nearly all runs go the quick way: the allocator refuses what is far from the
//! limit still, whatever part of it is garbage, of this run or of those before it. Who keeps to that holds less
//! than the limit for sure. A run that doesn't has changed nothing, and [runs again](super::instance) where it can
//! be measured. So which way it is depends on what the VM happens to hold, and what a run comes to does not.
//!
//! Why that is sure: all that a run holds is in the VM, on top of what that held when nothing ran and all was
//! collected (the [`Floor`]). Only strings may be shared with what was there before, for Luau has each text once;
//! those are taken off the floor. And a part of the table of all strings may be the run's, which is no larger
//! than the strings themselves. So the quick way ends at half of the limit.

use mlua::Lua;

use super::raw::{self, Counting};

/// Garbage that a VM may carry from run to run, in bytes, before all of it is collected.
pub(super) const GARBAGE_SLACK: usize = 1024 * 1024;

/// The most bytes that a run may allocate before the collector begins to work in it. Most allocate less:
/// then what they leave is collected when they are over, and none pays for the garbage of those before
/// it.
pub(super) const RUN_GARBAGE: usize = 4 * 1024 * 1024;

/// What a VM held when nothing ran and all garbage had been collected, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    /// Its objects.
    pub(super) objects: usize,
    /// The pages in which they are.
    pub(super) pages: usize,
}

impl Floor {
    pub(super) fn of(lua: &Lua) -> Self {
        Self { objects: raw::object_bytes(lua), pages: lua.used_memory() }
    }
}

/// What is allowed in a VM now, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// The limit of the run for which this is.
    pub(super) of_run: usize,
    /// What the allocator gives.
    pub(super) total: usize,
    /// With more than that, garbage is collected between two runs.
    pub(super) between_runs: usize,
    /// So many its objects may have, and that is counted; the pages of a VM that holds little have so much room for
    /// objects that they can't tell what a run with a small limit makes. If it isn't, this is `usize::MAX`.
    pub(super) objects: usize,
    /// With more of them, garbage is collected between two runs.
    pub(super) most_objects: usize,
    /// The VM holds so much that a run may have too little the quick way.
    pub(super) is_cramped: bool,
}

impl Allowance {
    pub(super) fn is_counted(&self) -> bool {
        self.objects < usize::MAX
    }

    /// Counts what a run makes, if that is to be counted.
    #[inline]
    pub(super) fn count<'l>(&self, lua: &'l Lua) -> Option<Counting<'l>> {
        self.is_counted().then(|| Counting::begin(lua, self.objects))
    }

    pub(super) fn stop_counting(&mut self) {
        (self.objects, self.most_objects) = (usize::MAX, usize::MAX);
    }
}
