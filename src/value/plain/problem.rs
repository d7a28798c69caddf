//! [`Problem`]: what serde reports, with the place where it was.

use std::fmt::{self, Display, Write};

use serde::de::{Expected, Unexpected};
use serde::{de, ser};

use crate::error::{ScriptError, suggest};
use crate::value::ScriptKey;

/// An error on the way between a serde type and a value.
#[derive(Debug)]
pub(super) struct Problem {
    /// The way to the place, innermost step first.
    place: Vec<Step>,
    kind: Kind,
}

/// One step to a place within a value.
#[derive(Clone, Debug)]
pub(in crate::value) enum Step {
    /// `[3]`
    Element(usize),
    /// `.name`
    Field(String),
    /// `[0.5]`
    Key(String),
}

impl Step {
    /// The step to the value of a key, whoever chose that.
    pub(in crate::value) fn of_key(key: &ScriptKey) -> Self {
        /// As much of a key as people read.
        const SHOWN: usize = 60;
        match key {
            ScriptKey::String(key) => {
                Self::Field(key.chars().take(SHOWN).flat_map(char::escape_debug).collect())
            }
            key => Self::Key(key.to_string()),
        }
    }
}

#[derive(Debug)]
enum Kind {
    WrongType { expected: String, got: String },
    UnknownField { field: String, similar: Option<String> },
    Inexact { value: String },
    Other(String),
}

impl Problem {
    fn new(kind: Kind) -> Self {
        Self { place: Vec::new(), kind }
    }

    pub(super) fn other(message: impl Into<String>) -> Self {
        Self::new(Kind::Other(message.into()))
    }

    pub(super) fn wrong_type(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::new(Kind::WrongType { expected: expected.into(), got: got.into() })
    }

    /// The same, seen from one level further out.
    pub(super) fn inside(mut self, step: Step) -> Self {
        self.place.push(step);
        self
    }

    fn place(&self) -> String {
        show_place(self.place.iter().rev())
    }
}

/// `items[3].count`; `value` for the whole of it.
pub(in crate::value) fn show_place<'a>(steps: impl Iterator<Item = &'a Step>) -> String {
    let mut shown = String::new();
    for step in steps {
        // Writing to a string can't fail.
        let _ = match step {
            Step::Element(number) => write!(shown, "[{number}]"),
            Step::Field(name) if shown.is_empty() => write!(shown, "{name}"),
            Step::Field(name) => write!(shown, ".{name}"),
            Step::Key(key) => write!(shown, "[{key}]"),
        };
    }
    if shown.is_empty() || shown.starts_with('[') {
        shown.insert_str(0, "value");
    }
    shown
}

impl From<ScriptError> for Problem {
    fn from(error: ScriptError) -> Self {
        Self::new(match error {
            ScriptError::Inexact { value } => Kind::Inexact { value },
            other => Kind::Other(other.to_string()),
        })
    }
}

impl From<Problem> for ScriptError {
    fn from(problem: Problem) -> Self {
        let place = problem.place();
        match problem.kind {
            Kind::WrongType { expected, got } => Self::WrongType { place, expected, got },
            Kind::UnknownField { field, similar } => {
                Self::UnknownField { owner: place, field, similar }
            }
            Kind::Inexact { value } if problem.place.is_empty() => Self::Inexact { value },
            Kind::Inexact { value } => Self::Inexact { value: format!("`{place}` = {value}") },
            Kind::Other(message) => Self::Host { message: format!("`{place}` {message}") },
        }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {:?}", self.place(), self.kind)
    }
}

impl std::error::Error for Problem {}

impl ser::Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        Self::other(format!("can't be converted: {message}"))
    }
}

impl de::Error for Problem {
    fn custom<T: Display>(message: T) -> Self {
        Self::other(format!("can't be converted: {message}"))
    }

    fn invalid_type(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong_type(expected.to_string(), got.to_string())
    }

    fn invalid_value(got: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong_type(expected.to_string(), got.to_string())
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::wrong_type(expected.to_string(), format!("a list of length {length}"))
    }

    fn unknown_variant(variant: &str, variants: &'static [&'static str]) -> Self {
        let similar = suggest(variant, variants.iter().copied())
            .map_or_else(String::new, |name| format!(", did you mean `{name}`?"));
        let names = variants.join("`, `");
        Self::wrong_type(format!("one of `{names}`"), format!("`{variant}`{similar}"))
    }

    fn unknown_field(field: &str, fields: &'static [&'static str]) -> Self {
        let similar = suggest(field, fields.iter().copied());
        Self::new(Kind::UnknownField { field: field.to_owned(), similar })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::other(format!("lacks the field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::other(format!("has the field `{field}` twice"))
    }
}
