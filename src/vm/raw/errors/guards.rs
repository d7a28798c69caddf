//! `pcall`, `xpcall` and `coroutine.resume`, which let no limit be caught; and the functions that
//! tell whether a table is frozen.
//!
//! A script may catch errors, but some must count all the same: see [`caught`](super::caught). So
//! what these three catch is looked at before the script gets it, and so is what a handler gets.
//! `coroutine.wrap` catches nothing, and whoever resumed the coroutine got the error before
//! `coroutine.close` returns it.
//!
//! A call that succeeds costs what Luau's own costs. `pcall` and `xpcall` have two parts: a
//! function that begins the call, and a continuation, which Luau calls when it has ended, at once
//! or after the coroutine yielded. The continuation looks at the error.
//!
//! # Safety
//!
//! Luau calls the C functions here, with their arguments from 1 to the top. The helpers ask for
//! being in such a function.

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
    // SAFETY: rule 1; the stack holds the tables at 1 to 3. A closure that calls Luau's own
    // function has it as its one upvalue; the others have none.
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
    // SAFETY: the first argument is the function, the others are its arguments; the closure has a
    // continuation.
    unsafe {
        safepoint(state);
        ffi::luaL_checkany(state, 1);
        ffi::lua_pcallyieldable(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET, 0)
    }
}

/// The continuation of `pcall`: the results lie from 1 to the top, or the error is on top.
unsafe extern "C-unwind" fn pcall_is_over(state: *mut lua_State, status: c_int) -> c_int {
    // SAFETY: one slot is made; `failed_call` gets the error on top.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        if status != ffi::LUA_OK {
            return failed_call(state);
        }
        ffi::lua_pushboolean(state, 1);
        ffi::lua_insert(state, 1);
        ffi::lua_gettop(state)
    }
}

/// `xpcall(f, handler, …)`
unsafe extern "C-unwind" fn xpcall(state: *mut lua_State) -> c_int {
    // SAFETY: there are at least two arguments, and free slots for two values. The closure has a
    // continuation, and the handler's closure gets the upvalue that is pushed.
    unsafe {
        safepoint(state);
        ffi::luaL_checktype(state, 2, ffi::LUA_TFUNCTION);
        ffi::lua_pushvalue(state, 2);
        ffi::lua_pushcclosurek(state, handle, std::ptr::null(), 1, None);
        // The order becomes: handler, function, its arguments.
        ffi::lua_pushvalue(state, 1);
        ffi::lua_replace(state, 2);
        ffi::lua_replace(state, 1);
        ffi::lua_pcallyieldable(state, ffi::lua_gettop(state) - 2, ffi::LUA_MULTRET, 1)
    }
}

/// The continuation of `xpcall`: the handler is at 1, followed by the results; or what the handler
/// returned is on top.
unsafe extern "C-unwind" fn xpcall_is_over(state: *mut lua_State, status: c_int) -> c_int {
    // SAFETY: one slot is made; `failed_call` gets the error on top.
    unsafe {
        ffi::lua_rawcheckstack(state, 1);
        if status != ffi::LUA_OK {
            // This may be an error that the handler never saw: Luau replaces it if the handler
            // fails.
            return failed_call(state);
        }
        ffi::lua_pushboolean(state, 1);
        ffi::lua_replace(state, 1);
        ffi::lua_gettop(state)
    }
}

/// Looks at an error, then calls the script's handler, which is the upvalue.
unsafe extern "C-unwind" fn handle(state: *mut lua_State) -> c_int {
    // SAFETY: Luau calls it with the error at 1, in a C function with free slots.
    unsafe {
        note_error(state, 1);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_pushvalue(state, 1);
        ffi::lua_call(state, 1, 1);
        1
    }
}

/// `coroutine.resume(thread, …)`; Luau's own function is the upvalue.
unsafe extern "C-unwind" fn resume(state: *mut lua_State) -> c_int {
    // SAFETY: the upvalue is Luau's own function. It returns the number of results on top, `false`
    // and an error among them.
    unsafe {
        safepoint(state);
        let count = call_original(state);
        if count > 0 && ffi::lua_toboolean(state, -count) == 0 {
            note_caught(state);
        }
        count
    }
}

/// Looks at the error on top, which the script gets now. A later error may have another cause, so
/// the note of refused memory is reset.
unsafe fn note_caught(state: *mut lua_State) {
    // SAFETY: in a C function that Luau called; the top is a valid index.
    unsafe { note_error(state, ffi::lua_gettop(state)) };
    refusal::replace(false);
}

/// The results of a protected call that failed: `false` and the error, which is on top; one free
/// slot.
#[cold]
unsafe fn failed_call(state: *mut lua_State) -> c_int {
    // SAFETY: in a C function, with the error on top and a free slot for the boolean.
    unsafe {
        note_caught(state);
        ffi::lua_pushboolean(state, 0);
        ffi::lua_insert(state, -2);
        2
    }
}

/// `table.isfrozen(t)`
unsafe extern "C-unwind" fn is_frozen(state: *mut lua_State) -> c_int {
    // SAFETY: the first argument is a table, or `luaL_checktype` raises.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        let frozen = ffi::lua_getreadonly(state, 1);
        note_frozen(state, frozen);
        ffi::lua_pushboolean(state, frozen);
        1
    }
}

/// `table.freeze(t)`; Luau's own function is the upvalue.
unsafe extern "C-unwind" fn freeze(state: *mut lua_State) -> c_int {
    // SAFETY: the first argument is a table, or `luaL_checktype` raises; the upvalue is Luau's own
    // function.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        note_frozen(state, ffi::lua_getreadonly(state, 1));
        call_original(state)
    }
}

/// Notes that the script learns that a table is frozen: with a file level of its own it might not
/// be.
unsafe fn note_frozen(state: *mut lua_State, frozen: c_int) {
    if frozen != 0 {
        let _ = with_run("table", |run| {
            // SAFETY: reads the call stack of a C function that Luau called.
            run.touch_image(|| unsafe { script_line(state) });
            Ok(())
        });
    }
}
