//! Raising errors in a script.
//!
//! The error that was raised is kept with the run, and its text goes to the script. If the run ends
//! with that text, the outcome is the error itself.

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

/// Raises `error` in the script, with the line of the caller in front.
///
/// # Safety
///
/// In a C function that Luau called.
pub(super) unsafe fn raise(state: *mut lua_State, error: ScriptError) -> ! {
    // SAFETY: in a C function that Luau called, as this function asks; level 1 is its caller.
    unsafe { raise_from(state, 1, error) }
}

/// Raises an error at a safepoint. A Lua function is running there, or a C function that it called.
///
/// # Safety
///
/// At a safepoint that may raise.
pub(super) unsafe fn raise_at_safepoint(state: *mut lua_State, error: ScriptError) -> ! {
    // SAFETY: at a safepoint that may raise, which is in a protected call.
    unsafe {
        let in_lua = frame_at(state, 0).is_some_and(|(_, _, line)| line.is_some());
        raise_from(state, c_int::from(!in_lua), error)
    }
}

/// As [`raise`], with the line of the function at a level of the call stack; 0 is the running one.
///
/// # Safety
///
/// In a protected call.
unsafe fn raise_from(state: *mut lua_State, level: c_int, error: ScriptError) -> ! {
    // SAFETY: in a protected call, with room for the values that is made here. The text is dropped
    // before the error is raised.
    unsafe {
        let mut message = error.to_string();
        cut(&mut message);
        let _ = with_run("error", |run| {
            run.per_run.raised = Some(Box::new(error));
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
