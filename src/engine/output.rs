//! [`OutputBuffer`]: the lines that the scripts of an engine print.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{ScriptError, Setting};
use crate::vm::LogLevel;

/// Bytes that a line counts as, in addition to its text.
const LINE_BYTES: usize = 64;

/// A line that a script wrote with `print` or `log.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLine {
    /// Its level; `print` writes [`LogLevel::Info`].
    pub level: LogLevel,
    /// The text, cut after 2000 bytes.
    pub text: Arc<str>,
    /// The line in the script, counted from 1, if it is known.
    pub line: Option<u32>,
}

/// The most recent lines, within a limit of bytes.
#[derive(Debug)]
pub(crate) struct OutputBuffer {
    lines: VecDeque<OutputLine>,
    bytes: usize,
    /// Bytes of the current call, or of the last one.
    call_bytes: usize,
    /// How many of the last lines are of that call.
    call_lines: usize,
    limit: usize,
    /// Lines that were dropped because nobody took them in time.
    lost: u64,
}

impl OutputBuffer {
    pub(crate) fn new(limit: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, call_bytes: 0, call_lines: 0, limit, lost: 0 }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self) {
        (self.call_bytes, self.call_lines) = (0, 0);
    }

    pub(crate) fn write(
        &mut self,
        level: LogLevel,
        text: String,
        line: Option<u32>,
    ) -> Result<(), ScriptError> {
        let bytes = text.len() + LINE_BYTES;
        if self.call_bytes + bytes > self.limit {
            let (what, limit) = ("bytes of output", self.limit);
            return Err(ScriptError::TooMuch { what, limit, setting: Setting::EngineOutputLimit });
        }
        self.call_bytes += bytes;
        self.call_lines += 1;
        self.bytes += bytes;
        self.lines.push_back(OutputLine { level, text: text.into(), line });
        while self.bytes > self.limit {
            let Some(gone) = self.lines.pop_front() else { break };
            self.bytes -= gone.text.len() + LINE_BYTES;
            self.lost += 1;
        }
        Ok(())
    }

    pub(crate) fn lines(&self) -> impl ExactSizeIterator<Item = &OutputLine> {
        self.lines.iter()
    }

    /// The lines of the last call.
    pub(crate) fn last_lines(&self) -> impl ExactSizeIterator<Item = &OutputLine> {
        self.lines.range(self.lines.len() - self.call_lines..)
    }

    pub(crate) fn take(&mut self) -> Vec<OutputLine> {
        (self.bytes, self.call_lines) = (0, 0);
        std::mem::take(&mut self.lines).into()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        (self.bytes, self.call_bytes, self.call_lines, self.lost) = (0, 0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(output: &mut OutputBuffer, text: &str) -> Result<(), ScriptError> {
        output.write(LogLevel::Info, text.to_owned(), None)
    }

    #[test]
    fn a_call_that_writes_too_much_fails_and_the_next_one_may_write_again() {
        let mut output = OutputBuffer::new(2 * LINE_BYTES);
        output.begin();
        assert_eq!(write(&mut output, ""), Ok(()));
        assert_eq!(write(&mut output, ""), Ok(()));
        assert!(matches!(
            write(&mut output, ""),
            Err(ScriptError::TooMuch { setting: Setting::EngineOutputLimit, .. })
        ));
        output.begin();
        assert_eq!(write(&mut output, "x"), Ok(()));
    }

    #[test]
    fn lines_that_nobody_takes_make_room_for_new_ones() {
        let mut output = OutputBuffer::new(2 * LINE_BYTES + 2);
        for text in ["a", "b", "c"] {
            output.begin();
            assert_eq!(write(&mut output, text), Ok(()));
        }
        let texts: Vec<_> = output.lines().map(|line| line.text.to_string()).collect();
        assert_eq!((texts, output.lost()), (vec!["b".to_owned(), "c".to_owned()], 1));
        assert_eq!(output.take().len(), 2);
        assert_eq!(output.lines().len(), 0);
    }
}
