//! The last argument of `encode` and `decode`: a table of options.

use crate::error::ScriptError;
use crate::value::{FromScript, Plain, PlainSeed, ScriptKey, ScriptTable, ScriptValue};

/// `{empty = "array"}` or `{empty = "object"}`, or nothing.
pub(super) struct EncodeOptions {
    empty_lists: bool,
}

impl EncodeOptions {
    /// The value, to be written as the options say.
    pub(super) fn plain<'v>(&self, value: &'v ScriptValue) -> Plain<'v> {
        let plain = Plain::new(value);
        if self.empty_lists { plain.empty_lists() } else { plain }
    }
}

impl FromScript for EncodeOptions {
    fn expected() -> String {
        "nil or one of {empty = \"array\"}, {empty = \"object\"}".to_owned()
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match option(value, "empty")? {
            ScriptValue::Nil => Ok(Self { empty_lists: false }),
            ScriptValue::String(kind) if kind == "object" => Ok(Self { empty_lists: false }),
            ScriptValue::String(kind) if kind == "array" => Ok(Self { empty_lists: true }),
            other => Err(ScriptTable::from([("empty", other)]).into()),
        }
    }
}

/// `{null = value}`, or nothing.
pub(super) struct DecodeOptions {
    null: ScriptValue,
}

impl DecodeOptions {
    /// Reads a text as the options say.
    pub(super) fn seed(self, text: &str) -> PlainSeed {
        seed(text).null(self.null)
    }
}

impl FromScript for DecodeOptions {
    fn expected() -> String {
        "nil or {null = value}".to_owned()
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        option(value, "null").map(|null| Self { null })
    }
}

/// Reads a text into values that are bounded by its length: repetition is the only way to get more, and
/// that is for attackers.
pub(super) fn seed(text: &str) -> PlainSeed {
    PlainSeed::new().max_size(64 * 1024 + 64 * text.len())
}

/// The value of the only option that there is.
fn option(value: ScriptValue, name: &str) -> Result<ScriptValue, ScriptValue> {
    match value {
        ScriptValue::Nil => Ok(ScriptValue::Nil),
        ScriptValue::Table(mut table) => {
            let option = table.fields.remove(&ScriptKey::from(name)).unwrap_or_default();
            if table.is_empty() { Ok(option) } else { Err(table.into()) }
        }
        other => Err(other),
    }
}

/// What a format reports, with the function that was called.
pub(super) fn failed(function: &str, what: impl std::fmt::Display) -> ScriptError {
    ScriptError::Host { message: format!("{function}: {what}") }
}
