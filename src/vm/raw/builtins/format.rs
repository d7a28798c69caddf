//! `string.format`.
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
use crate::vm::raw::builtins::values::{sum, text};
use crate::vm::raw::numerals;
use crate::vm::raw::safepoint::safepoint;
use crate::vm::raw::stack::TOO_DEEP;
use crate::vm::raw::strings::{may_have_address, push_text};

/// `string.format(format, …)`, without addresses. Interpolated strings are made by it as well.
pub(in crate::vm::raw) unsafe fn format(
    state: *mut lua_State,
    original: &OriginalFunction,
) -> c_int {
    // SAFETY: the arguments lie from 1 to the top. `push_text` gets their positions, with room for
    // what it pushes. The format stays at 1 while its bytes are used.
    unsafe {
        let count = ffi::lua_gettop(state);
        let format = text(state, 1);
        if format.len() > LONG_FORMAT {
            begin(state, c"format", 3 * format.len());
        }
        // As numbers, or quoted.
        let (mut values, mut numbers) = (0_usize, 0);
        let mut conversions = conversions(format);
        for position in 2..=count {
            let mut kind = ffi::lua_type(state, position);
            // The only conversion that shows a value as `tostring` does.
            if conversions.next() == Some(b'*') && may_have_address(kind) {
                // Luau looks up the string among all its strings.
                safepoint(state);
                ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
                push_text(state, position);
                ffi::lua_replace(state, position);
                kind = ffi::LUA_TSTRING;
            }
            match kind {
                ffi::LUA_TSTRING => {
                    values = values.saturating_add(ffi::lua_objlen(state, position));
                }
                ffi::LUA_TNUMBER => numbers += 1,
                _ => {}
            }
        }
        let interned = cost::interned(format, numbers);
        let cost = cost::format(format, count as usize);
        begin(state, c"format", sum([cost, values.saturating_mul(4), interned]));
        let count = original.call(state);
        numerals::look(state, -count);
        count
    }
}

/// Reading a shorter format takes no time to speak of.
const LONG_FORMAT: usize = 1000;

/// The letters of the conversions that take an argument.
fn conversions(format: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = format.iter().copied();
    std::iter::from_fn(move || {
        loop {
            rest.find(|byte| *byte == b'%')?;
            match rest.find(|byte| !b"-+ #.0123456789".contains(byte))? {
                b'%' => {}
                conversion => return Some(conversion),
            }
        }
    })
}
