//! Large blocks that the allocator hands out: any of them may be a string that is too long to be
//! read as a number.
//!
//! When it hands out one, it installs the hook, so that the next safepoint looks for such a string:
//! see `numerals`.

use std::cell::Cell;

use mlua::ffi;

use crate::vm::numerals::MOST;
use crate::vm::raw::safepoint::Hook;

thread_local! {
    /// The callbacks of the VM that runs on this thread, or null.
    static VM: Cell<*mut ffi::lua_Callbacks> = const { Cell::new(std::ptr::null_mut()) };
    /// A block was handed out that may be such a string. Which one doesn't matter: Luau may find
    /// that it has the string already, as garbage, and give that.
    static SEEN: Cell<bool> = const { Cell::new(false) };
}

/// Says which VM runs on this thread from now on. Gives the one before.
#[inline]
pub(in crate::vm::raw) fn turn_to(vm: *mut ffi::lua_Callbacks) -> *mut ffi::lua_Callbacks {
    VM.replace(vm)
}

/// The callbacks of the VM that runs on this thread, or null.
#[inline]
pub(in crate::vm::raw) fn vm() -> *mut ffi::lua_Callbacks {
    VM.get()
}

/// Notes that the allocator hands out a block of so many bytes.
#[inline]
pub(in crate::vm::raw) fn note_block(bytes: usize) {
    if bytes > MOST {
        note_large();
    }
}

/// Forgets what was made before a run. What the run is given need not be looked at: no script made
/// it.
#[inline]
pub(in crate::vm::raw) fn forget_blocks() {
    SEEN.set(false);
}

#[cold]
fn note_large() {
    let vm = VM.get();
    if !vm.is_null() {
        SEEN.set(true);
        // SAFETY: that VM runs now, so it is alive.
        unsafe { Hook::install_at(vm) };
    }
}

/// Whether such a block was handed out since the last call.
#[inline]
pub(in crate::vm::raw) fn take_seen() -> bool {
    SEEN.replace(false)
}
