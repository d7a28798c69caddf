//! `tostring`, without addresses.
//!
//! # Safety
//!
//! Luau calls the C functions here, with their arguments from 1 to the top.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use crate::vm::raw::safepoint::safepoint;
use crate::vm::raw::strings::push_text;

/// Makes the function.
pub(in crate::vm) fn tostring_function(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: rule 1; a closure without upvalues.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushcclosurek(state, tostring, c"tostring".as_ptr(), 0, None);
        })
    }
}

/// `tostring(value)`
unsafe extern "C-unwind" fn tostring(state: *mut lua_State) -> c_int {
    // SAFETY: `luaL_checkany` raises if there is no argument; there are free slots for its text.
    unsafe {
        safepoint(state);
        ffi::luaL_checkany(state, 1);
        push_text(state, 1);
        1
    }
}
