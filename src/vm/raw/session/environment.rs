//! The environment of a session: it lasts from reset to reset.
//!
//! Chunks read built-ins when they are loaded, as long as the environment is marked safe. It loses
//! the mark when a script is about to shadow a built-in, by assigning a global or by `rawset`.
//!
//! # Safety
//!
//! Luau calls the C functions here, with their arguments from 1 to the top.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, Table, ffi};

use crate::vm::raw::file_level::ENVIRONMENT_SLOTS;
use crate::vm::raw::functions::lock_metatable;
use crate::vm::raw::refs::{Refs, SessionRefs};
use crate::vm::raw::session::coroutines::{ALIVE, BEFORE, EVER, number_at, push_weak_table};
use crate::vm::raw::stack::{StackCheck, TOO_DEEP};

/// Installs what a session needs into a VM on which `set_up` was called.
pub(in crate::vm) fn set_up_session(
    lua: &Lua,
    builtins: &Table,
    holder: &Table,
    refs: &Refs,
) -> mlua::Result<SessionRefs> {
    let mut session = SessionRefs {
        environment_metatable: 0,
        environment: 0,
        coroutines: 0,
        message_handler: refs.message_handler,
        vm: refs.vm,
        handed: refs.handed,
    };
    let slots = &mut session;
    // SAFETY: rule 1; the stack holds `builtins` at 1 and `holder` at 2, with room for eight values
    // more.
    unsafe {
        lua.exec_raw::<()>((builtins, holder), |state| {
            ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
            slots.coroutines = ffi::lua_ref(state, 2);

            ffi::lua_createtable(state, 0, 3);
            ffi::lua_pushvalue(state, 1);
            ffi::lua_rawsetfield(state, -2, c"__index".as_ptr());
            ffi::lua_pushvalue(state, 1);
            ffi::lua_pushcclosurek(state, global_newindex, std::ptr::null(), 1, None);
            ffi::lua_rawsetfield(state, -2, c"__newindex".as_ptr());
            lock_metatable(state);
            slots.environment_metatable = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            push_environment(state, slots.environment_metatable);
            slots.environment = ffi::lua_ref(state, -1);
            ffi::lua_settop(state, 0);
        })?;
    }
    Ok(session)
}

/// Replaces the environment by a fresh one, and forgets the coroutines.
pub(in crate::vm) fn reset_session(lua: &Lua, refs: &SessionRefs) -> mlua::Result<()> {
    // SAFETY: rule 1, with room for eight values; the registry's slots are those that
    // `set_up_session` filled.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
            push_environment(state, refs.environment_metatable);
            ffi::lua_rawseti(state, ffi::LUA_REGISTRYINDEX, refs.environment.into());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.coroutines.into());
            let ever = number_at(state, -1, EVER);
            if ever > number_at(state, -1, BEFORE) {
                push_weak_table(state);
                ffi::lua_rawseti(state, -2, ALIVE);
                ffi::lua_pushnumber(state, ever);
                ffi::lua_rawseti(state, -2, BEFORE);
            }
            ffi::lua_pop(state, 1);
        })
    }
}

/// Pushes an environment.
///
/// # Safety
///
/// In a protected call; four free slots; the registry's slot holds the metatable.
pub(in crate::vm::raw) unsafe fn push_environment(state: *mut lua_State, metatable: c_int) {
    // SAFETY: in a protected call, with four free slots; the registry's slot holds a table.
    unsafe {
        let check = StackCheck::begin(state);
        ffi::lua_createtable(state, 0, ENVIRONMENT_SLOTS);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawsetfield(state, -2, c"_G".as_ptr());
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, metatable.into());
        ffi::lua_setmetatable(state, -2);
        ffi::lua_setsafeenv(state, -1, 1);
        check.end(state, 1);
    }
}

/// `rawset` that notices when a built-in is shadowed.
pub(in crate::vm) fn rawset_function(lua: &Lua, builtins: &Table) -> mlua::Result<Function> {
    // SAFETY: rule 1; a closure with the one upvalue that was pushed.
    unsafe {
        lua.exec_raw(builtins, |state| {
            ffi::lua_pushcclosurek(state, rawset, c"rawset".as_ptr(), 1, None);
        })
    }
}

/// `rawset(table, key, value)`; the built-ins are the upvalue.
unsafe extern "C-unwind" fn rawset(state: *mut lua_State) -> c_int {
    // SAFETY: there are three arguments, the first a table, or `luaL_check…` raises; the upvalue
    // holds the built-ins.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        ffi::luaL_checkany(state, 2);
        ffi::luaL_checkany(state, 3);
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        note_shadowing(state);
        ffi::lua_settop(state, 3);
        ffi::lua_rawset(state, 1);
        ffi::lua_settop(state, 1);
        1
    }
}

/// `__newindex` of the environment: a script defines a global. The built-ins are the upvalue.
unsafe extern "C-unwind" fn global_newindex(state: *mut lua_State) -> c_int {
    // SAFETY: the operands are at 1, 2 and 3, the first a table; the upvalue holds the built-ins.
    unsafe {
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        note_shadowing(state);
        ffi::lua_settop(state, 3);
        ffi::lua_rawset(state, 1);
        0
    }
}

/// Removes the mark of the table at 1 if the key at 2 shadows a built-in.
///
/// # Safety
///
/// In a C function that Luau called, with a table at 1, a key at 2 and the built-ins as first
/// upvalue; two free slots.
unsafe fn note_shadowing(state: *mut lua_State) {
    // SAFETY: table, key and upvalue are there; one slot for the key, which becomes the value.
    unsafe {
        if ffi::lua_type(state, 2) != ffi::LUA_TSTRING {
            return;
        }
        let check = StackCheck::begin(state);
        ffi::lua_pushvalue(state, 2);
        ffi::lua_rawget(state, ffi::lua_upvalueindex(1));
        if ffi::lua_type(state, -1) != ffi::LUA_TNIL {
            ffi::lua_setsafeenv(state, 1, 0);
        }
        ffi::lua_pop(state, 1);
        check.end(state, 0);
    }
}
