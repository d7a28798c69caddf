//! The module `yaml`.

use serde::de::DeserializeSeed;
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Options, SerializerOptions};

use super::Module;
use super::options::{DecodeOptions, EncodeOptions, failed};
use crate::error::ScriptError;
use crate::value::ScriptValue;

/// YAML 1.2.
///
/// | function | |
/// | --- | --- |
/// | `yaml.encode(value, options?)` | the text |
/// | `yaml.decode(text, options?)` | the value |
///
/// - Values, options and errors are those of [`json`](super::json()), but for these: NaN and infinity are
///   written and read as `.nan` and `.inf`; keys that are numbers or booleans are read as such; only `true`
///   and `false` are booleans, so `no` is a string.
/// - A text is one document. Tags of its own mean nothing here.
/// - Anchors, aliases and merge keys work. A text may stand for no more than 64 times its own size (and 64
///   KiB): one that repeats itself without end is an error.
///
/// ```lua
/// local text = yaml.encode({name = "sword", damage = {2, 6}})
/// assert(text == "damage:\n- 2\n- 6\nname: sword\n")
///
/// local items = yaml.decode([[
/// base: &base
///   weight: 1.5
/// sword:
///   <<: *base
///   country: no
/// ]])
/// assert(items.sword.weight == 1.5)
/// assert(items.sword.country == "no")
/// ```
pub fn yaml() -> Module {
    Module::new("yaml")
        .function("encode", |(value, options): (ScriptValue, EncodeOptions)| {
            let plain = options.plain(&value).allow_non_finite();
            serde_saphyr::to_string_with_options(&plain, writing())
                .map_err(|error| failed("yaml.encode", error))
        })
        .function("decode", |(text, options): (String, DecodeOptions)| decode(&text, options))
}

fn decode(text: &str, options: DecodeOptions) -> Result<ScriptValue, ScriptError> {
    serde_saphyr::with_deserializer_from_str_with_options(text, reading(text), |yaml| {
        options.seed(text).deserialize(yaml)
    })
    .map_err(|error| failed("yaml.decode", error))
}

fn writing() -> SerializerOptions {
    serde_saphyr::ser_options! { prefer_block_scalars: false }
}

/// Work is bounded by the length of the text: what aliases repeat counts too.
fn reading(text: &str) -> Options {
    let events = 10_000 + 2 * text.len();
    let bytes = 64 * 1024 + 64 * text.len();
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: events,
            max_nodes: events,
            max_recorded_anchor_events: events,
            max_recorded_anchor_bytes: bytes,
            max_total_scalar_bytes: bytes,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: events },
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}
