//! Making C functions, and metatables that scripts can't reach.
//!
//! # Safety
//!
//! What the functions here ask for: a protected call, and two free slots. Those that set a field of
//! a table, or lock a metatable, ask for a table on top as well.

use std::ffi::CStr;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

/// A C function with a number and a name as upvalues.
pub(super) fn numbered(
    lua: &Lua,
    number: u32,
    name: &str,
    function: ffi::lua_CFunction,
) -> mlua::Result<Function> {
    // SAFETY: rule 1; one closure with the two upvalues that were pushed.
    unsafe {
        lua.exec_raw((number, name), |state| {
            ffi::lua_pushcclosurek(state, function, std::ptr::null(), 2, None);
        })
    }
}

/// The number that is the first upvalue.
///
/// # Safety
///
/// In a closure that [`numbered`] made.
#[inline]
pub(super) unsafe fn upvalue_number(state: *mut lua_State) -> u32 {
    // SAFETY: reads an upvalue, which is there in a closure of `numbered`.
    unsafe { ffi::lua_tonumber(state, ffi::lua_upvalueindex(1)) as u32 }
}

/// Pushes a C function without upvalues.
pub(super) unsafe fn push_function(state: *mut lua_State, function: ffi::lua_CFunction) {
    // SAFETY: in a protected call, with a slot for the function; it has no upvalues.
    unsafe { ffi::lua_pushcclosurek(state, function, std::ptr::null(), 0, None) }
}

/// Sets a field of the table on top to a function.
pub(super) unsafe fn set_function(
    state: *mut lua_State,
    name: &CStr,
    function: ffi::lua_CFunction,
) {
    // SAFETY: in a protected call, with a slot for the function above the table.
    unsafe {
        push_function(state, function);
        ffi::lua_rawsetfield(state, -2, name.as_ptr());
    }
}

/// Sets the name that `typeof` gives, in the metatable on top.
pub(super) unsafe fn set_type_name(state: *mut lua_State, name: &CStr) {
    // SAFETY: in a protected call, with a slot for the string above the table.
    unsafe {
        ffi::lua_pushstring(state, name.as_ptr());
        ffi::lua_rawsetfield(state, -2, c"__type".as_ptr());
    }
}

/// Freezes the metatable on top, and hides it from `getmetatable`.
pub(super) unsafe fn lock_metatable(state: *mut lua_State) {
    // SAFETY: in a protected call, with a slot for the boolean above the table.
    unsafe {
        ffi::lua_pushboolean(state, 0);
        ffi::lua_rawsetfield(state, -2, c"__metatable".as_ptr());
        ffi::lua_setreadonly(state, -1, 1);
    }
}

/// Locks the metatable of the value on top, if it has one, and pops the value.
pub(super) unsafe fn lock_shared_metatable(state: *mut lua_State) {
    // SAFETY: in a protected call, with a value on top; one slot for its metatable, one for a field
    // of it.
    unsafe {
        if ffi::lua_getmetatable(state, -1) != 0 {
            ffi::lua_setreadonly(state, -1, 0);
            lock_metatable(state);
            ffi::lua_pop(state, 1);
        }
        ffi::lua_pop(state, 1);
    }
}
