//! [`PlainError`]: the error of the conversion between serde types and values, with its place.

use std::fmt::{self, Display};

use serde::de::{Expected, Unexpected};
use serde::{de, ser};

use crate::error::{ScriptError, suggest};
use crate::value::trail::{PathStep, show_path};

/// An error in the conversion between a serde type and a value.
#[derive(Debug)]
pub(super) struct PlainError {
    /// The path to the place, the innermost step first.
    path: Vec<PathStep<'static>>,
    kind: PlainErrorKind,
}

#[derive(Debug)]
enum PlainErrorKind {
    WrongType { expected: String, got: String },
    UnknownField { field: String, similar: Option<String> },
    Inexact { value: String },
    Other(String),
}

impl PlainError {
    fn new(kind: PlainErrorKind) -> Self {
        Self { path: Vec::new(), kind }
    }

    pub(super) fn other(message: impl Into<String>) -> Self {
        Self::new(PlainErrorKind::Other(message.into()))
    }

    pub(super) fn wrong_type(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::new(PlainErrorKind::WrongType { expected: expected.into(), got: got.into() })
    }

    /// Adds a step around the place.
    pub(super) fn inside(mut self, step: PathStep<'static>) -> Self {
        self.path.push(step);
        self
    }

    fn place(&self) -> String {
        show_path(self.path.iter().rev())
    }
}

impl From<ScriptError> for PlainError {
    fn from(error: ScriptError) -> Self {
        Self::new(match error {
            ScriptError::Inexact { value } => PlainErrorKind::Inexact { value },
            other => PlainErrorKind::Other(other.to_string()),
        })
    }
}

impl From<PlainError> for ScriptError {
    fn from(error: PlainError) -> Self {
        let place = error.place();
        match error.kind {
            PlainErrorKind::WrongType { expected, got } => Self::WrongType { place, expected, got },
            PlainErrorKind::UnknownField { field, similar } => {
                Self::UnknownField { owner: place, field, similar }
            }
            PlainErrorKind::Inexact { value } if error.path.is_empty() => Self::Inexact { value },
            PlainErrorKind::Inexact { value } => {
                Self::Inexact { value: format!("`{place}` = {value}") }
            }
            PlainErrorKind::Other(message) => {
                Self::Host { message: format!("`{place}` {message}") }
            }
        }
    }
}

impl Display for PlainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {:?}", self.place(), self.kind)
    }
}

impl std::error::Error for PlainError {}

impl ser::Error for PlainError {
    fn custom<T: Display>(message: T) -> Self {
        Self::other(format!("can't be converted: {message}"))
    }
}

impl de::Error for PlainError {
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
        Self::new(PlainErrorKind::UnknownField { field: field.to_owned(), similar })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::other(format!("lacks the field `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::other(format!("has the field `{field}` twice"))
    }
}
