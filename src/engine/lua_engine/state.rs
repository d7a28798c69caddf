//! Reading and writing globals: one of them, or all that are plain data.

use std::time::Duration;

use super::LuaEngine;
use crate::error::Failure;
use crate::value::{IntoScript, ScriptTable, ScriptValue};
use crate::vm::Task;

/// The least CPU time for reading the state of an evicted engine. A state within `value_limit` takes less.
const MIN_EVICTION_TIME: Duration = Duration::from_secs(10);

impl LuaEngine {
    /// Reads a global, or a value in one: `score`, `player.items`; [`ScriptValue::Nil`] if there is none.
    ///
    /// # Errors
    /// If it is not plain data, or something along the path has no fields.
    pub fn get(&mut self, name: &str) -> Result<ScriptValue, Failure> {
        self.core.begin();
        self.core.perform(Task::Get(name)).map(|done| done.values.into_first())
    }

    /// Writes a global, or a field of a table in one.
    ///
    /// # Errors
    /// If something along the path has no fields or can't be written, or if Lua can't hold the value exactly.
    pub fn set(&mut self, name: &str, value: impl IntoScript) -> Result<(), Failure> {
        self.core.begin();
        let value = value.into_script().map_err(|error| Failure::new(&name.into(), error))?;
        self.core.perform(Task::Set(name, &value)).map(|_| ())
    }

    /// All globals that are plain data, for a save. Functions, and tables that contain any, are left out.
    ///
    /// # Errors
    /// If they are larger than the engine's `value_limit`, or reading them takes longer than its `time_limit`.
    pub fn state(&mut self) -> Result<ScriptTable, Failure> {
        self.core.begin();
        self.core.read_state()
    }

    /// As [`LuaEngine::state`], of an engine that is dropped. Nobody waits for this call in particular, so neither the
    /// time limits nor an interrupt end it.
    pub(in crate::engine) fn into_state(mut self) -> Result<ScriptTable, Failure> {
        self.core.call_timeout = None;
        self.core.limits.time = self.core.limits.time.max(MIN_EVICTION_TIME);
        self.core.begin();
        self.core.limits.call.uncancelled = true;
        self.core.read_state()
    }

    /// Sets all globals in `state`; others stay as they are.
    ///
    /// # Errors
    /// If there is not enough memory. Some globals may have been set then.
    pub fn restore(&mut self, state: &ScriptTable) -> Result<(), Failure> {
        self.core.begin();
        self.core.perform(Task::Restore(state)).map(|_| ())
    }
}
