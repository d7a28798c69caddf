//! Memory: what the next run may use, and when garbage is collected.

use super::Vm;
use crate::error::{ScriptError, Setting};
use crate::vm::allowance::{Allowance, Floor, GARBAGE_SLACK, RUN_GARBAGE};
use crate::vm::limits::RunLimits;
use crate::vm::raw;

impl Vm {
    /// The most bytes that a run with this limit can hold: no more than the VM has.
    pub(super) fn most_memory(&self, of_run: usize) -> usize {
        of_run.min(self.room())
    }

    /// The bytes that a run has if the VM holds no other program.
    pub(super) fn room(&self) -> usize {
        self.memory_limit.saturating_sub(self.resting.pages)
    }

    /// The bytes that a run may allocate without being measured. Low enough that a measured run has room for its
    /// garbage even if its limit is close to that of the VM and its program is large.
    pub(super) fn quick_memory(&self, of_run: usize) -> usize {
        let largest = self.programs.largest().min(self.held_by_programs());
        let left = self.room().saturating_sub(largest);
        (of_run / 2).min(self.room() / 4).min(left / 5 * 2)
    }

    /// Puts the memory limit of the next run in force. Gives whether it may run without being measured.
    #[inline]
    pub(super) fn limit_memory(&mut self, limits: &RunLimits) -> bool {
        if limits.memory != self.allowance.of_run {
            self.largest_run = self.largest_run.max(limits.memory);
            self.allow(limits.memory);
            self.tidy();
        }
        !self.allowance.is_cramped
    }

    /// Whether the VM holds so much that runs have too little room without being measured.
    pub(super) fn is_cramped(&self) -> bool {
        self.allowance.is_cramped
    }

    /// Computes the limits of the VM from the limit of a run, and puts them in force.
    pub(super) fn allow(&mut self, of_run: usize) {
        let quick = self.quick_memory(of_run);
        let Floor { objects, pages } = self.floor;
        // Strings that were loaded since are not part of the floor: that errs on the safe side.
        let strings = self.programs.strings() + self.sources.strings();
        let shared = strings.min(objects.saturating_sub(self.resting.objects));
        let own = objects - shared;
        let held = self.held_by_programs();
        let slack = (held / 2).max(GARBAGE_SLACK).min(quick / 2);
        let (total, objects_in_all, most_objects, is_cramped);
        if pages - objects <= quick / 4 {
            total = own.saturating_add(quick);
            (objects_in_all, most_objects) = (usize::MAX, usize::MAX);
            is_cramped = pages + quick / 8 > total.saturating_sub(quick / 4);
        } else {
            total = pages.saturating_add(2 * quick);
            objects_in_all = own.saturating_add(quick);
            let most = objects_in_all.saturating_sub(quick / 4);
            is_cramped = objects + quick / 8 > most;
            most_objects = most.max(objects + quick / 8);
        }
        let total = total.min(self.memory_limit).max(1);
        let between_runs =
            (pages + slack).min(total.saturating_sub(quick / 4)).max(pages + quick / 8);
        let objects = objects_in_all;
        self.allowance =
            Allowance { of_run, total, between_runs, objects, most_objects, is_cramped };
        self.limit_allocator(total);
    }

    pub(super) fn limit_allocator(&self, bytes: usize) {
        self.lua.set_memory_limit(bytes).expect("a VM that mlua made counts its memory");
    }

    /// Raises the limit of the allocator to load a program, or make an image, that is known to need more than a run
    /// gets without being measured, but no more than its limit.
    pub(super) fn allow_more(&mut self, of_run: usize) {
        let total = self.lua.used_memory().saturating_add(2 * self.most_memory(of_run));
        self.limit_allocator(total.min(self.memory_limit).max(self.allowance.total));
    }

    /// Collects garbage if it would take room from the next run.
    #[inline]
    pub(super) fn tidy(&mut self) {
        if self.is_crowded() {
            self.tidy_up(None);
        }
    }

