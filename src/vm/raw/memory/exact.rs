//! [`Measuring`]: what a run holds, measured at points that depend on the script alone.
//!
//! Usually Luau decides when the collector begins, by the clock and by what the VM held before the
//! run. While a run is measured, all garbage is collected when the run has made as much as it may
//! hold, and each time that it has made some more: at a safepoint, or when something is allocated
//! for which Luau may ask the collector. What is left is what the run holds. If that is more than
//! its limit, the run ends. It also ends if it ever has much more than its limit before a safepoint
//! was reached.
//!
//! Bytes are those of objects, as Luau counts them, not those of their pages.
//!
//! # Safety
//!
//! The functions here ask for a place where the collector may work: nothing runs, or Luau is at a
//! safepoint or ends a step of its collector. A collection raises nothing.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

use crate::vm::raw::memory::ceiling::{Ceiling, Counting};
use crate::vm::raw::memory::measured::{MEASURED, Measured, SMALL_STEP, STEP, of};
use crate::vm::raw::memory::{ceiling, weigh};
use crate::vm::raw::safepoint::Hook;

/// Measures the run on this thread while it lives.
#[must_use]
pub(in crate::vm) struct Measuring {
    pub(in crate::vm::raw) before: (Option<Measured>, Ceiling),
}

impl Measuring {
    /// Runs on this VM may hold so many bytes more than it holds now. The VM must be discarded
    /// afterwards, since Luau goes on calling us at every safepoint. It has `room` bytes for what
    /// runs hold and their garbage.
    pub(in crate::vm) fn begin(lua: &Lua, limit: usize, room: usize) -> Self {
        Hook::of(lua).install();
        ceiling::count_for_ever(lua);
        Self::begin_with(lua, |state, vm| {
            let mut measured = Measured {
                vm,
                limit,
                room,
                spare: room / 4,
                base: 0,
                left: 0,
                next: 0,
                peak: 0,
                armed: true,
            };
            // SAFETY: nothing runs, so the collector may work.
            unsafe { measured.begin(state) };
            measured
        })
    }

    fn begin_with(lua: &Lua, begin: impl FnOnce(*mut lua_State, usize) -> Measured) -> Self {
        let before = (MEASURED.get(), Ceiling::get());
        lua.exec_raw_lua(|raw| {
            // SAFETY: gives an address.
            let vm = unsafe { ffi::lua_callbacks(raw.state()) } as usize;
            MEASURED.set(Some(begin(raw.state(), vm)));
        });
        Self { before }
    }

    /// The most bytes that the run was found to hold (or holds now, with its garbage), and whether
    /// that was ever more than its limit.
    pub(in crate::vm) fn found(&self, lua: &Lua) -> (usize, bool) {
        MEASURED.get().map_or((0, false), |measured| {
            let now = weigh::object_bytes(lua).saturating_sub(measured.base);
            (measured.peak.max(now), measured.is_over())
        })
    }
}

/// Measures what a VM holds in all, once that is much. So the collector, which doesn't know the
/// limit, works in time.
#[must_use]
pub(in crate::vm) struct MeasuringLate<'l> {
    _measuring: Measuring,
    _counting: Counting<'l>,
}

impl<'l> MeasuringLate<'l> {
    /// The objects of the VM may take `limit` bytes, and took `left` after the last collection.
    pub(in crate::vm) fn begin(lua: &'l Lua, limit: usize, left: usize) -> Self {
        let mut next = 0;
        let measuring = Measuring::begin_with(lua, |_, vm| {
            let mut measured = Measured {
                vm,
                limit,
                room: limit,
                spare: limit / 2,
                base: 0,
                left,
                next: 0,
                peak: 0,
                armed: false,
            };
            measured.next = measured.next_after(left);
            next = measured.next;
            measured
        });
        Self { _measuring: measuring, _counting: Counting::begin(lua, next) }
    }

    /// Whether more was found than allowed, and what was left after the last collection.
    pub(in crate::vm) fn found(&self) -> (bool, usize) {
        MEASURED.get().map_or((false, 0), |measured| (measured.is_over(), measured.left))
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        MEASURED.set(self.before.0);
        self.before.1.set();
    }
}

