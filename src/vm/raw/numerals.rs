//! No text that would take long to be read as a number: see [`numerals`].
//!
//! What a built-in made is looked at when it returns. What `..` made is looked at by the safepoint that comes right
//! after it, while it still lies in a register of the function, and before any instruction can do something with it.
//! That safepoint costs nothing unless Luau has something to ask: the allocator sees to that when it is asked
//! for a block that may be such a text.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use mlua::ffi::{self, lua_State};

use super::{Hook, TOO_DEEP, raise, raise_at_safepoint, text_bytes};
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::numerals::{self, MOST};

thread_local! {
    /// The callbacks of the VM that runs something on this thread, or null.
    static VM: Cell<*mut ffi::lua_Callbacks> = const { Cell::new(std::ptr::null_mut()) };
    /// Where the last blocks are that were handed out since a text was looked at, and may be texts that are too long.
    static BLOCKS: Cell<[usize; 4]> = const { Cell::new([0; 4]) };
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

/// The allocator hands out a block of so many bytes, here.
#[inline]
pub(super) fn note_block(bytes: usize, block: *mut c_void) {
    if bytes > MOST {
        note_large(block);
    }
}

/// A run begins: what was made before isn't its own. What it is given isn't looked at: no script made it.
#[inline]
pub(super) fn forget_blocks() {
    BLOCKS.set([0; 4]);
}

#[cold]
fn note_large(block: *mut c_void) {
    let vm = VM.get();
    if !vm.is_null() {
        // A text, and what it takes to keep it among all texts: more there are not between two looks.
        let [a, b, c, _] = BLOCKS.get();
        BLOCKS.set([block as usize, a, b, c]);
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
    let blocks = BLOCKS.get();
    if blocks[0] != 0 {
        forget_blocks();
        // SAFETY: the caller keeps what this function asks for.
        unsafe { look_for(state, &blocks) }
    }
}

/// # Safety
///
/// As [`look_at_registers`].
#[cold]
unsafe fn look_for(state: *mut lua_State, blocks: &[usize]) {
    /// No function has more.
    const REGISTERS: c_int = 255;
    /// A large object has a block of its own, and lies behind less than so many bytes of it.
    const HEAD: usize = 256;
    // SAFETY: all registers of a function hold values, if old ones: the collector goes through them as well. They are
    // counted from the top, since there may be more than the function has of its own: results that it is
    // about to pass on.
    unsafe {
        let top = ffi::lua_gettop(state);
        let registers = -top..=(REGISTERS - top).min(-1);
        let is_long = |register: &c_int| {
            let object = ffi::lua_topointer(state, *register) as usize;
            blocks.iter().any(|block| object.wrapping_sub(*block) < HEAD)
                && is_long_at(state, *register)
        };
        if !registers.clone().any(|register| is_long(&register)) {
            return;
        }
        // Nothing else holds it, so nothing does from now on.
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        for register in registers.filter(is_long) {
            ffi::lua_pushnil(state);
            ffi::lua_replace(state, register - 1);
        }
        raise_at_safepoint(state, ScriptError::LongNumeral { limit: MOST });
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
        if is_long_at(state, index) {
            raise(state, ScriptError::LongNumeral { limit: MOST });
        }
    }
}

/// Whether there is such a text at an index.
///
/// # Safety
///
/// A valid index.
#[inline]
unsafe fn is_long_at(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: the caller keeps what this function asks for; the text is not used after it was looked at.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TSTRING || ffi::lua_objlen(state, index) <= MOST
        {
            return false;
        }
        forget_blocks();
        text_bytes(state, index).is_some_and(numerals::is_long)
    }
}

/// What the host is about to hand to a script.
///
/// # Errors
/// If it holds such a text.
pub(super) fn check(value: &ScriptValue) -> Result<(), ScriptError> {
    let is_long = match value {
        ScriptValue::String(text) => numerals::is_long(text.as_bytes()),
        ScriptValue::Bytes(bytes) => numerals::is_long(bytes),
        ScriptValue::Table(table) => return check_table(table),
        _ => false,
    };
    if is_long { Err(ScriptError::LongNumeral { limit: MOST }) } else { Ok(()) }
}

/// As [`check`].
pub(super) fn check_table(table: &ScriptTable) -> Result<(), ScriptError> {
    table.array.iter().chain(table.fields.values()).try_for_each(check)
}
