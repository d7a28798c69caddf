//! The environment of a session.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, Table, ffi};

use crate::vm::raw::file_level::ENVIRONMENT_SLOTS;
use crate::vm::raw::functions::lock_metatable;
use crate::vm::raw::refs::{Refs, SessionRefs};
use crate::vm::raw::session::coroutines::{ALIVE, BEFORE, EVER, number_at, push_weak_table};
use crate::vm::raw::stack::TOO_DEEP;

/// Installs what a session needs into a fresh VM on which [`set_up`] was called.
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
    // SAFETY: rule 1: the stack holds `builtins` at 1 and `holder` at 2.
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

/// Puts a fresh environment in place of the session's, and forgets its coroutines.
pub(in crate::vm) fn reset_session(lua: &Lua, refs: &SessionRefs) -> mlua::Result<()> {
    // SAFETY: rule 1; the slots are those that `set_up_session` filled.
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

/// # Safety
///
/// Inside a protected call; four free slots.
pub(in crate::vm::raw) unsafe fn push_environment(state: *mut lua_State, metatable: c_int) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::lua_createtable(state, 0, ENVIRONMENT_SLOTS);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawsetfield(state, -2, c"_G".as_ptr());
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, metatable.into());
        ffi::lua_setmetatable(state, -2);
        ffi::lua_setsafeenv(state, -1, 1);
    }
}

/// `rawset` that makes later reads see a built-in which it shadows.
pub(in crate::vm) fn rawset_function(lua: &Lua, builtins: &Table) -> mlua::Result<Function> {
    // SAFETY: rule 1; one closure with the one upvalue that was pushed.
    unsafe {
        lua.exec_raw(builtins, |state| {
            ffi::lua_pushcclosurek(state, rawset, c"rawset".as_ptr(), 1, None);
        })
    }
}

/// `rawset(table, key, value)`; the built-ins are its upvalue.
unsafe extern "C-unwind" fn rawset(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; `luaL_check…` raise as C functions may.
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

/// A global that a script defines: `__newindex` of a session's environment. The built-ins are its
/// upvalue.
unsafe extern "C-unwind" fn global_newindex(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operands at 1, 2 and 3.
    unsafe {
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        note_shadowing(state);
        ffi::lua_settop(state, 3);
        ffi::lua_rawset(state, 1);
        0
    }
}

/// Built-ins are read once, when a chunk is loaded, as long as the environment is safe: it is no longer
/// when the key at 2 is going to shadow one of them.
///
/// # Safety
///
/// Inside a C function that Luau called, with a table at 1, the built-ins as first upvalue, and two
/// free slots.
unsafe fn note_shadowing(state: *mut lua_State) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_type(state, 2) != ffi::LUA_TSTRING {
            return;
        }
        ffi::lua_pushvalue(state, 2);
        ffi::lua_rawget(state, ffi::lua_upvalueindex(1));
        if ffi::lua_type(state, -1) != ffi::LUA_TNIL {
            ffi::lua_setsafeenv(state, 1, 0);
        }
        ffi::lua_pop(state, 1);
    }
}