impl Measured {
    /// Counts from what the VM holds now.
    unsafe fn begin(&mut self, state: *mut lua_State) {
        // SAFETY: the collector may work, as this function asks.
        unsafe {
            ffi::lua_gc(state, ffi::LUA_GCCOLLECT, 0);
            self.base = ffi::lua_totalbytes(state, -1);
            (self.left, self.peak) = (self.base, 0);
            Ceiling::begin(self.base.saturating_add(self.most()));
            self.collect(state);
        }
    }

    /// Collects all garbage, and records what is left.
    pub(in crate::vm::raw) unsafe fn collect(&mut self, state: *mut lua_State) {
        // After a full collection Luau computes the beginning of its next cycle in percent of what
        // is left, which is known only then. So a second collection may be needed. See
        // `luaC_fullgc`.
        for _ in 0..2 {
            let expected = self.left.max(1);
            let goal = self.next_after(expected).saturating_mul(100).div_ceil(expected) + 50;
            // SAFETY: the collector may work, as this function asks.
            self.left = unsafe {
                let usual = ffi::lua_gc(state, ffi::LUA_GCSETGOAL, goal.min(MAX_GOAL) as c_int);
                ffi::lua_gc(state, ffi::LUA_GCCOLLECT, 0);
                ffi::lua_gc(state, ffi::LUA_GCSETGOAL, usual);
                ffi::lua_totalbytes(state, -1)
            };
            if self.left.abs_diff(expected) <= expected / 16 {
                break;
            }
        }
        self.next = self.next_after(self.left);
        self.peak = self.peak.max(self.left.saturating_sub(self.base));
    }

    /// With how many bytes to collect, if so many were left: often enough near the limit that no
    /// run holds more for long.
    fn next_after(&self, left: usize) -> usize {
        let held = left.saturating_sub(self.base);
        let usual = (held + self.limit / STEP).min(self.limit);
        let next = usual.max(held + self.limit / SMALL_STEP);
        // Before the first collection, the run makes no more than it may hold.
        let before = self.room.saturating_sub(self.spare).max(self.room / 2);
        self.base.saturating_add(next.max(self.limit.min(before)))
    }
}

/// Luau multiplies it by some hundreds.
const MAX_GOAL: usize = 1_000_000;

/// What the file level of the measured run made does not count from now on. Gives whether a run is
/// measured.
pub(in crate::vm::raw) unsafe fn end_of_file_level(state: *mut lua_State) -> bool {
    // SAFETY: the collector may work, as this function asks.
    unsafe {
        let Some(mut measured) = of(state).filter(|measured| !measured.is_over()) else {
            return false;
        };
        let before = measured.base;
        measured.begin(state);
        measured.room = measured.room.saturating_sub(measured.base.saturating_sub(before));
        measured.begin(state);
        MEASURED.set(Some(measured));
    }
    true
}

/// Looks at the measured run, at a safepoint or when the collector begins or ends a step (`gc >=
/// 0`).
pub(in crate::vm::raw) unsafe fn look(state: *mut lua_State, gc: c_int) -> MemoryLook {
    // SAFETY: Luau called, so the collector may work where it ends a step, and at a safepoint;
    // nowhere else it is asked to here.
    unsafe {
        let Some(mut measured) = of(state).filter(|measured| measured.armed) else {
            return MemoryLook::Unmeasured;
        };
        // Each cycle is completed here at once, so the collector is at rest when a step begins. To
        // collect then would be for nothing: the step begins a cycle afterwards.
        let due = if gc >= 0 {
            ffi::lua_gc(state, ffi::LUA_GCISPAUSED, 0) == 0
        } else {
            ffi::lua_totalbytes(state, -1) > measured.next
        };
        if due && !measured.is_over() {
            measured.collect(state);
        }
        MEASURED.set(Some(measured));
        let Measured { peak: used, limit, .. } = measured;
        if measured.is_over() { MemoryLook::Over { limit, used } } else { MemoryLook::Within }
    }
}

/// What a look at the measured run tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vm::raw) enum MemoryLook {
    /// No run is measured.
    Unmeasured,
    /// The run holds no more than it may, as far as is known.
    Within,
    /// It held more than it may.
    Over { limit: usize, used: usize },
}
