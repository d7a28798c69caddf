//! The coroutines of a session: each has a number, and is found by it until it ends.
//!
//! A table in the registry (the holder) keeps them. At [`EVER`] it has how many there ever were, at
//! [`ALIVE`] a table with weak values of those that exist, by number, and at [`BEFORE`] how many
//! there were at the last reset.
//!
//! A number of a coroutine is a key of type number, set by `lua_rawset`. There may be more
//! coroutines than a C `int` can count, so none may become an argument of `lua_rawgeti` or
//! `lua_rawseti`.
//!
//! # Safety
//!
//! Luau calls the C functions here, with their arguments from 1 to the top.

use std::ffi::{CStr, c_int};

use mlua::ffi::lua_State;
use mlua::{Function, Lua, Table, ffi};

use crate::vm::raw::builtins::original::call_original;
use crate::vm::raw::errors::traceback::{MAX_FRAMES, frame_at};
use crate::vm::raw::refs::SessionRefs;
use crate::vm::raw::stack::TOO_DEEP;

/// Positions in the holder.
pub(in crate::vm::raw) const EVER: ffi::lua_Integer = 0;

pub(in crate::vm::raw) const ALIVE: ffi::lua_Integer = 1;

pub(in crate::vm::raw) const BEFORE: ffi::lua_Integer = 2;

/// Makes the holder.
pub(in crate::vm) fn coroutine_holder(lua: &Lua) -> mlua::Result<Table> {
    // SAFETY: rule 1, with room for six values.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 6, TOO_DEEP.as_ptr());
            ffi::lua_createtable(state, 2, 1);
            for slot in [EVER, BEFORE] {
                ffi::lua_pushnumber(state, 0.0);
                ffi::lua_rawseti(state, -2, slot);
            }
            push_weak_table(state);
            ffi::lua_rawseti(state, -2, ALIVE);
        })
    }
}

/// `coroutine.create` or `coroutine.wrap`, which puts what it makes into `holder`; `original` is
/// Luau's own function.
pub(in crate::vm) fn recording_function(
    lua: &Lua,
    (name, original): (&'static CStr, Function),
    holder: &Table,
) -> mlua::Result<Function> {
    // SAFETY: rule 1; a closure with the two upvalues that were pushed.
    unsafe {
        lua.exec_raw((original, holder), |state| {
            ffi::lua_pushcclosurek(state, record_coroutine, name.as_ptr(), 2, None);
        })
    }
}

/// `coroutine.create` and `coroutine.wrap`; Luau's own function and the holder are the upvalues.
unsafe extern "C-unwind" fn record_coroutine(state: *mut lua_State) -> c_int {
    // SAFETY: the arguments lie from 1 to the top, with room for six values more; the upvalues are
    // a function and the holder. What `coroutine.wrap` makes is a C function whose first upvalue is
    // the coroutine.
    unsafe {
        ffi::luaL_checkstack(state, 6, TOO_DEEP.as_ptr());
        call_original(state);
        let made = ffi::lua_gettop(state);
        if ffi::lua_type(state, made) == ffi::LUA_TTHREAD {
            ffi::lua_pushvalue(state, made);
        } else if ffi::lua_getupvalue(state, made, 1).is_null() {
            return 1;
        }
        let holder = ffi::lua_upvalueindex(2);
        let id = number_at(state, holder, EVER) + 1.0;
        ffi::lua_pushnumber(state, id);
        ffi::lua_rawseti(state, holder, EVER);
        ffi::lua_rawgeti(state, holder, ALIVE);
        ffi::lua_insert(state, -2);
        ffi::lua_pushnumber(state, id);
        ffi::lua_insert(state, -2);
        ffi::lua_rawset(state, -3);
        ffi::lua_pop(state, 1);
        1
    }
}

/// A coroutine that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::vm) struct RawCoroutine {
    pub(in crate::vm) id: u64,
    pub(in crate::vm) started: bool,
    pub(in crate::vm) script: String,
    pub(in crate::vm) line: Option<u32>,
}

/// The coroutines that have not ended, the oldest first.
pub(in crate::vm) fn coroutines(lua: &Lua, refs: &SessionRefs) -> mlua::Result<Vec<RawCoroutine>> {
    let mut found = Vec::new();
    let out = &mut found;
    // SAFETY: rule 1; the registry's slot holds the holder, whose table has coroutines by number.
    // Nothing assigns to it meanwhile.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            ffi::luaL_checkstack(state, 6, TOO_DEEP.as_ptr());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.coroutines.into());
            ffi::lua_rawgeti(state, -1, ALIVE);
            let alive = ffi::lua_gettop(state);
            let mut next = ffi::lua_rawiter(state, alive, 0);
            while next >= 0 {
                let id = ffi::lua_tonumber(state, -2) as u64;
                let coroutine = ffi::lua_tothread(state, -1);
                if !coroutine.is_null() && is_suspended(state, coroutine) {
                    out.push(describe_coroutine(coroutine, id));
                }
                ffi::lua_pop(state, 2);
                next = ffi::lua_rawiter(state, alive, next);
            }
            ffi::lua_settop(state, 0);
        })?;
    }
    found.sort_by_key(|coroutine| coroutine.id);
    Ok(found)
}

