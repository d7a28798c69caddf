//! What the scripts of an engine print.

use super::LuaEngine;
use crate::engine::output::OutputLine;

impl LuaEngine {
    /// The lines that scripts printed and that were not taken yet, the oldest first.
    pub fn output(&self) -> impl ExactSizeIterator<Item = &OutputLine> {
        self.core.output.lines()
    }

    /// The lines of the last call that were not taken yet, the oldest first.
    pub fn last_output(&self) -> impl ExactSizeIterator<Item = &OutputLine> {
        self.core.output.last_lines()
    }

    /// Takes the lines that scripts printed, the oldest first.
    pub fn take_output(&mut self) -> Vec<OutputLine> {
        self.core.output.take()
    }
}
