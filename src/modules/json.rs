//! The module `json`.

use serde::de::DeserializeSeed;

use super::Module;
use super::options::{DecodeOptions, EncodeOptions, failed};
use crate::error::ScriptError;
use crate::value::ScriptValue;

/// JSON.
///
/// | function | |
/// | --- | --- |
/// | `json.encode(value, options?)` | the text, on one line |
/// | `json.encode_pretty(value, options?)` | the text, indented |
/// | `json.decode(text, options?)` | the value |
///
/// - A table with elements only becomes an array, one with string keys only an object; an empty one becomes
///   `{}`, or `[]` with `{empty = "array"}`. Anything between is an error that names the place, as are NaN
///   and infinity.
/// - Whole numbers up to 2⁵³ are written without a point, others as floats; an integer in a text that a Lua
///   number can't hold exactly is an error.
/// - A vector is an array of three numbers, an entity its 64 bits as an integer; they come back as that.
/// - `null` is nil, so an object's field that is null is absent. In an array that would be a gap, so it is an
///   error there, unless `{null = value}` gives what to put in the place of every null.
/// - A key that comes twice, and more than 32 levels, are errors. Those of `decode` tell line and column.
///
/// ```lua
/// local text = json.encode({name = "sword", damage = {2, 6}, weight = 1.5})
/// assert(text == '{"damage":[2,6],"name":"sword","weight":1.5}')
///
/// local item = json.decode(text)
/// assert(item.name == "sword" and item.damage[2] == 6)
///
/// local grades = json.decode("[1, null, 3]", {null = false})
/// assert(grades[2] == false)
/// assert(json.encode({}, {empty = "array"}) == "[]")
/// assert(json.encode_pretty({hp = 3}) == '{\n  "hp": 3\n}')
/// ```
pub fn json() -> Module {
    Module::new("json")
        .function("encode", |(value, options): (ScriptValue, EncodeOptions)| {
            serde_json::to_string(&options.plain(&value))
                .map_err(|error| failed("json.encode", error))
        })
        .function("encode_pretty", |(value, options): (ScriptValue, EncodeOptions)| {
            serde_json::to_string_pretty(&options.plain(&value))
                .map_err(|error| failed("json.encode_pretty", error))
        })
        .function("decode", |(text, options): (String, DecodeOptions)| decode(&text, options))
}

fn decode(text: &str, options: DecodeOptions) -> Result<ScriptValue, ScriptError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = options.seed(text).deserialize(&mut json);
    value.and_then(|value| json.end().map(|()| value)).map_err(|error| failed("json.decode", error))
}
