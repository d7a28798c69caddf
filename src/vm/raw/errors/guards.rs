//! Protected calls that let no limit be caught.
//!
//! A script may catch errors, but some must count all the same: that memory ran out, and that it tried to
//! change what is frozen only because other runs share it. So what `pcall`, `xpcall` and `coroutine.resume`
//! catch is looked at before the script gets it, and what a handler gets is too. `coroutine.wrap` catches
//! nothing, and what `coroutine.close` gives was given to who resumed the coroutine before.
//!
//! No text is trusted to say that memory ran out: see [`refusal`].
//!
//! A call that ends well costs what Luau's own costs. Those are two parts each: a function that begins the call, and
//! one that Luau goes on with when it is over, at once or after the coroutine slept meanwhile. It is in the latter
//! that an error is looked at.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Lua, Table, ffi};

use crate::vm::raw::builtins::original::call_original;
use crate::vm::raw::errors::caught::note_error;
use crate::vm::raw::errors::traceback::script_line;
use crate::vm::raw::memory::refusal;
use crate::vm::raw::run::current::with_run;
use crate::vm::raw::safepoint::safepoint;
use crate::vm::raw::stack::TOO_DEEP;

/// Replaces the functions that catch errors, and those that tell whether a table is frozen.
pub(in crate::vm) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let table: Table = globals.raw_get("table")?;
    let coroutine: Table = globals.raw_get("coroutine")?;
    // SAFETY: rule 1; the stack holds the tables at 1 to 3. Of the closures, those that call Luau's own have it as
    // upvalue, and the others none.
    unsafe {
        lua.exec_raw::<()>((globals, table, coroutine), |state| {
            const GLOBALS: c_int = 1;
            const TABLE: c_int = 2;
            const COROUTINE: c_int = 3;
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            ffi::lua_pushcclosurek(state, pcall, c"pcall".as_ptr(), 0, Some(pcall_is_over));
            ffi::lua_rawsetfield(state, GLOBALS, c"pcall".as_ptr());
            ffi::lua_pushcclosurek(state, xpcall, c"xpcall".as_ptr(), 0, Some(xpcall_is_over));
            ffi::lua_rawsetfield(state, GLOBALS, c"xpcall".as_ptr());

            ffi::lua_rawgetfield(state, COROUTINE, c"resume".as_ptr());
            ffi::lua_pushcclosurek(state, resume, c"resume".as_ptr(), 1, None);
            ffi::lua_rawsetfield(state, COROUTINE, c"resume".as_ptr());

            ffi::lua_pushcclosurek(state, is_frozen, c"isfrozen".as_ptr(), 0, None);
            ffi::lua_rawsetfield(state, TABLE, c"isfrozen".as_ptr());
            ffi::lua_rawgetfield(state, TABLE, c"freeze".as_ptr());
            ffi::lua_pushcclosurek(state, freeze, c"freeze".as_ptr(), 1, None);
            ffi::lua_rawsetfield(state, TABLE, c"freeze".as_ptr());
            ffi::lua_settop(state, 0);
        })
    }
}

/// `pcall(f, …)`
unsafe extern "C-unwind" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top, the first one is the function; the closure has a continuation.
    unsafe {
        safepoint(state);
        ffi::luaL_checkany(state, 1);
        ffi::lua_pcallyieldable(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET, 0)
    }
}

/// Luau goes on with this when the function that `pcall` called is over. Its results lie from 1 to the top, or the
/// error is on top.
unsafe extern "C-unwind" fn pcall_is_over(state: *mut lua_State, status: c_int) -> c_int {
    // SAFETY: one slot is made, and `caught` gets the error on top.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        if status != ffi::LUA_OK {
            return caught(state);
        }
        ffi::lua_pushboolean(state, 1);
        ffi::lua_insert(state, 1);
        ffi::lua_gettop(state)
    }
}

/// `xpcall(f, handler, …)`
unsafe extern "C-unwind" fn xpcall(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top, and there are at least two; beyond them there is room for some more.
    // The closure has a continuation, and the one that is made here the handler as upvalue.
    unsafe {
        safepoint(state);
        ffi::luaL_checktype(state, 2, ffi::LUA_TFUNCTION);
        ffi::lua_pushvalue(state, 2);
        ffi::lua_pushcclosurek(state, handle, std::ptr::null(), 1, None);
        // What handles the error comes first, then the function, then its arguments.
        ffi::lua_pushvalue(state, 1);
        ffi::lua_replace(state, 2);
        ffi::lua_replace(state, 1);
        ffi::lua_pcallyieldable(state, ffi::lua_gettop(state) - 2, ffi::LUA_MULTRET, 1)
    }
}

/// Luau goes on with this when the function that `xpcall` called is over. What handles errors is at 1, and the
/// results come after it, or what the handler gave is on top.
unsafe extern "C-unwind" fn xpcall_is_over(state: *mut lua_State, status: c_int) -> c_int {
    // SAFETY: one slot is made, and `caught` gets the error on top.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        if status != ffi::LUA_OK {
            // Perhaps not what the handler gave: what fails in one, Luau hides.
            return caught(state);
        }
        ffi::lua_pushboolean(state, 1);
        ffi::lua_replace(state, 1);
        ffi::lua_gettop(state)
    }
}

/// Shows an error to the handler that is the upvalue.
pub(in crate::vm::raw) unsafe extern "C-unwind" fn handle(state: *mut lua_State) -> c_int {
    // SAFETY: Luau calls it with the error at 1, and there is room for some values more.
    unsafe {
        note_error(state, 1);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_pushvalue(state, 1);
        ffi::lua_call(state, 1, 1);
        1
    }
}

/// `coroutine.resume(thread, …)`; Luau's own is the upvalue.
unsafe extern "C-unwind" fn resume(state: *mut lua_State) -> c_int {
    // SAFETY: the upvalue is Luau's own, which leaves so many results on top, `false` and an error among them.
    unsafe {
        safepoint(state);
        let count = call_original(state);
        if count > 0 && ffi::lua_toboolean(state, -count) == 0 {
            note_caught(state);
        }
        count
    }
}

/// Looks at the error on top, which the script gets now. What it raises later may come of something else.
///
/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn note_caught(state: *mut lua_State) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { note_error(state, ffi::lua_gettop(state)) };
    refusal::replace(false);
}

/// The results of a protected call that failed, with the error on top and one free slot.
#[cold]
unsafe fn caught(state: *mut lua_State) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        note_caught(state);
        ffi::lua_pushboolean(state, 0);
        ffi::lua_insert(state, -2);
        2
    }
}

/// `table.isfrozen(t)`
unsafe extern "C-unwind" fn is_frozen(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; `luaL_checktype` raises as C functions may.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        let frozen = ffi::lua_getreadonly(state, 1);
        note_frozen(state, frozen);
        ffi::lua_pushboolean(state, frozen);
        1
    }
}

/// `table.freeze(t)`; Luau's own is the upvalue.
pub(in crate::vm::raw) unsafe extern "C-unwind" fn freeze(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; `luaL_checktype` raises as C functions may.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        note_frozen(state, ffi::lua_getreadonly(state, 1));
        call_original(state)
    }
}

/// The script learns that a table is frozen: with a file level of its own it might not be.
///
/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn note_frozen(state: *mut lua_State, frozen: c_int) {
    if frozen != 0 {
        let _ = with_run("table", |run| {
            // SAFETY: the caller keeps what this function asks for.
            run.touch(|| unsafe { script_line(state) });
            Ok(())
        });
    }
}
