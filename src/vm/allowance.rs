//! What a VM holds between runs, and how much a run may use without being measured.
//!
//! The memory limit of a run is one of live objects. To measure those exactly takes many collections of garbage, so
//! nearly all runs are not measured. Instead the allocator refuses memory well below the limit, garbage included: a
//! run that stays within that is within its limit for sure. A run that doesn't is undone and
//! [runs again](super::instance::Vm::run_measured), measured. So what a VM happens to hold decides which way a run
//! takes, and never how it ends.
//!
//! Why that is safe: all that a run holds is in the VM, on top of what the VM held when nothing ran and all garbage
//! was collected (the [`Floor`]). A run may share only strings with what was there before, since Luau has each
//! text once; those are taken off the floor. It may also have enlarged the table of all strings, which is no larger
//! than the strings themselves. That is why a run is measured from half of its limit on.

use mlua::Lua;

use super::raw::{self, Counting};

/// Garbage that a VM may carry from run to run, in bytes, before all of it is collected.
pub(super) const GARBAGE_SLACK: usize = 1024 * 1024;

/// The most bytes that a run may allocate before the collector starts to work during it. Most runs allocate less:
/// their garbage is collected between runs, and no run pays for the garbage of others.
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

/// How much memory a VM may use now, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// The memory limit of the run that this was computed for.
    pub(super) of_run: usize,
    /// The limit of the allocator.
    pub(super) total: usize,
    /// Above this, garbage is collected before the next run.
    pub(super) between_runs: usize,
    /// The limit of its objects, which are then counted; `usize::MAX` if they are not. They are counted if the pages
    /// have so much free room that the allocator would not notice what a run with a small limit makes.
    pub(super) objects: usize,
    /// Above this many bytes of objects, garbage is collected before the next run.
    pub(super) most_objects: usize,
    /// The VM holds so much that runs have too little room without being measured.
    pub(super) is_cramped: bool,
}

impl Allowance {
    pub(super) fn is_counted(&self) -> bool {
        self.objects < usize::MAX
    }

    /// Counts the objects that a run makes, if they are to be counted.
    #[inline]
    pub(super) fn count<'l>(&self, lua: &'l Lua) -> Option<Counting<'l>> {
        self.is_counted().then(|| Counting::begin(lua, self.objects))
    }

    pub(super) fn stop_counting(&mut self) {
        (self.objects, self.most_objects) = (usize::MAX, usize::MAX);
    }
}
