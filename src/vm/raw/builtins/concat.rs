//! `table.concat`.
//!
//! # Safety
//!
//! What asks for nothing else asks for what this folder does: see `builtins`.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::raw::builtins::begin::{begin, reading};
use crate::vm::raw::builtins::original::OriginalFunction;
use crate::vm::raw::builtins::values::{length, number, sum, text_length};
use crate::vm::raw::numerals;
use crate::vm::raw::safepoint::safepoint;
use crate::vm::raw::stack::TOO_DEEP;

/// `table.concat(list, separator, first, last)`; Luau's own function is the first upvalue too.
///
/// Each number becomes a string, which Luau looks up among all its strings. Numbers can be chosen
/// so that this takes long, so long lists with numbers are concatenated in pieces, with safepoints
/// in between.
pub(in crate::vm::raw) unsafe fn concat(
    state: *mut lua_State,
    original: &OriginalFunction,
) -> c_int {
    /// Elements of a piece, which is one call.
    const PIECE: usize = 64;
    // SAFETY: the arguments lie from 1 to the top; the first upvalue is Luau's own function. Room
    // is made for what is pushed, and pieces are counted by elements of a list, so their positions
    // fit a C `int`.
    unsafe {
        let separator = text_length(state, 2);
        let last = match ffi::lua_type(state, 4) {
            ffi::LUA_TNUMBER | ffi::LUA_TSTRING => number(state, 4).max(0.0) as usize,
            _ => length(state, 1),
        };
        let first = match ffi::lua_type(state, 3) {
            ffi::LUA_TNUMBER | ffi::LUA_TSTRING => number(state, 3).max(0.0) as usize,
            _ => 1,
        };
        let count = last.saturating_sub(first).saturating_add(1);
        let cost = count.saturating_mul(60 + separator / 2);
        begin(state, c"concat", sum([cost, reading(state, 3, 4)]));
        let is_list =
            ffi::lua_type(state, 1) == ffi::LUA_TTABLE && first >= 1 && last <= length(state, 1);
        if count <= PIECE || !is_list || !has_numbers(state, first..=last) {
            let count = original.call(state);
            numerals::look(state, -count);
            return count;
        }
        ffi::lua_settop(state, 2);
        ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
        ffi::lua_createtable(state, 0, 0);
        for (piece, from) in (first..=last).step_by(PIECE).enumerate() {
            safepoint(state);
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
            ffi::lua_pushvalue(state, 1);
            ffi::lua_pushvalue(state, 2);
            ffi::lua_pushnumber(state, from as f64);
            ffi::lua_pushnumber(state, (from + PIECE - 1).min(last) as f64);
            ffi::lua_call(state, 4, 1);
            ffi::lua_rawseti(state, 3, piece as ffi::lua_Integer + 1);
        }
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 3);
        ffi::lua_pushvalue(state, 2);
        ffi::lua_call(state, 2, 1);
        numerals::look(state, -1);
        1
    }
}

/// Whether any of these elements of the list at 1 is a number.
///
/// # Safety
///
/// In a C function that Luau called, with a table at 1; no element is beyond its length.
unsafe fn has_numbers(state: *mut lua_State, elements: std::ops::RangeInclusive<usize>) -> bool {
    /// So many are pushed before they are popped together.
    const PUSHED: usize = 64;
    // SAFETY: a table is at 1, there is room for what is pushed, and the positions are no larger
    // than the length of a list, so they fit a C `int`.
    unsafe {
        let top = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, PUSHED as c_int, TOO_DEEP.as_ptr());
        let mut found = false;
        for (count, position) in elements.enumerate() {
            if count % PUSHED == 0 {
                ffi::lua_settop(state, top);
            }
            if ffi::lua_rawgeti(state, 1, position as ffi::lua_Integer) == ffi::LUA_TNUMBER {
                found = true;
                break;
            }
        }
        ffi::lua_settop(state, top);
        found
    }
}
