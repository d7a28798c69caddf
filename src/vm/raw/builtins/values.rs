//! What the costs read of an argument.
//!
//! # Safety
//!
//! The functions here ask for a valid index.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::cost;
use crate::vm::raw::strings::text_bytes;

/// The number that a function reads from an argument. A string that is too long for a number counts
/// as infinite.
#[inline]
pub(in crate::vm::raw) unsafe fn number(state: *mut lua_State, index: c_int) -> f64 {
    // SAFETY: the index is valid.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TNUMBER => ffi::lua_tonumber(state, index),
            ffi::LUA_TSTRING if ffi::lua_objlen(state, index) <= cost::LONGEST_NUMBER => {
                ffi::lua_tonumber(state, index)
            }
            ffi::LUA_TSTRING => f64::INFINITY,
            _ => 0.0,
        }
    }
}

/// The length of the table, string or buffer at a stack index; 0 for any other value.
#[inline]
pub(in crate::vm::raw) unsafe fn length(state: *mut lua_State, index: c_int) -> usize {
    // SAFETY: the index is valid; values of these types have a length.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TTABLE | ffi::LUA_TSTRING | ffi::LUA_TBUFFER => ffi::lua_objlen(state, index),
            _ => 0,
        }
    }
}

/// The bytes of the string at a stack index; 0 for any other value.
#[inline]
pub(in crate::vm::raw) unsafe fn text_length(state: *mut lua_State, index: c_int) -> usize {
    // SAFETY: the index is valid; a string has a length.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TSTRING => ffi::lua_objlen(state, index),
            _ => 0,
        }
    }
}

/// The string at a stack index, or an empty one.
///
/// # Safety
///
/// As the others; the string lives while the bytes are used.
#[inline]
pub(in crate::vm::raw) unsafe fn text<'s>(state: *mut lua_State, index: c_int) -> &'s [u8] {
    // SAFETY: the index is valid, and the string lives as this function asks.
    unsafe { text_bytes(state, index).unwrap_or_default() }
}

/// The sum, at most `usize::MAX`.
pub(in crate::vm::raw) fn sum(costs: impl IntoIterator<Item = usize>) -> usize {
    costs.into_iter().fold(0, usize::saturating_add)
}
