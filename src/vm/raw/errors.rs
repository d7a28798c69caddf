//! Raising errors in a script.

pub(super) mod caught;
pub(super) mod guards;
pub(super) mod handler;
pub(super) mod outcome;
pub(super) mod traceback;

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use super::errors::traceback::frame_at;
use super::run::current::with_run;
use super::stack::TOO_DEEP;
use super::strings::cut;
use crate::error::ScriptError;

/// Raises `error` in the script, with the place of the caller in front.
///
/// # Safety
///
/// Inside a C function that Luau called.
pub(super) unsafe fn raise(state: *mut lua_State, error: ScriptError) -> ! {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { raise_from(state, 1, error) }
}

/// Raises an error at a safepoint, where either a function of Lua is at work or a C function that it called.
///
/// # Safety
///
/// At a safepoint that may raise.
pub(super) unsafe fn raise_at_safepoint(state: *mut lua_State, error: ScriptError) -> ! {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let in_lua = frame_at(state, 0).is_some_and(|(_, _, line)| line.is_some());
        raise_from(state, c_int::from(!in_lua), error)
    }
}

/// As [`raise`], with the place of the function at a level; that which is at work is 0.
///
/// # Safety
///
/// As [`raise`], or at a safepoint that may raise.
unsafe fn raise_from(state: *mut lua_State, level: c_int, error: ScriptError) -> ! {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let mut message = error.to_string();
        cut(&mut message);
        let _ = with_run("error", |run| {
            run.own.raised = Some(Box::new(error));
            Ok(())
        });
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        ffi::luaL_where(state, level);
        ffi::lua_pushlstring(state, message.as_ptr().cast(), message.len());
        drop(message);
        ffi::lua_concat(state, 2);
        ffi::lua_error(state)
    }
}
