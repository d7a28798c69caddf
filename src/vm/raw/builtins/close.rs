//! `coroutine.close`.
//!
//! # Safety
//!
//! What asks for nothing else asks for what this folder does: see `builtins`.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::vm::raw::builtins::original::OriginalFunction;
use crate::vm::raw::errors::raise;
use crate::vm::raw::strings::OUT_OF_MEMORY;

/// `coroutine.close(thread)`
///
/// Luau replaces the stack of the coroutine by a small one. If it got no memory for that, it would
/// raise the error in the coroutine, where nothing catches it: Luau takes that for a mistake of the
/// host, and ends the process if its assertions are on. So we find out first whether there is
/// memory.
pub(in crate::vm::raw) unsafe fn close(
    state: *mut lua_State,
    original: &OriginalFunction,
) -> c_int {
    /// The small stack and its calls take less than two of the pages in which Luau keeps small
    /// blocks.
    const ROOM: usize = 64 * 1024;
    // SAFETY: the allocator is that of the VM, and gets back what it gave. Luau calls this function
    // in place of the original.
    unsafe {
        let mut data = std::ptr::null_mut();
        let allocate = ffi::lua_getallocf(state, &raw mut data);
        let block = allocate(data, std::ptr::null_mut(), 0, ROOM);
        if block.is_null() {
            raise(state, ScriptError::Raised { message: OUT_OF_MEMORY.to_owned() });
        }
        allocate(data, block, ROOM, 0);
        original.call(state)
    }
}
