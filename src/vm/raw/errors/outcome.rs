//! [`RunEnd`]: how a run ended, read from the status and the error of its protected call.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::vm::program::Program;
use crate::vm::raw::memory::refusal;
use crate::vm::raw::run::{ErrorTrace, Run, Touched};
use crate::vm::raw::strings::text_at;
use crate::vm::state_change::StateChange;

/// How a run ended.
pub(in crate::vm) enum RunEnd {
    /// The script does not define the callback.
    Missing,
    /// The callback returned; this is the change of its state.
    Done(StateChange),
    /// It ran on an image, and the script could tell: nothing of the run may remain.
    TouchedImage(Touched),
    /// It ended with an error.
    Failed(Box<FailedRun>),
    /// It was refused memory, or reached its limit.
    OutOfMemory,
}

impl RunEnd {
    /// Ended with an error whose line is not known.
    pub(in crate::vm::raw) fn failed(error: ScriptError) -> Self {
        Self::Failed(Box::new(FailedRun { error, line: None, frames: String::new() }))
    }
}

/// An error that ended a run.
pub(in crate::vm) struct FailedRun {
    pub(in crate::vm) error: ScriptError,
    pub(in crate::vm) line: Option<u32>,
    pub(in crate::vm) frames: String,
}

/// Reads the error that a protected call left.
///
/// # Safety
///
/// In a protected call, or where nothing is on the stack that could be raised over; the error of
/// that call is on top.
pub(in crate::vm::raw) unsafe fn failed(
    state: *mut lua_State,
    status: c_int,
    program: &Program,
    run: &mut Run<'_>,
) -> RunEnd {
    // Whatever error the script made of it.
    if status == ffi::LUA_ERRMEM || run.per_run.out_of_memory || refusal::memory_was_refused() {
        return RunEnd::OutOfMemory;
    }
    let trace = run.per_run.trace.take().map(|trace| *trace);
    let trace = trace.unwrap_or_else(|| ErrorTrace {
        // SAFETY: the top is a valid index. The handler left a string, or it failed and Luau left
        // one.
        message: unsafe { text_at(state, -1) }.unwrap_or_else(|| "no message".to_owned()),
        line: None,
        frames: String::new(),
    });
    let (line, message) = split_place(&trace.message, program.name());
    let line = line.or(trace.line);
    let error = match run.per_run.raised.take() {
        Some(error) if message == error.to_string() => *error,
        _ => ScriptError::Raised { message: message.to_owned() },
    };
    RunEnd::Failed(Box::new(FailedRun { error, line, frames: trace.frames }))
}

/// Splits `scripts/x.luau:12: ` off a message.
pub(in crate::vm::raw) fn split_place<'m>(
    message: &'m str,
    script: &str,
) -> (Option<u32>, &'m str) {
    let place = message
        .strip_prefix(script)
        .and_then(|rest| rest.strip_prefix(':'))
        .and_then(|rest| rest.split_once(": "));
    match place {
        Some((line, rest)) => match line.parse() {
            Ok(line) => (Some(line), rest),
            Err(_) => (None, message),
        },
        None => (None, message),
    }
}
