//! Dotted paths below the environment, read and written as a script would.
//!
//! # Safety
//!
//! Luau calls the C functions here, with their arguments from 1 to the top.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::value::ScriptValue;
use crate::vm::raw::data::push::push_value;
use crate::vm::raw::functions::push_function;
use crate::vm::raw::handles::keys::MAX_NAME;
use crate::vm::raw::stack::TOO_DEEP;

/// Reads or writes the value at a path. Gives the status of the protected call; the value or the
/// error is on top.
///
/// # Safety
///
/// In a protected call, with the message handler at 2 and the environment at 3.
pub(in crate::vm::raw) unsafe fn follow(
    state: *mut lua_State,
    path: &str,
    value: Option<&ScriptValue>,
) -> c_int {
    const HANDLER: c_int = 2;
    const ENVIRONMENT: c_int = 3;
    // SAFETY: in a protected call, with room for the function, the environment, the parts and a
    // value; the handler is at 2.
    unsafe {
        let parts = path.split('.').count().min(MAX_NAME) as c_int;
        ffi::luaL_checkstack(state, parts + 8, TOO_DEEP.as_ptr());
        push_function(state, if value.is_some() { write_path } else { read_path });
        ffi::lua_pushvalue(state, ENVIRONMENT);
        for part in path.split('.').take(MAX_NAME) {
            ffi::lua_pushlstring(state, part.as_ptr().cast(), part.len());
        }
        if let Some(value) = value {
            push_value(state, value, 0);
        }
        let arguments = parts + 1 + c_int::from(value.is_some());
        ffi::lua_pcall(state, arguments, 1, HANDLER)
    }
}

/// `read_path(table, "a", "b", …)`: `table.a.b…`
unsafe extern "C-unwind" fn read_path(state: *mut lua_State) -> c_int {
    // SAFETY: `follow` calls it, with the table at 1 and the parts above it.
    unsafe {
        let last = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        ffi::lua_pushvalue(state, 1);
        for part in 2..=last {
            ffi::lua_pushvalue(state, part);
            ffi::lua_gettable(state, -2);
            ffi::lua_remove(state, -2);
        }
        1
    }
}

/// `write_path(table, "a", "b", …, value)`: `table.a.b… = value`
unsafe extern "C-unwind" fn write_path(state: *mut lua_State) -> c_int {
    // SAFETY: `follow` calls it, with the table at 1, the parts above it, and the value on top.
    unsafe {
        let value = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        ffi::lua_pushvalue(state, 1);
        for part in 2..value - 1 {
            ffi::lua_pushvalue(state, part);
            ffi::lua_gettable(state, -2);
            ffi::lua_remove(state, -2);
        }
        ffi::lua_pushvalue(state, value - 1);
        ffi::lua_pushvalue(state, value);
        ffi::lua_settable(state, -3);
        ffi::lua_pushnil(state);
        1
    }
}

/// Whether the value on top can be called.
///
/// # Safety
///
/// In a protected call, with a value on top; two free slots.
pub(in crate::vm::raw) unsafe fn is_callable(state: *mut lua_State) -> bool {
    // SAFETY: in a protected call, with a value on top and free slots for a metatable and its
    // field.
    unsafe {
        if ffi::lua_type(state, -1) == ffi::LUA_TFUNCTION {
            return true;
        }
        let callable = ffi::luaL_getmetafield(state, -1, c"__call".as_ptr()) != 0;
        if callable {
            ffi::lua_pop(state, 1);
        }
        callable
    }
}
