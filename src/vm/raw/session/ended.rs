//! [`SessionEnded`]: how a task of a session ended, read from the status and the results of its
//! protected call.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use crate::error::{RETURNED, ScriptError};
use crate::value::ScriptValues;
use crate::vm::raw::data::read::StackReader;
use crate::vm::raw::errors::outcome::split_place;
use crate::vm::raw::memory::refusal;
use crate::vm::raw::run::current::enter;
use crate::vm::raw::run::{ErrorTrace, Run};
use crate::vm::raw::stack::TOO_DEEP;
use crate::vm::raw::strings::{OUT_OF_MEMORY, text_at, text_bytes};

/// How a task ended.
pub(in crate::vm) enum SessionEnded {
    /// With these values.
    Done(ScriptValues),
    /// A coroutine that was resumed yielded these values.
    Yielded(ScriptValues),
    /// With an error.
    Failed { error: ScriptError, script: Option<String>, line: Option<u32>, frames: String },
    /// It was refused memory.
    OutOfMemory,
}

/// Calls `body` in a protected call, with `main` (or nil) alone on the stack, and `run` as the run
/// of this thread.
pub(in crate::vm::raw) fn protected(
    lua: &Lua,
    main: Option<&Function>,
    run: &mut Run<'_>,
    body: impl FnOnce(*mut lua_State, *mut Run<'_>) -> SessionEnded,
) -> SessionEnded {
    let mut ended = None;
    let out = &mut ended;
    let run_ptr = std::ptr::from_mut(run);
    let result = enter(run_ptr, || {
        // SAFETY: rule 1. `run_ptr` is live, and used between calls into Lua only.
        unsafe {
            lua.exec_raw::<()>(main, |state| {
                *out = Some(body(state, run_ptr));
                ffi::lua_settop(state, 0);
            })
        }
    });
    match (result, ended) {
        (Ok(()), Some(ended)) => ended,
        (Err(mlua::Error::MemoryError(_)), _) => SessionEnded::OutOfMemory,
        (Err(error), _) => {
            let raised = run.per_run.raised.take();
            let error =
                raised.map_or_else(|| ScriptError::Raised { message: error.to_string() }, |it| *it);
            SessionEnded::Failed { error, script: None, line: None, frames: String::new() }
        }
        (Ok(()), None) => unreachable!("the body sets the outcome or does not return"),
    }
}

/// Reads what a protected call left: its results from `first` to the top, or the error on top.
///
/// # Safety
///
/// In a protected call, with the results or the error of the call on top. `run` is live, and no
/// reference to it is in use.
pub(in crate::vm::raw) unsafe fn returned(
    state: *mut lua_State,
    status: c_int,
    first: c_int,
    run: *mut Run<'_>,
) -> SessionEnded {
    // SAFETY: in a protected call; the results lie from `first` to the top. No Lua code runs here,
    // so `run` may be referenced.
    unsafe {
        if status != ffi::LUA_OK {
            return session_failed(state, status, &mut *run);
        }
        let limit = (*run).max_value_size;
        ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
        let last = ffi::lua_gettop(state);
        let mut reader = StackReader::new(limit, None, &mut (*run).deadline);
        let mut values = ScriptValues::default();
        for index in first..=last {
            match reader.value(state, index) {
                Ok(value) => values.push(value),
                Err(problem) => {
                    let place = match last - first {
                        0 => "result".to_owned(),
                        _ => format!("result {}", index - first + 1),
                    };
                    return failed_with(problem.into_error(&place, limit, RETURNED));
                }
            }
        }
        SessionEnded::Done(values)
    }
}

pub(in crate::vm::raw) fn failed_with(error: ScriptError) -> SessionEnded {
    SessionEnded::Failed { error, script: None, line: None, frames: String::new() }
}

/// Reads the error that a protected call left.
///
/// A script may catch that memory was refused, and go on. So only the last error counts: it is one
/// of memory if memory was refused after all that the script caught, or if the script raises again
/// what it caught then, possibly with something in front.
///
/// # Safety
///
/// The error of that call is on top.
pub(in crate::vm::raw) unsafe fn session_failed(
    state: *mut lua_State,
    status: c_int,
    run: &mut Run<'_>,
) -> SessionEnded {
    let raised_again = run.per_run.out_of_memory && {
        // SAFETY: the top is a valid index, and the string stays there. All of it is looked at,
        // however long.
        let message = unsafe { text_bytes(state, -1) };
        message.is_some_and(|message| message.ends_with(OUT_OF_MEMORY.as_bytes()))
    };
    if status == ffi::LUA_ERRMEM || refusal::memory_was_refused() || raised_again {
        return SessionEnded::OutOfMemory;
    }
    let trace = run.per_run.trace.take().map(|trace| *trace);
    let trace = trace.unwrap_or_else(|| ErrorTrace {
        // SAFETY: the top is a valid index. The handler left a string, or it failed and Luau left
        // one.
        message: unsafe { text_at(state, -1) }.unwrap_or_else(|| "no message".to_owned()),
        line: None,
        frames: String::new(),
    });
    let frames = || trace.frames.lines().filter_map(place_of_frame);
    let told = frames().find_map(|(script, _)| match split_place(&trace.message, script) {
        (Some(line), message) => Some((script, line, message)),
        _ => None,
    });
    let (script, line, message) = match told {
        Some((script, line, message)) => (Some(script), Some(line), message),
        None => {
            let first = frames().next();
            (first.map(|(script, _)| script), trace.line, trace.message.as_str())
        }
    };
    let error = match run.per_run.raised.take() {
        Some(error) if message == error.to_string() => *error,
        _ => ScriptError::Raised { message: message.to_owned() },
    };
    let script = script.map(str::to_owned);
    SessionEnded::Failed { error, script, line, frames: trace.frames }
}

/// Script and line of a frame as `call_stack` writes it: `scripts/x.luau:12 in f`.
fn place_of_frame(frame: &str) -> Option<(&str, u32)> {
    let place = |text: &'_ str| -> Option<(usize, u32)> {
        let (script, line) = text.rsplit_once(':')?;
        Some((script.len(), line.parse().ok()?))
    };
    let (end, line) =
        frame.rsplit_once(" in ").and_then(|(before, _)| place(before)).or_else(|| place(frame))?;
    Some((&frame[..end], line))
}
