//! Has the watchdog watch a VM.

use std::sync::Arc;

use mlua::Lua;

use super::raw::Hook;
use super::watchdog::{RunWatch, SafepointHook};
use crate::error::ScriptError;

impl SafepointHook for Hook {
    fn install(&self) {
        Self::install(self);
    }

    fn remove(&self) {
        Self::remove(self);
    }

    fn is_of(&self, lua: &Lua) -> bool {
        Self::is_of(self, lua)
    }
}

/// Has a new VM watched.
pub(super) fn watch(lua: &Lua) -> Result<Arc<RunWatch>, ScriptError> {
    RunWatch::new(Box::new(Hook::of(lua))).map_err(|error| {
        ScriptError::vm("no thread for the watchdog, without which nothing runs", error)
    })
}
