//! [`Task`]: what a session is asked to do, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use mlua::Function;

use crate::value::{ScriptTable, ScriptValue};
use crate::vm::call::Results;
use crate::vm::deadline::CallBounds;

/// What one task may use up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    /// CPU time.
    pub(crate) time: Duration,
    /// The most bytes of one value that goes in or out.
    pub(crate) value_size: usize,
    /// What bounds the call of which the task is a part.
    pub(crate) call: CallBounds,
}

/// A chunk that a session has loaded.
#[derive(Clone, Debug)]
pub(crate) struct LoadedChunk {
    pub(super) name: Arc<str>,
    pub(super) main: Function,
}

impl LoadedChunk {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }
}

/// What a session is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task<'t> {
    /// Run a chunk.
    Run(&'t LoadedChunk, Results),
    /// Call the function at a dotted path.
    Call(&'t str, &'t [ScriptValue], Results),
    /// Go on with the coroutine of this number.
    Resume(u64, &'t [ScriptValue]),
    /// Read what is at a dotted path.
    Get(&'t str),
    /// Write what is at a dotted path.
    Set(&'t str, &'t ScriptValue),
    /// Read all globals that are data, as a table.
    State,
    /// Set these globals.
    Restore(&'t ScriptTable),
}

/// A coroutine that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoroutineState {
    pub(crate) id: u64,
    pub(crate) started: bool,
    pub(crate) script: String,
    pub(crate) line: Option<u32>,
}