/// Ends a coroutine where it is suspended. Gives whether there was such a coroutine.
pub(in crate::vm) fn destroy_coroutine(
    lua: &Lua,
    refs: &SessionRefs,
    id: u64,
) -> mlua::Result<bool> {
    let mut destroyed = false;
    let out = &mut destroyed;
    // SAFETY: rule 1; the registry's slot holds the holder. No coroutine is running, so one that is
    // suspended may be reset.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            ffi::luaL_checkstack(state, 6, TOO_DEEP.as_ptr());
            push_coroutine(state, refs, id);
            let coroutine = ffi::lua_tothread(state, -1);
            if !coroutine.is_null() && is_suspended(state, coroutine) {
                ffi::lua_resetthread(coroutine);
                ffi::lua_pushnumber(state, id as f64);
                ffi::lua_pushnil(state);
                ffi::lua_rawset(state, -4);
                *out = true;
            }
            ffi::lua_settop(state, 0);
        })?;
    }
    Ok(destroyed)
}

/// Numbers the next coroutine as if there had been so many.
#[cfg(test)]
pub(in crate::vm) fn skip_coroutines(lua: &Lua, refs: &SessionRefs, ever: f64) -> mlua::Result<()> {
    // SAFETY: rule 1; the registry's slot holds the holder.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.coroutines.into());
            ffi::lua_pushnumber(state, ever);
            ffi::lua_rawseti(state, -2, EVER);
            ffi::lua_pop(state, 1);
        })
    }
}

/// Pushes the holder, the table of existing coroutines, and the one with this number, or nil.
///
/// # Safety
///
/// In a protected call; five free slots; `set_up_session` filled the registry's slots.
pub(in crate::vm::raw) unsafe fn push_coroutine(
    state: *mut lua_State,
    refs: &SessionRefs,
    id: u64,
) {
    // SAFETY: in a protected call, with free slots; the registry's slot holds the holder.
    unsafe {
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.coroutines.into());
        ffi::lua_rawgeti(state, -1, ALIVE);
        ffi::lua_pushnumber(state, id as f64);
        ffi::lua_rawget(state, -2);
    }
}

/// Whether a coroutine can be resumed.
///
/// # Safety
///
/// Both states belong to one VM that is alive.
pub(in crate::vm::raw) unsafe fn is_suspended(
    state: *mut lua_State,
    coroutine: *mut lua_State,
) -> bool {
    // SAFETY: both states belong to one live VM.
    unsafe { ffi::lua_costatus(state, coroutine) == ffi::LUA_COSUS }
}

/// Number, script and line of a coroutine.
///
/// # Safety
///
/// A suspended coroutine that is alive.
unsafe fn describe_coroutine(coroutine: *mut lua_State, id: u64) -> RawCoroutine {
    // SAFETY: the coroutine is alive. If it has not started, its function is at the bottom of its
    // stack. `lua_getinfo` with this letter fills the record and raises nothing.
    unsafe {
        for level in 0..MAX_FRAMES {
            match frame_at(coroutine, level) {
                Some((script, _, Some(line))) => {
                    return RawCoroutine { id, started: true, script, line: Some(line) };
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut record: ffi::lua_Debug = std::mem::zeroed();
        let level = -ffi::lua_gettop(coroutine);
        if level == 0 || ffi::lua_getinfo(coroutine, level, c"s".as_ptr(), &raw mut record) == 0 {
            return RawCoroutine { id, started: true, script: "[host]".to_owned(), line: None };
        }
        let script = CStr::from_ptr(record.short_src).to_string_lossy().into_owned();
        let line = u32::try_from(record.linedefined).ok().filter(|line| *line > 0);
        RawCoroutine { id, started: false, script, line }
    }
}

/// Pushes a table with weak values.
///
/// # Safety
///
/// In a protected call; three free slots.
pub(in crate::vm::raw) unsafe fn push_weak_table(state: *mut lua_State) {
    // SAFETY: in a protected call, with three free slots.
    unsafe {
        ffi::lua_createtable(state, 0, 0);
        ffi::lua_createtable(state, 0, 1);
        ffi::lua_pushstring(state, c"v".as_ptr());
        ffi::lua_rawsetfield(state, -2, c"__mode".as_ptr());
        ffi::lua_setmetatable(state, -2);
    }
}

/// The number at a position of a table.
///
/// # Safety
///
/// In a protected call, with a table at the index; one free slot.
pub(in crate::vm::raw) unsafe fn number_at(
    state: *mut lua_State,
    index: c_int,
    slot: ffi::lua_Integer,
) -> f64 {
    // SAFETY: in a protected call, with a table at the index and a free slot.
    unsafe {
        ffi::lua_rawgeti(state, index, slot);
        let number = ffi::lua_tonumber(state, -1);
        ffi::lua_pop(state, 1);
        number
    }
}
