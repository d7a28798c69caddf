//! [`RunStop`]: why a run has no result, read from the status and the error of its protected call.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::vm::raw::memory::refusal;
use crate::vm::raw::run::{ErrorTrace, Run, Touched};
use crate::vm::raw::strings::{OUT_OF_MEMORY, text_at, text_bytes};

/// Why a run has no result.
pub(in crate::vm) enum RunStop {
    /// It ran on an image, and the script could tell: nothing of the run may remain.
    TouchedImage(Touched),
    /// It ended with an error.
    Failed(Box<FailedRun>),
    /// It was refused memory, or reached its limit.
    OutOfMemory,
}

impl From<ScriptError> for RunStop {
    /// An error whose line is not known.
    fn from(error: ScriptError) -> Self {
        Self::Failed(Box::new(FailedRun { error, script: None, line: None, frames: String::new() }))
    }
}

/// An error that ended a run.
pub(in crate::vm) struct FailedRun {
    pub(in crate::vm) error: ScriptError,
    /// The script that raised it, if it may be another one than the one that was run.
    pub(in crate::vm) script: Option<String>,
    pub(in crate::vm) line: Option<u32>,
    pub(in crate::vm) frames: String,
}

/// What ran when an error was raised.
#[derive(Clone, Copy)]
pub(in crate::vm::raw) enum ErrorSource<'n> {
    /// The script of this name alone. If memory was refused, it has run out of memory, whatever
    /// error it made of that.
    Script(&'n str),
    /// Any chunks, which may catch that memory was refused, and go on. So only the last error
    /// counts: it is one of memory if memory was refused after all that was caught, or if a chunk
    /// raises again what it caught then, possibly with something in front.
    Chunks,
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
    source: ErrorSource<'_>,
    run: &mut Run<'_>,
) -> RunStop {
    let ends_with_refusal = || {
        // SAFETY: the top is a valid index, and the string stays there. All of it is looked at,
        // however long.
        let message = unsafe { text_bytes(state, -1) };
        message.is_some_and(|message| message.ends_with(OUT_OF_MEMORY.as_bytes()))
    };
    let caught_refusal_counts = run.per_run.out_of_memory
        && match source {
            ErrorSource::Script(_) => true,
            ErrorSource::Chunks => ends_with_refusal(),
        };
    if status == ffi::LUA_ERRMEM || refusal::memory_was_refused() || caught_refusal_counts {
        return RunStop::OutOfMemory;
    }
    let trace = run.per_run.trace.take().map(|trace| *trace);
    let trace = trace.unwrap_or_else(|| ErrorTrace {
        // SAFETY: the top is a valid index. The handler left a string, or it failed and Luau left
        // one.
        message: unsafe { text_at(state, -1) }.unwrap_or_else(|| "no message".to_owned()),
        line: None,
        frames: String::new(),
    });
    let (script, line, message) = match source {
        ErrorSource::Script(name) => {
            let (line, message) = split_place(&trace.message, name);
            (None, line.or(trace.line), message)
        }
        ErrorSource::Chunks => place_in_chunks(&trace),
    };
    let error = match run.per_run.raised.take() {
        Some(error) if message == error.to_string() => *error,
        _ => ScriptError::Raised { message: message.to_owned() },
    };
    let script = script.map(str::to_owned);
    RunStop::Failed(Box::new(FailedRun { error, script, line, frames: trace.frames }))
}

/// The script and the line that an error names, or those of the innermost frame; and the rest of
/// the message.
fn place_in_chunks(trace: &ErrorTrace) -> (Option<&str>, Option<u32>, &str) {
    let frames = || trace.frames.lines().filter_map(place_of_frame);
    let told = frames().find_map(|(script, _)| match split_place(&trace.message, script) {
        (Some(line), message) => Some((script, line, message)),
        _ => None,
    });
    match told {
        Some((script, line, message)) => (Some(script), Some(line), message),
        None => {
            let first = frames().next();
            (first.map(|(script, _)| script), trace.line, trace.message.as_str())
        }
    }
}

/// Splits `scripts/x.luau:12: ` off a message.
fn split_place<'m>(message: &'m str, script: &str) -> (Option<u32>, &'m str) {
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
