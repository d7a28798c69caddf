//! [`Measuring`]: what a run holds, measured at points that depend on the script alone.
//!
//! Usually the collector begins when it seems good to it, which depends on the clock and on what the VM held
//! before the run. While a run is measured, all garbage is collected when the run has made as much as it may hold,
//! and whenever it has made some more after that: at a safepoint, or when something is allocated that the
//! collector may be asked for. What is left then is what the run holds, and if that is more than its limit, the run
//! is over. So it is if it ever has much more than its limit, before there was a safepoint.
//!
//! Bytes are those of objects, as Luau counts them, and not those of the pages that it got for them.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

use crate::vm::raw::memory::ceiling::{Ceiling, Counting};
use crate::vm::raw::memory::measured::{MEASURED, Measured, SMALL_STEP, STEP, of};
use crate::vm::raw::memory::{ceiling, weigh};
use crate::vm::raw::safepoint::Hook;

/// Measures the run on this thread until it is dropped.
#[must_use]
pub(in crate::vm) struct Measuring {
    pub(in crate::vm::raw) before: (Option<Measured>, Ceiling),
}

impl Measuring {
    /// What runs on this VM may hold so many bytes more than it holds now. The VM is thrown away after that:
    /// Luau goes on asking at every safepoint.
    ///
    /// The VM has `room` for it and its garbage.
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
            // SAFETY: nothing runs, so the collector may work, which raises nothing.
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

    /// The most bytes that the run was found to hold, or with its garbage holds now, and whether it was found to
    /// hold more than it may.
    pub(in crate::vm) fn found(&self, lua: &Lua) -> (usize, bool) {
        MEASURED.get().map_or((0, false), |measured| {
            let now = weigh::object_bytes(lua).saturating_sub(measured.base);
            (measured.peak.max(now), measured.is_over())
        })
    }
}

/// Measures what a VM holds in all, once that is much: then the collector works in time for the limit, which it
/// doesn't know by itself.
#[must_use]
pub(in crate::vm) struct MeasuringLate<'l> {
    _measuring: Measuring,
    _counting: Counting<'l>,
}

impl<'l> MeasuringLate<'l> {
    /// The objects of the VM may take so many bytes, and took `left` when garbage was collected last.
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

    /// Whether more was found than is allowed, and what was left when garbage was collected last.
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
    /// What the VM holds from now on counts.
    ///
    /// # Safety
    ///
    /// Where the collector may work.
    unsafe fn begin(&mut self, state: *mut lua_State) {
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            ffi::lua_gc(state, ffi::LUA_GCCOLLECT, 0);
            self.base = ffi::lua_totalbytes(state, -1);
            (self.left, self.peak) = (self.base, 0);
            Ceiling::begin(self.base.saturating_add(self.most()));
            self.collect(state);
        }
    }

    /// Collects all garbage, and sees what is left.
    ///
    /// # Safety
    ///
    /// As `begin`.
    pub(in crate::vm::raw) unsafe fn collect(&mut self, state: *mut lua_State) {
        // When all is collected, Luau computes the beginning of the next cycle in percents of what is left, which
        // is known only then: so it may take a second time. See `luaC_fullgc`.
        for _ in 0..2 {
            let expected = self.left.max(1);
            let goal = self.next_after(expected).saturating_mul(100).div_ceil(expected) + 50;
            // SAFETY: the caller keeps what this function asks for.
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

    /// With how many bytes to collect when so many were left: often enough near the limit that no run holds more
    /// for long.
    fn next_after(&self, left: usize) -> usize {
        let held = left.saturating_sub(self.base);
        let usual = (held + self.limit / STEP).min(self.limit);
        let next = usual.max(held + self.limit / SMALL_STEP);
        // What it makes before is no more than it may hold.
        let before = self.room.saturating_sub(self.spare).max(self.room / 2);
        self.base.saturating_add(next.max(self.limit.min(before)))
    }
}

/// Luau multiplies it by some hundreds.
const MAX_GOAL: usize = 1_000_000;

/// The file level of the run that is measured is done, if there is one: what it made doesn't count towards what
/// the callback holds.
///
/// # Safety
///
/// Where the collector may work.
pub(in crate::vm::raw) unsafe fn end_of_file_level(state: *mut lua_State) -> bool {
    // SAFETY: the caller keeps what this function asks for.
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

/// Luau asks, at a safepoint or when its collector begins or ends a step (`gc >= 0`). Gives the limit and what it
/// holds if a run is measured that holds too much.
///
/// # Safety
///
/// Luau asks.
pub(in crate::vm::raw) unsafe fn look(state: *mut lua_State, gc: c_int) -> MemoryLook {
    // SAFETY: the caller keeps what this function asks for, so the collector may work: it does, where it ends a
    // step, and where it may at a safepoint.
    unsafe {
        let Some(mut measured) = of(state).filter(|measured| measured.armed) else {
            return MemoryLook::Unmeasured;
        };
        // Its cycles are all completed here at once, so where a step begins it is at rest. To collect there would
        // be for nothing: the step goes on to begin a cycle.
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

/// What a look at a run tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vm::raw) enum MemoryLook {
    /// It is not measured.
    Unmeasured,
    /// It is measured, and holds no more than it may, as far as is known.
    Within,
    /// It held more than it may.
    Over { limit: usize, used: usize },
}
