//! Figures and coroutines of an engine, as plain data.

use std::fmt;

use crate::pool::Timing;
use crate::value::ScriptValues;
use crate::vm::CoroutineState;

/// The figures of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStats {
    /// Sources run, expressions evaluated, functions called.
    pub calls: u64,
    /// Calls that failed, for any reason.
    pub failures: u64,
    /// Calls that reached their time limit. They count as `failures` too.
    pub timeouts: u64,
    /// How often the engine was reset.
    pub resets: u64,
    /// The memory of the VM in bytes, garbage included.
    pub memory_bytes: usize,
    /// The memory limit in bytes.
    pub memory_limit: usize,
    /// Compiled sources in the caches.
    pub cached_chunks: usize,
    /// Registered host functions, those of modules included.
    pub functions: usize,
    /// Registered value servers.
    pub servers: usize,
    /// Unfinished coroutines; some may be garbage.
    pub coroutines: usize,
    /// Lines of output that were not taken yet.
    pub output_lines: usize,
    /// Lines of output that were dropped since the last reset because nobody took them.
    pub lost_lines: u64,
    /// How long calls took.
    pub call_time: Timing,
}

/// An unfinished coroutine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoroutineInfo {
    /// Its number, for [`LuaEngine::resume_coroutine`](super::LuaEngine::resume_coroutine). Never reused in the life of
    /// the engine.
    pub id: u64,
    /// Whether it has started.
    pub status: CoroutineStatus,
    /// The script where it is suspended, or where its function is defined if it has not started.
    pub script: String,
    /// The line there, counted from 1, if it is known.
    pub line: Option<u32>,
}

/// Whether a coroutine has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoroutineStatus {
    /// It was created and never resumed.
    NotStarted,
    /// It yielded and waits to be resumed.
    Suspended,
}

/// The result of [resuming](super::LuaEngine::resume_coroutine) a coroutine.
#[derive(Clone, Debug, PartialEq)]
pub enum Resumed {
    /// It yielded these values.
    Yielded(ScriptValues),
    /// It finished and returned these values.
    Finished(ScriptValues),
}

impl Resumed {
    /// The values that it yielded or returned.
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
