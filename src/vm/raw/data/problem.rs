//! [`Problem`]: why a value on the stack is no plain data.

use crate::error::{ScriptError, Setting};

/// Why a value can't be read: what, and the keys that lead there, the innermost first.
pub(in crate::vm::raw) struct Problem {
    pub(in crate::vm::raw) what: ProblemKind,
    pub(in crate::vm::raw) keys: Vec<String>,
}

pub(in crate::vm::raw) enum ProblemKind {
    NotData(String),
    TooLarge,
    Host(ScriptError),
}

impl Problem {
    pub(in crate::vm::raw) fn new(what: impl Into<String>) -> Self {
        Self { what: ProblemKind::NotData(what.into()), keys: Vec::new() }
    }

    pub(in crate::vm::raw) fn into_error(
        self,
        root: &str,
        limit: usize,
        purpose: &'static str,
    ) -> ScriptError {
        match self.what {
            ProblemKind::NotData(what) => {
                let mut place = root.to_owned();
                place.extend(self.keys.into_iter().rev());
                ScriptError::NotData { place, what, purpose }
            }
            ProblemKind::TooLarge => ScriptError::TooMuch {
                what: "bytes in one value",
                limit,
                setting: Setting::MaxValueSize,
            },
            ProblemKind::Host(error) => error,
        }
    }
}
