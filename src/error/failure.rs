//! [`Failure`]: an error, and where it happened.

use std::fmt::Write;
use std::sync::Arc;

use super::script_error::ScriptError;
use crate::escape::{escaped, log_text};

/// An error and the place in the script where it happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What went wrong.
    pub error: ScriptError,
    /// The script's asset path.
    pub script: Arc<str>,
    /// The line, counted from 1, if it is known.
    pub line: Option<u32>,
    /// The Lua call stack, innermost call first, one line each; empty if there is none.
    pub traceback: String,
}

impl Failure {
    /// A failure without a place in the script.
    pub(crate) fn new(script: &Arc<str>, error: ScriptError) -> Self {
        let line = match &error {
            ScriptError::Syntax { line, .. } => Some(*line),
            _ => None,
        };
        Self { error, script: Arc::clone(script), line, traceback: String::new() }
    }
}

/// `scripts/orbit.luau:12: message`, then the call stack. Control characters of the script are shown escaped, and
/// further lines of the message are set off.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&escaped(&self.script))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", log_text(&self.error.to_string()))?;
        for line in self.traceback.lines() {
            f.write_char('\n')?;
            write!(f, "    at {}", escaped(line))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
