//! [`Measured`]: what is known of a run whose memory is measured.

use std::cell::Cell;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::raw::safepoint::Hook;

thread_local! {
    pub(in crate::vm::raw) static MEASURED: Cell<Option<Measured>> = const { Cell::new(None) };
}

/// What is known of the run on this thread that is measured.
#[derive(Clone, Copy, Debug)]
pub(in crate::vm::raw) struct Measured {
    /// Which VM it runs on: the address of its callbacks.
    pub(in crate::vm::raw) vm: usize,
    pub(in crate::vm::raw) limit: usize,
    /// What the VM has for the run, garbage included.
    pub(in crate::vm::raw) room: usize,
    /// What of that is left free before garbage is collected, if it isn't more than half.
    pub(in crate::vm::raw) spare: usize,
    /// What the VM held before.
    pub(in crate::vm::raw) base: usize,
    /// What it held after the last collection.
    pub(in crate::vm::raw) left: usize,
    /// With so many bytes garbage is collected.
    pub(in crate::vm::raw) next: usize,
    /// The most that it was found to hold.
    pub(in crate::vm::raw) peak: usize,
    /// Luau asks.
    pub(in crate::vm::raw) armed: bool,
}

impl Measured {
    pub(in crate::vm::raw) fn is_over(&self) -> bool {
        self.peak > self.limit
    }

    /// What it may have at any moment, with its garbage.
    pub(in crate::vm::raw) fn most(&self) -> usize {
        self.limit.saturating_add(self.limit / 2).min(self.room)
    }
}

/// Parts of the limit that a run may allocate between two collections: usually, and near its limit.
pub(in crate::vm::raw) const STEP: usize = 8;

pub(in crate::vm::raw) const SMALL_STEP: usize = 32;

/// More was allocated than the ceiling has room for: from now on Luau asks; or if it does so already, that is more
/// than a run may make without meeting a safepoint, whatever part of it is garbage.
///
/// # Safety
///
/// The VM is on this thread.
pub(in crate::vm::raw) unsafe fn ceiling_passed(state: *mut lua_State) {
    // SAFETY: the caller keeps what this function asks for.
    if let Some(mut measured) = unsafe { of(state) } {
        if measured.armed {
            measured.peak = measured.peak.max(measured.limit.saturating_add(1));
        }
        MEASURED.set(Some(Measured { armed: true, ..measured }));
        // SAFETY: as above; see `Hook`.
        unsafe { Hook::install_at(ffi::lua_callbacks(state)) };
    }
}

/// What is known of the run that is measured, if it is one on this VM: a host function may run another.
///
/// # Safety
///
/// The VM is alive.
pub(in crate::vm::raw) unsafe fn of(state: *mut lua_State) -> Option<Measured> {
    let measured = MEASURED.get()?;
    // SAFETY: gives an address.
    (unsafe { ffi::lua_callbacks(state) } as usize == measured.vm).then_some(measured)
}
