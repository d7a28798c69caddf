//! `string.split`.
//!
//! # Safety
//!
//! What asks for nothing else asks for what this folder does: see `builtins`.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::cost;
use crate::vm::raw::builtins::begin::begin;
use crate::vm::raw::builtins::original::OriginalFunction;
use crate::vm::raw::builtins::values::text;
use crate::vm::raw::safepoint::safepoint;
use crate::vm::raw::stack::TOO_DEEP;

/// `string.split(text, separator)`, with safepoints.
pub(in crate::vm::raw) unsafe fn split(state: *mut lua_State, _: &OriginalFunction) -> c_int {
    /// Bytes that are searched between two looks at the work done.
    const WINDOW: usize = 100_000;
    /// Nanoseconds of comparing between two safepoints.
    const COMPARED: usize = 50_000;
    /// What it costs to make a piece, besides finding it.
    const PIECE: usize = 60;
    /// Pieces that are made between two safepoints.
    const PIECES: usize = 32;
    // SAFETY: the arguments lie from 1 to the top; `luaL_check…` raise if they are no strings, and
    // turn numbers into strings where they are. The strings stay there while their bytes are used,
    // and room is made for what is pushed. There are no more pieces than bytes, so their positions
    // fit a C `int`.
    unsafe {
        ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
        if ffi::lua_type(state, 2) <= ffi::LUA_TNIL {
            ffi::lua_settop(state, 1);
            ffi::lua_pushlstring(state, c",".as_ptr(), 1);
        }
        ffi::luaL_checklstring(state, 2, std::ptr::null_mut());
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        let (whole, separator) = (text(state, 1), text(state, 2));
        ffi::lua_createtable(state, 0, 0);
        safepoint(state);
        let mut pieces = 0;
        let mut push = |piece: &[u8]| {
            if pieces > 0 && pieces % PIECES == 0 {
                begin(state, c"split", PIECES * PIECE);
            }
            pieces += 1;
            ffi::lua_pushlstring(state, piece.as_ptr().cast(), piece.len());
            ffi::lua_rawseti(state, -2, pieces as ffi::lua_Integer);
        };
        let Some((first, others)) = separator.split_first() else {
            // Into bytes.
            whole.chunks(1).for_each(push);
            begin(state, c"split", whole.len() % PIECES * PIECE);
            return 1;
        };
        let mut rest = whole;
        let mut from = 0;
        let mut compared = 0;
        loop {
            let window = &rest[from..rest.len().min(from + WINDOW)];
            let found = window.iter().position(|byte| byte == first);
            compared += found.map_or(window.len(), |found| found + 10 + others.len() / 16);
            if compared > COMPARED {
                // Never more than what begins without a look at the clock.
                begin(state, c"split", std::mem::take(&mut compared).min(cost::FREE));
            }
            let start = match found {
                Some(found) => from + found,
                None if window.is_empty() => break,
                None => {
                    from += window.len();
                    continue;
                }
            };
            if rest[start + 1..].starts_with(others) {
                push(&rest[..start]);
                rest = &rest[start + separator.len()..];
                from = 0;
            } else {
                from = start + 1;
            }
        }
        push(rest);
        begin(state, c"split", pieces % PIECES * PIECE + compared);
        1
    }
}