    /// Collects all garbage, and evicts programs if they hold too much; never the one in use.
    #[cold]
    pub(super) fn tidy_up(&mut self, in_use: Option<u64>) {
        self.collect();
        let held = self.held_by_programs();
        let excess = match held.checked_sub(self.programs_limit) {
            // A little more, or every new program would bring us here again.
            Some(excess) if excess > 0 => excess + self.programs_limit / 16,
            // With the largest limit of all, a run has too little room: other programs are in its way.
            _ if self.is_cramped_for_many() => held / 8,
            _ => return,
        };
        self.sources.clear();
        self.programs.evict(&self.lua, (held, excess), in_use, &self.counts);
        self.collect();
        // What is left is one program, or a leak.
        let spare = self.memory_limit.saturating_sub(self.floor.pages);
        self.spent |= spare < self.quick_memory(self.allowance.of_run) / 4;
    }

    fn is_cramped_for_many(&self) -> bool {
        let Allowance { of_run, is_cramped, .. } = self.allowance;
        is_cramped && of_run >= self.largest_run && self.programs.len() > 1
    }

    fn held_by_programs(&self) -> usize {
        self.floor.pages.saturating_sub(self.resting.pages)
    }

    /// Collects all garbage, and has the collector start late in the next runs.
    ///
    /// Takes time in proportion to what the VM holds. Since that depends on what ran before, no run is charged for it,
    /// neither time nor steps.
    pub(super) fn collect(&mut self) {
        let before = self.floor.objects;
        self.limit_allocator(usize::MAX);
        raw::shorten_stack(&self.lua);
        self.limit_allocator(self.allowance.total);
        self.collect_once(before);
        // The threshold was computed from what was expected to be left. Compute it again if that was far off.
        let left = self.floor.objects;
        if before.abs_diff(left) > before / 4 {
            self.collect_once(left);
        }
        self.allow(self.allowance.of_run);
    }

    /// Collects all garbage. `expected` is about how many bytes are left after that.
    fn collect_once(&mut self, expected: usize) {
        let late = (self.quick_memory(self.allowance.of_run) / 2).min(RUN_GARBAGE);
        let expected = expected.max(1);
        self.collections += 1;
        self.spent |= raw::collect(&self.lua, expected, expected + late).is_err();
        self.floor = Floor::of(&self.lua);
        self.programs.weigh();
    }

    /// Objects become garbage that were part of the floor.
    pub(super) fn lower_floor(&mut self, bytes: usize) {
        if bytes > 0 {
            let left = self.floor.objects.saturating_sub(bytes);
            self.floor.objects = left.max(self.resting.objects);
            self.allow(self.allowance.of_run);
        }
    }

    /// Whether the next run would have less room than it should.
    #[inline]
    pub(super) fn is_crowded(&self) -> bool {
        self.lua.used_memory() > self.allowance.between_runs
            || self.allowance.is_counted()
                && raw::object_bytes(&self.lua) > self.allowance.most_objects
    }

    /// Drops all programs. They are loaded again on demand.
    #[cfg(test)]
    pub(super) fn unload(&mut self) {
        self.programs.clear(&self.lua);
        self.collect();
    }

    /// A lease of this VM is over. Collects garbage if it holds too much for an idle VM.
    pub(in crate::vm) fn end_lease(&mut self) {
        self.programs.end_lease();
        if self.lua.used_memory() > self.resting_limit {
            self.collect();
        }
    }

    /// Sets how many bytes the VM should hold at most while idle. Programs are evicted to keep to that.
    pub(in crate::vm) fn limit_resting_memory(&mut self, bytes: usize) {
        self.resting_limit = bytes;
        let programs = bytes.saturating_sub(self.resting.pages);
        self.programs_limit = (programs - programs / 16).min(self.room() / 4 * 3);
    }

    /// The error of a run that met its memory limit, or that of the VM, while it held `used` bytes.
    pub(super) fn out_of_memory(&self, of_run: usize, used: usize) -> ScriptError {
        let most = self.most_memory(of_run);
        let used = used.min(most);
        if most < of_run {
            let (limit, used) = (self.memory_limit, used + self.resting.pages);
            ScriptError::OutOfMemory { limit, used, setting: Setting::MemoryLimit }
        } else {
            ScriptError::OutOfMemory { limit: of_run, used, setting: Setting::RunMemoryLimit }
        }
    }
}
