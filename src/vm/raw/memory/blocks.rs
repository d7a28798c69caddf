//! Large blocks that the allocator hands out: one may be a long text.

use std::cell::Cell;

use mlua::ffi;

use crate::vm::numerals::MOST;
use crate::vm::raw::safepoint::Hook;

thread_local! {
    /// The callbacks of the VM that runs something on this thread, or null.
    static VM: Cell<*mut ffi::lua_Callbacks> = const { Cell::new(std::ptr::null_mut()) };
    /// A block was handed out that may be a text which is too long. Which one it is doesn't matter: Luau may find that
    /// it has such a text already, as garbage, and give that.
    static SEEN: Cell<bool> = const { Cell::new(false) };
}

/// The VM that runs something on this thread from now on. Gives the one before.
#[inline]
pub(in crate::vm::raw) fn turn_to(vm: *mut ffi::lua_Callbacks) -> *mut ffi::lua_Callbacks {
    VM.replace(vm)
}

/// The VM that runs something on this thread, or null.
#[inline]
pub(in crate::vm::raw) fn vm() -> *mut ffi::lua_Callbacks {
    VM.get()
}

/// The allocator hands out a block of so many bytes.
#[inline]
pub(in crate::vm::raw) fn note_block(bytes: usize) {
    if bytes > MOST {
        note_large();
    }
}

/// A run begins: what was made before isn't its own. What it is given isn't looked at: no script made it.
#[inline]
pub(in crate::vm::raw) fn forget_blocks() {
    SEEN.set(false);
}

#[cold]
fn note_large() {
    let vm = VM.get();
    if !vm.is_null() {
        SEEN.set(true);
        // SAFETY: it is the VM that runs now, so it is alive.
        unsafe { Hook::install_at(vm) };
    }
}

/// Whether such a block was handed out since this was asked last.
#[inline]
pub(in crate::vm::raw) fn take_seen() -> bool {
    SEEN.replace(false)
}
