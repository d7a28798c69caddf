//! The module `toml`.

use serde::de::DeserializeSeed;

use super::Module;
use super::options::{EncodeOptions, failed, seed};
use crate::error::ScriptError;
use crate::value::{ScriptKey, ScriptTable, ScriptValue};

/// TOML 1.1.
///
/// | function | |
/// | --- | --- |
/// | `toml.encode(table, options?)` | the text |
/// | `toml.decode(text)` | the table |
///
/// - Values, options and errors are those of [`json`](super::json()), but for these: a whole text is a
///   table; there is no null; NaN and infinity are written and read as `nan` and `inf`.
/// - Dates and times are read as strings.
///
/// ```lua
/// local text = toml.encode({title = "arena", size = {w = 8, h = 4}})
/// assert(text == 'title = "arena"\n\n[size]\nh = 4\nw = 8\n')
///
/// local arena = toml.decode("built = 2024-05-01\nwalls = [1, 2.5]")
/// assert(arena.built == "2024-05-01")
/// assert(arena.walls[2] == 2.5)
/// ```
pub fn toml() -> Module {
    Module::new("toml")
        .function("encode", |(table, options): (ScriptTable, EncodeOptions)| {
            encode(table, &options)
        })
        .function("decode", |text: String| decode(&text))
}

fn encode(table: ScriptTable, options: &EncodeOptions) -> Result<String, ScriptError> {
    let failed = |what: &dyn std::fmt::Display| failed("toml.encode", what);
    if !table.array.is_empty() {
        return Err(failed(&"the whole has to be a table by field, not a list"));
    }
    if table.is_empty() {
        return Ok(String::new());
    }
    let value = ScriptValue::Table(table);
    // By way of a table of TOML's own, which sorts plain values before tables.
    toml::Table::try_from(options.plain(&value).allow_non_finite())
        .and_then(|table| toml::to_string(&table))
        .map_err(|error| failed(&error))
}

fn decode(text: &str) -> Result<ScriptValue, ScriptError> {
    let read = toml::Deserializer::parse(text).and_then(|toml| seed(text).deserialize(toml));
    match read {
        Ok(mut value) => {
            dates_to_strings(&mut value);
            Ok(value)
        }
        Err(error) => {
            let place = error.span().map_or_else(String::new, |span| place(text, span.start));
            Err(failed("toml.decode", format_args!("{}{place}", error.message())))
        }
    }
}

/// ` at line 3 column 7`
fn place(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|char| *char != '\n').count() + 1;
    format!(" at line {line} column {column}")
}

/// The form in which `toml` hands a date or time to serde: a map with this one key.
fn dates_to_strings(value: &mut ScriptValue) {
    const DATE: &str = "$__toml_private_datetime";
    let ScriptValue::Table(table) = value else {
        return;
    };
    if table.array.is_empty()
        && table.fields.len() == 1
        && let Some(date) = table.fields.remove(&ScriptKey::from(DATE))
    {
        *value = date;
        return;
    }
    table.array.iter_mut().chain(table.fields.values_mut()).for_each(dates_to_strings);
}
