//! [`PlainValue`] and [`PlainSeed`]: a [`ScriptValue`] read from any self-describing format.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::table::TableBuilder;
use crate::value::convert::{IntoScript, exact};
use crate::value::depth::{MAX_DEPTH, too_deep};
use crate::value::types::{ScriptKey, ScriptValue};

/// A value deserialized from natural data, such as [`Plain`](super::Plain) or another program wrote.
///
/// Null is nil, so a field that is null is absent. A null in a list is an error, since a list has no gaps; so are a
/// duplicate key, an integer beyond 2⁵³, and more than 32 levels. [`PlainSeed`] has options.
///
/// ```
/// use bevy_lua_pool::PlainValue;
///
/// let read: PlainValue = serde_json::from_str(r#"{"list": [1, 2.5], "gone": null}"#)?;
/// assert_eq!(read.0.to_string(), "{list = {1, 2.5}}");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlainValue(pub ScriptValue);

impl<'de> Deserialize<'de> for PlainValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        PlainSeed::new().deserialize(from).map(Self)
    }
}

/// Reads a [`ScriptValue`] from natural data, with options; see [`PlainValue`].
#[derive(Clone, Debug, Default)]
pub struct PlainSeed {
    null: ScriptValue,
    max_size: Option<usize>,
}

impl PlainSeed {
    /// Reads as [`PlainValue`] does.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces each null with a value, in lists too.
    #[must_use]
    pub fn null(mut self, value: impl Into<ScriptValue>) -> Self {
        self.null = value.into();
        self
    }

    /// Fails if the values would take up more than about this many bytes, for formats in which a short text can expand
    /// to a large value. Default: no limit.
    #[must_use]
    pub const fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = Some(bytes);
        self
    }
}

impl<'de> DeserializeSeed<'de> for PlainSeed {
    type Value = ScriptValue;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ScriptValue, D::Error> {
        let left = Cell::new(self.max_size.unwrap_or(usize::MAX));
        PlainReader { seed: &self, left: &left, depth: 0 }.deserialize(from)
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
struct PlainReader<'s> {
    seed: &'s PlainSeed,
    /// The bytes left of `max_size`.
    left: &'s Cell<usize>,
    depth: usize,
}

impl PlainReader<'_> {
    /// Counts a value, and the bytes of its text, towards `max_size`.
    fn charge<E: Error>(&self, text: usize) -> Result<(), E> {
        let size = size_of::<ScriptValue>() + text;
        match self.left.get().checked_sub(size) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                let limit = self.seed.max_size.unwrap_or(usize::MAX);
                Err(E::custom(format!("stands for more than {limit} bytes of values")))
            }
        }
    }

    fn leaf<E: Error>(&self, value: impl IntoScript) -> Result<ScriptValue, E> {
        self.charge(0)?;
        value.into_script().map_err(E::custom)
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(too_deep()));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for PlainReader<'_> {
    type Value = ScriptValue;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ScriptValue, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PlainReader<'_> {
    type Value = ScriptValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain data")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<ScriptValue, E> {
        self.leaf(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ScriptValue, E> {
        self.leaf(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ScriptValue, E> {
        self.leaf(value)
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<ScriptValue, E> {
        self.leaf(exact(value).map_err(E::custom)?)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<ScriptValue, E> {
        self.leaf(exact(value).map_err(E::custom)?)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ScriptValue, E> {
        self.leaf(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<ScriptValue, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<ScriptValue, E> {
        self.charge(value.len())?;
        Ok(value.into())
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<ScriptValue, E> {
        self.visit_byte_buf(value.to_owned())
    }

    fn visit_byte_buf<E: Error>(self, value: Vec<u8>) -> Result<ScriptValue, E> {
        self.charge(value.len())?;
        Ok(match String::from_utf8(value) {
            Ok(text) => text.into(),
            Err(error) => ScriptValue::Bytes(error.into_bytes()),
        })
    }

    fn visit_none<E: Error>(self) -> Result<ScriptValue, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<ScriptValue, D::Error> {
        self.deserialize(from)
    }

    fn visit_unit<E: Error>(self) -> Result<ScriptValue, E> {
        self.charge(self.seed.null.size())?;
        Ok(self.seed.null.clone())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<ScriptValue, D::Error> {
        self.deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<ScriptValue, A::Error> {
        let inner = self.deeper()?;
        self.charge(0)?;
        let mut table = TableBuilder::default();
        while let Some(value) = from.next_element_seed(inner)? {
            let number = table.array_len() + 1;
            table
                .push(value)
                .map_err(|what| A::Error::custom(format!("element {number} of the list {what}")))?;
        }
        Ok(table.finish().into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<ScriptValue, A::Error> {
        let inner = self.deeper()?;
        self.charge(0)?;
        let mut table = TableBuilder::default();
        let mut absent = BTreeSet::new();
        while let Some(key) = from.next_key_seed(inner)? {
            let key = key_of(key)?;
            if table.contains_key(&key) || absent.contains(&key) {
                return Err(A::Error::custom(format!("the key `{key}` comes twice")));
            }
            match from.next_value_seed(inner)? {
                ScriptValue::Nil => {
                    absent.insert(key);
                }
                value => table.insert(key, value),
            }
        }
        Ok(table.finish().into())
    }
}

fn key_of<E: Error>(value: ScriptValue) -> Result<ScriptKey, E> {
    match value {
        ScriptValue::Bool(value) => Ok(ScriptKey::Bool(value)),
        // 0 and -0 are one key in Lua; adding 0 makes 0 of -0.
        ScriptValue::Number(value) if !value.is_nan() => Ok(ScriptKey::Number(value + 0.0)),
        ScriptValue::String(value) => Ok(value.into()),
        other => Err(E::custom(format!(
            "{other} is the key of a field; keys have to be strings, numbers or booleans"
        ))),
    }
}
