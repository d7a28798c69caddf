//! No text that would take long to be read as a number: see [`numerals`].
//!
//! What a built-in made is looked at when it returns. What `..` made is looked at by the safepoint that comes right
//! after it, while it still lies in a register of the function, and before any instruction can do something with it.
//! That safepoint costs nothing unless Luau has something to ask: the allocator sees to that when it is asked
//! for a block that may be such a text.

use std::cell::Cell;
use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::{Hook, TOO_DEEP, raise, raise_at_safepoint, text_bytes};
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::numerals::{self, MOST};

thread_local! {
    /// The callbacks of the VM that runs something on this thread, or null.
    static VM: Cell<*mut ffi::lua_Callbacks> = const { Cell::new(std::ptr::null_mut()) };
    /// A block was handed out that may be a text which is too long.
    static SEEN: Cell<bool> = const { Cell::new(false) };
}

/// The VM that runs something on this thread from now on. Gives the one before.
#[inline]
pub(super) fn turn_to(vm: *mut ffi::lua_Callbacks) -> *mut ffi::lua_Callbacks {
    VM.replace(vm)
}

/// The VM that runs something on this thread, or null.
#[inline]
pub(super) fn vm() -> *mut ffi::lua_Callbacks {
    VM.get()
}

/// The allocator hands out a new block of so many bytes.
#[inline]
pub(super) fn note_block(bytes: usize) {
    if bytes > MOST {
        note_large();
    }
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

/// Looks at the registers of the function that reached this safepoint, if a large block was handed out since the
/// last one.
///
/// # Safety
///
/// At a safepoint that may raise.
#[inline]
pub(super) unsafe fn look_at_registers(state: *mut lua_State) {
    if SEEN.replace(false) {
        // SAFETY: the caller keeps what this function asks for.
        unsafe { look_at_all(state) }
    }
}

/// # Safety
///
/// As [`look_at_registers`].
#[cold]
unsafe fn look_at_all(state: *mut lua_State) {
    /// No function has more.
    const REGISTERS: c_int = 255;
    // SAFETY: all registers of a function hold values, if old ones: the collector goes through them as well. They are
    // counted from the top, since there may be more than the function has of its own: results that it is
    // about to pass on.
    unsafe {
        let top = ffi::lua_gettop(state);
        for register in -top..=(REGISTERS - top).min(-1) {
            if let Some(row) = row_at(state, register) {
                // Nothing else holds it, so nothing does from now on.
                ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
                ffi::lua_pushnil(state);
                ffi::lua_replace(state, register - 1);
                raise_at_safepoint(state, ScriptError::LongNumeral { row, limit: MOST });
            }
        }
    }
}

/// Raises if what a built-in made, at this index, is such a text.
///
/// # Safety
///
/// A valid index, inside a C function that Luau called.
#[inline]
pub(super) unsafe fn look(state: *mut lua_State, index: c_int) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if let Some(row) = row_at(state, index) {
            raise(state, ScriptError::LongNumeral { row, limit: MOST });
        }
    }
}

/// The longest row in the text at an index, if it is such a text.
///
/// # Safety
///
/// A valid index.
#[inline]
unsafe fn row_at(state: *mut lua_State, index: c_int) -> Option<usize> {
    // SAFETY: the caller keeps what this function asks for; the text is not used after it was looked at.
    unsafe {
        let is_long =
            ffi::lua_type(state, index) == ffi::LUA_TSTRING && ffi::lua_objlen(state, index) > MOST;
        if is_long { text_bytes(state, index).and_then(numerals::longest) } else { None }
    }
}

/// What the host is about to hand to a script.
///
/// # Errors
/// If it holds such a text.
pub(super) fn check(value: &ScriptValue) -> Result<(), ScriptError> {
    let row = match value {
        ScriptValue::String(text) => numerals::longest(text.as_bytes()),
        ScriptValue::Bytes(bytes) => numerals::longest(bytes),
        ScriptValue::Table(table) => return check_table(table),
        _ => None,
    };
    row.map_or(Ok(()), |row| Err(ScriptError::LongNumeral { row, limit: MOST }))
}

/// As [`check`].
pub(super) fn check_table(table: &ScriptTable) -> Result<(), ScriptError> {
    table.array.iter().chain(table.fields.values()).try_for_each(check)
}
