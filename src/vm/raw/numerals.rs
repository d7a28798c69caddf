//! No string that would take long to be read as a number: see
//! [`vm::numerals`](crate::vm::numerals).
//!
//! What a built-in made is looked at when it returns. What `..` made is looked at by the safepoint
//! right after it, while it is still in a register of the function and before any instruction can
//! use it. That safepoint costs nothing unless the hook is installed, and the allocator installs it
//! when it is asked for a block that may be such a string (`memory::blocks`).

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use super::errors::{raise, raise_at_safepoint};
use super::memory::blocks;
use super::stack::TOO_DEEP;
use super::strings::text_bytes;
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::numerals::{MOST, is_long};

/// Looks at the registers of the function that reached this safepoint, if a large block was handed
/// out since the last one.
///
/// # Safety
///
/// At a safepoint that may raise.
#[inline]
pub(super) unsafe fn look_at_registers(state: *mut lua_State) {
    if blocks::take_seen() {
        // SAFETY: at a safepoint that may raise, as this function asks.
        unsafe { look_at_all(state) }
    }
}

/// Looks at the registers.
///
/// # Safety
///
/// As [`look_at_registers`].
#[cold]
unsafe fn look_at_all(state: *mut lua_State) {
    /// No function has more.
    const REGISTERS: c_int = 255;
    // SAFETY: at a safepoint that may raise. All registers of a function hold values, possibly old
    // ones: the collector visits them too. They are counted from the top, since there may be more
    // than its own: results that the function is about to return.
    unsafe {
        let top = ffi::lua_gettop(state);
        let registers = -top..=(REGISTERS - top).min(-1);
        if !registers.clone().any(|register| is_long_at(state, register)) {
            return;
        }
        // The string must not stay anywhere: see `clear`.
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        for register in registers {
            if is_long_at(state, register) {
                ffi::lua_pushnil(state);
                ffi::lua_replace(state, register - 1);
            }
        }
        raise_at_safepoint(state, ScriptError::LongNumeral { limit: MOST });
    }
}

/// Raises an error if what a built-in made, at this index, is such a string.
///
/// # Safety
///
/// In a C function that Luau called, with a valid index.
#[inline]
pub(super) unsafe fn look(state: *mut lua_State, index: c_int) {
    // SAFETY: in a C function, with a valid index.
    unsafe {
        if is_long_at(state, index) {
            clear(state, index);
            raise(state, ScriptError::LongNumeral { limit: MOST });
        }
    }
}

/// Clears the stack from an index on and some slots beyond the top, where a called function may
/// have left the string: a function whose registers lie there later would seem to have made it.
///
/// # Safety
///
/// As [`look`].
#[cold]
unsafe fn clear(state: *mut lua_State, index: c_int) {
    /// What a built-in with some arguments uses of the stack.
    const USED: c_int = 40;
    // SAFETY: in a C function, with a valid index and the room that is made here.
    unsafe {
        ffi::lua_settop(state, index - 1);
        ffi::luaL_checkstack(state, USED + 4, TOO_DEEP.as_ptr());
        let top = ffi::lua_gettop(state);
        (0..USED).for_each(|_| ffi::lua_pushnil(state));
        ffi::lua_settop(state, top);
    }
}

/// Whether such a string is at an index.
///
/// # Safety
///
/// A valid index.
#[inline]
unsafe fn is_long_at(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: the index is valid, and the string stays there while its bytes are looked at.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TSTRING || ffi::lua_objlen(state, index) <= MOST
        {
            return false;
        }
        text_bytes(state, index).is_some_and(is_long)
    }
}

/// Checks what the host is about to hand to a script.
///
/// # Errors
///
/// If it holds such a string.
pub(super) fn check(value: &ScriptValue) -> Result<(), ScriptError> {
    let is_long = match value {
        ScriptValue::String(text) => is_long(text.as_bytes()),
        ScriptValue::Bytes(bytes) => is_long(bytes),
        ScriptValue::Table(table) => return check_table(table),
        _ => false,
    };
    if is_long { Err(ScriptError::LongNumeral { limit: MOST }) } else { Ok(()) }
}

/// As [`check`].
pub(super) fn check_table(table: &ScriptTable) -> Result<(), ScriptError> {
    table.array.iter().chain(table.fields.values()).try_for_each(check)
}
