//! [`ReadProblem`]: why a value on the stack is not plain data.

use crate::error::{ScriptError, Setting};

/// Why a value can't be read, and the keys that lead to it, the innermost first.
pub(in crate::vm::raw) struct ReadProblem {
    pub(in crate::vm::raw) what: ReadProblemKind,
    pub(in crate::vm::raw) keys: Vec<String>,
}

pub(in crate::vm::raw) enum ReadProblemKind {
    NotData(String),
    TooLarge,
    Host(ScriptError),
}

impl ReadProblem {
    pub(in crate::vm::raw) fn new(what: impl Into<String>) -> Self {
        Self { what: ReadProblemKind::NotData(what.into()), keys: Vec::new() }
    }

    pub(in crate::vm::raw) fn into_error(
        self,
        root: &str,
        limit: usize,
        purpose: &'static str,
    ) -> ScriptError {
        match self.what {
            ReadProblemKind::NotData(what) => {
                let mut place = root.to_owned();
                place.extend(self.keys.into_iter().rev());
                ScriptError::NotData { place, what, purpose }
            }
            ReadProblemKind::TooLarge => ScriptError::TooMuch {
                what: "bytes in one value",
                limit,
                setting: Setting::MaxValueSize,
            },
            ReadProblemKind::Host(error) => error,
        }
    }
}
