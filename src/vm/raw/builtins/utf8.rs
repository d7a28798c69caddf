//! `utf8.codes`.
//!
//! # Safety
//!
//! What asks for nothing else asks for what this folder does: see `builtins`.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::vm::raw::builtins::original::OriginalFunction;
use crate::vm::raw::builtins::values::text;
use crate::vm::raw::errors::raise;
use crate::vm::raw::stack::TOO_DEEP;

/// `utf8.codes(text)`
pub(in crate::vm::raw) unsafe fn codes(state: *mut lua_State, _: &OriginalFunction) -> c_int {
    // SAFETY: `luaL_checklstring` raises if the argument is no string; room is made for what is
    // pushed.
    unsafe {
        ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        ffi::lua_pushcclosurek(state, next_code, std::ptr::null(), 0, None);
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushnumber(state, 0.0);
        3
    }
}

/// The position of the character after the one at a position, and its code.
unsafe extern "C-unwind" fn next_code(state: *mut lua_State) -> c_int {
    /// A character has no more bytes after its first.
    const MOST: usize = 3;
    // SAFETY: `luaL_checklstring` raises if the first argument is no string. The string stays there
    // while its bytes are used, and there are free slots for two numbers.
    unsafe {
        ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
        let bytes = text(state, 1);
        let place = ffi::lua_tonumber(state, 2).max(0.0) as usize;
        let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        let mut at = place.min(bytes.len());
        let end = at + MOST;
        while place > 0 && at < end && continues(at) {
            at += 1;
        }
        if at >= bytes.len() {
            return 0;
        }
        let length = match bytes[at] {
            0..0x80 => 1,
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            _ => 4,
        };
        let code = bytes
            .get(at..at + length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .and_then(|text| text.chars().next())
            .filter(|_| !continues(at + length));
        let Some(code) = code else {
            raise(state, ScriptError::Raised { message: "invalid UTF-8 code".to_owned() });
        };
        ffi::lua_pushnumber(state, (at + 1) as f64);
        ffi::lua_pushnumber(state, f64::from(u32::from(code)));
        2
    }
}
