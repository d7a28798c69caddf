//! `tostring`.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use crate::vm::raw::safepoint::safepoint;
use crate::vm::raw::strings::push_text;

/// `tostring` that shows no address.
pub(in crate::vm) fn tostring_function(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: rule 1.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushcclosurek(state, tostring, c"tostring".as_ptr(), 0, None);
        })
    }
}

/// `tostring(value)`
unsafe extern "C-unwind" fn tostring(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; `luaL_checkany` raises as C functions may.
    unsafe {
        safepoint(state);
        ffi::luaL_checkany(state, 1);
        push_text(state, 1);
        1
    }
}
