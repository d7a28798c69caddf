//! [`Measured`]: what is known of the run whose memory is measured.

use std::cell::Cell;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::raw::safepoint::Hook;

thread_local! {
    pub(in crate::vm::raw) static MEASURED: Cell<Option<Measured>> = const { Cell::new(None) };
}

/// The measured run of this thread.
#[derive(Clone, Copy, Debug)]
pub(in crate::vm::raw) struct Measured {
    /// The address of the callbacks of its VM.
    pub(in crate::vm::raw) vm: usize,
    pub(in crate::vm::raw) limit: usize,
    /// What the VM has for the run, garbage included.
    pub(in crate::vm::raw) room: usize,
    /// How much of that stays free when garbage is collected first, if it is no more than half.
    pub(in crate::vm::raw) spare: usize,
    /// What the VM held before.
    pub(in crate::vm::raw) base: usize,
    /// What it held after the last collection.
    pub(in crate::vm::raw) left: usize,
    /// When it holds so many bytes, garbage is collected.
    pub(in crate::vm::raw) next: usize,
    /// The most that the run was found to hold.
    pub(in crate::vm::raw) peak: usize,
    /// The hook is installed.
    pub(in crate::vm::raw) armed: bool,
}

impl Measured {
    pub(in crate::vm::raw) fn is_over(&self) -> bool {
        self.peak > self.limit
    }

    /// What it may have at any moment, garbage included.
    pub(in crate::vm::raw) fn most(&self) -> usize {
        self.limit.saturating_add(self.limit / 2).min(self.room)
    }
}

/// Parts of the limit that a run may allocate between two collections: usually, and near its limit.
pub(in crate::vm::raw) const STEP: usize = 8;

pub(in crate::vm::raw) const SMALL_STEP: usize = 32;

/// More was allocated than the ceiling allows, so Luau must call us at the next safepoint. If it
/// does so already, the run made more than it may between two safepoints, whatever part of that is
/// garbage.
///
/// # Safety
///
/// The VM is alive, and on this thread.
pub(in crate::vm::raw) unsafe fn ceiling_passed(state: *mut lua_State) {
    // SAFETY: the VM is alive.
    if let Some(mut measured) = unsafe { of(state) } {
        if measured.armed {
            measured.peak = measured.peak.max(measured.limit.saturating_add(1));
        }
        MEASURED.set(Some(Measured { armed: true, ..measured }));
        // SAFETY: the VM is alive, and so are its callbacks.
        unsafe { Hook::install_at(ffi::lua_callbacks(state)) };
    }
}

/// The measured run, if it is one of this VM: a host function may call another VM.
///
/// # Safety
///
/// The VM is alive.
pub(in crate::vm::raw) unsafe fn of(state: *mut lua_State) -> Option<Measured> {
    let measured = MEASURED.get()?;
    // SAFETY: gives an address.
    (unsafe { ffi::lua_callbacks(state) } as usize == measured.vm).then_some(measured)
}
