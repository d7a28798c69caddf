//! Arguments as the costs see them.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::cost;
use crate::vm::raw::strings::text_bytes;

/// The number that a function takes from an argument. What is too long for a number is larger than any.
#[inline]
pub(in crate::vm::raw) unsafe fn number(state: *mut lua_State, index: c_int) -> f64 {
    // SAFETY: the caller keeps what this function asks for.
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

/// The length of the table, text or buffer at a stack index; 0 for anything else.
#[inline]
pub(in crate::vm::raw) unsafe fn length(state: *mut lua_State, index: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TTABLE | ffi::LUA_TSTRING | ffi::LUA_TBUFFER => ffi::lua_objlen(state, index),
            _ => 0,
        }
    }
}

/// The bytes of the text at a stack index; 0 for anything else.
#[inline]
pub(in crate::vm::raw) unsafe fn text_length(state: *mut lua_State, index: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TSTRING => ffi::lua_objlen(state, index),
            _ => 0,
        }
    }
}

/// The text at a stack index, or none; it lives as long as it is there.
#[inline]
pub(in crate::vm::raw) unsafe fn text<'s>(state: *mut lua_State, index: c_int) -> &'s [u8] {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { text_bytes(state, index).unwrap_or_default() }
}

/// All of it, however much.
pub(in crate::vm::raw) fn sum(costs: impl IntoIterator<Item = usize>) -> usize {
    costs.into_iter().fold(0, usize::saturating_add)
}
