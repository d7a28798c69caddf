//! Snapshots of an engine.

use std::fmt;

use crate::pool::Timing;
use crate::value::ScriptValues;
use crate::vm::CoroutineState;

/// The figures of an engine at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStats {
    /// Sources run, expressions evaluated, functions called.
    pub calls: u64,
    /// Calls that failed, for whatever reason.
    pub failures: u64,
    /// Calls that were stopped because they took too long; part of `failures`.
    pub timeouts: u64,
    /// Times that the engine was reset.
    pub resets: u64,
    /// Bytes that it holds, garbage included.
    pub memory_bytes: usize,
    /// Bytes that it may hold.
    pub memory_limit: usize,
    /// Sources that it keeps compiled.
    pub cached_chunks: usize,
    /// Functions of the host that it offers, those of modules included.
    pub functions: usize,
    /// Value servers that it offers.
    pub servers: usize,
    /// Coroutines that are not over; some of them may be garbage.
    pub coroutines: usize,
    /// Lines of output that are waiting to be taken.
    pub output_lines: usize,
    /// Lines of output that were dropped because nobody took them, since the last reset.
    pub lost_lines: u64,
    /// How long calls took.
    pub call_time: Timing,
}

/// A coroutine that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoroutineInfo {
    /// Its number, for [`LuaEngine::destroy_coroutine`](super::LuaEngine::destroy_coroutine). Never
    /// used again in the life of the engine.
    pub id: u64,
    /// Whether it has started.
    pub status: CoroutineStatus,
    /// The script where it stands, or where its function is defined if it has not started.
    pub script: String,
    /// The line there, counted from 1, if it is known.
    pub line: Option<u32>,
}

/// How far a coroutine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoroutineStatus {
    /// It was made and never resumed.
    NotStarted,
    /// It yielded and waits to be resumed.
    Suspended,
}

/// What a coroutine came to that was
/// [resumed](super::LuaEngine::resume_coroutine).
#[derive(Clone, Debug, PartialEq)]
pub enum Resumed {
    /// It waits again, and handed these values out.
    Yielded(ScriptValues),
    /// It is over, and returned these values.
    Finished(ScriptValues),
}

impl Resumed {
    /// The values that it handed out or returned.
    #[must_use]
    pub const fn values(&self) -> &ScriptValues {
        match self {
            Self::Yielded(values) | Self::Finished(values) => values,
        }
    }
}

impl From<CoroutineState> for CoroutineInfo {
    fn from(state: CoroutineState) -> Self {
        let CoroutineState { id, started, script, line } = state;
        let status = if started { CoroutineStatus::Suspended } else { CoroutineStatus::NotStarted };
        Self { id, status, script, line }
    }
}

/// `3: suspended at lib.luau:12`
impl fmt::Display for CoroutineInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            CoroutineStatus::NotStarted => "not started, defined",
            CoroutineStatus::Suspended => "suspended",
        };
        write!(f, "{}: {status} at {}", self.id, self.script)?;
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}
