//! [`FileLevelLog`]: what a file level logs.

use crate::vm::host::{LogLevel, LogLine};

/// The most lines that are kept.
const MAX_FILE_LINES: usize = 32;

/// Lines that a file level logs.
#[derive(Default)]
pub(in crate::vm::raw) struct FileLevelLog {
    kept: Vec<LogLine>,
    left_out: usize,
}

impl FileLevelLog {
    pub(in crate::vm::raw) fn add(&mut self, line: LogLine) {
        if self.kept.len() < MAX_FILE_LINES {
            self.kept.push(line);
        } else {
            self.left_out += 1;
        }
    }

    pub(in crate::vm::raw) fn into_lines(self) -> Vec<LogLine> {
        let Self { mut kept, left_out } = self;
        if left_out > 0 {
            let text = format!("the file level writes {left_out} more lines, which are left out");
            kept.push(LogLine { level: LogLevel::Warn, text, line: None });
        }
        kept
    }
}
