//! [`ValueDeserializer`]: a [`ScriptValue`] to any serde type.

use std::ops::RangeFrom;
use std::{iter, vec};

use bevy::prelude::Vec3;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::PlainError;
use super::variant::EnumVariant;
use crate::value::convert::{FromScript, exact_integer, whole};
use crate::value::depth::{MAX_DEPTH, too_deep};
use crate::value::display::describe;
use crate::value::trail::PathStep;
use crate::value::types::{ScriptKey, ScriptTable, ScriptValue};

/// Deserializes one value.
pub(super) struct ValueDeserializer {
    value: ScriptValue,
    depth: usize,
}

impl ValueDeserializer {
    pub(super) const fn new(value: ScriptValue) -> Self {
        Self { value, depth: 0 }
    }

    fn wrong(self, expected: impl Into<String>) -> PlainError {
        PlainError::wrong_type(expected, describe(&self.value))
    }

    /// The depth of the content of this value, if that may nest so deep.
    fn inner_depth(&self) -> Result<usize, PlainError> {
        if self.depth >= MAX_DEPTH {
            return Err(PlainError::other(too_deep()));
        }
        Ok(self.depth + 1)
    }

    /// Reads a list; `length` is that of a tuple.
    fn list<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        length: Option<usize>,
    ) -> Result<V::Value, PlainError> {
        let depth = self.inner_depth()?;
        let values = match self.value {
            // A vector without z can be a pair.
            ScriptValue::Vector(vector) if length == Some(2) && vector.z == 0.0 => {
                vec![vector.x.into(), vector.y.into()]
            }
            ScriptValue::Vector(vector) => vector.to_array().map(ScriptValue::from).to_vec(),
            ScriptValue::Table(table) if table.fields.is_empty() => table.array,
            ScriptValue::Table(table) if !table.array.is_empty() => return Err(mixed(&table)),
            _ => return Err(self.wrong("list")),
        };
        let length = values.len();
        let mut elements = ElementAccess { values: values.into_iter(), taken: 0, depth };
        let read = visitor.visit_seq(&mut elements)?;
        if elements.values.len() > 0 {
            let expected = format!("list of length {}", elements.taken);
            return Err(PlainError::wrong_type(expected, format!("list of length {length}")));
        }
        Ok(read)
    }

    /// Reads a table by key.
    fn map<'de, V: Visitor<'de>>(self, visitor: V, keys: Keys) -> Result<V::Value, PlainError> {
        let depth = self.inner_depth()?;
        let table = match self.value {
            ScriptValue::Vector(Vec3 { x, y, z }) => {
                ScriptTable::from([("x", x), ("y", y), ("z", z)])
            }
            ScriptValue::Table(table) => table,
            _ => return Err(self.wrong("table")),
        };
        if keys == Keys::Names
            && let Some(key) = odd_key(&table)
        {
            return Err(PlainError::wrong_type(
                "table by field",
                format!("one with the key {key}"),
            ));
        }
        visitor.visit_map(EntryAccess {
            elements: (1..).zip(table.array),
            fields: table.fields.into_iter(),
            value: None,
            depth,
        })
    }
}

/// Which keys a table may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// Names of fields.
    Names,
    /// Any key.
    Any,
}

/// A key that is not a name of a field, if there is one.
fn odd_key(table: &ScriptTable) -> Option<ScriptKey> {
    if !table.array.is_empty() {
        return Some(ScriptKey::Number(1.0));
    }
    table.fields.keys().find(|key| !matches!(key, ScriptKey::String(_))).cloned()
}

/// The error for a list that has fields.
fn mixed(table: &ScriptTable) -> PlainError {
    let field = table.fields.keys().next().map(ToString::to_string).unwrap_or_default();
    PlainError::wrong_type(
        "list",
        format!("a table that has the field `{field}` besides its elements"),
    )
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $int:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
            match <$int>::from_script(self.value) {
                Ok(number) => visitor.$visit(number),
                Err(value) => Err(PlainError::wrong_type(<$int>::expected(), describe(&value))),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueDeserializer {
    type Error = PlainError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::Nil => visitor.visit_unit(),
            ScriptValue::Bool(value) => visitor.visit_bool(value),
            ScriptValue::Number(value) => match exact_integer(value) {
                Some(value) if value < 0 => visitor.visit_i64(value),
                Some(value) => visitor.visit_u64(value.unsigned_abs()),
                None => visitor.visit_f64(value),
            },
            ScriptValue::String(value) => visitor.visit_string(value),
            ScriptValue::Bytes(value) => visitor.visit_byte_buf(value),
            ScriptValue::Entity(value) => visitor.visit_u64(value.to_bits()),
            ScriptValue::Table(ref table) if table.array.is_empty() => self.map(visitor, Keys::Any),
            ScriptValue::Table(_) | ScriptValue::Vector(_) => self.list(visitor, None),
        }
    }

    whole_numbers! {
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::Entity(entity) => visitor.visit_u64(entity.to_bits()),
            value => match u64::from_script(value) {
                Ok(number) => visitor.visit_u64(number),
                Err(value) => Err(PlainError::wrong_type(u64::expected(), describe(&value))),
            },
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::Number(value) if let Some(number) = whole(value) => {
                visitor.visit_i128(number)
            }
            _ => Err(self.wrong("whole number")),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::Number(value) if let Some(number) = whole(value) => {
                visitor.visit_u128(number)
            }
            _ => Err(self.wrong("whole number from 0")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::Number(value) => visitor.visit_f32(value as f32),
            _ => Err(self.wrong(f32::expected())),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::Number(value) => visitor.visit_f64(value),
            _ => Err(self.wrong(f64::expected())),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.wrong(bool::expected())),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        let mut chars = match &self.value {
            ScriptValue::String(text) => text.chars(),
            _ => return Err(self.wrong("string of one character")),
        };
        match (chars.next(), chars.next()) {
            (Some(only), None) => visitor.visit_char(only),
            _ => Err(self.wrong("string of one character")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::String(value) => visitor.visit_string(value),
            ScriptValue::Bytes(_) => Err(self.wrong("text in UTF-8")),
            _ => Err(self.wrong(String::expected())),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::String(value) => visitor.visit_byte_buf(value.into_bytes()),
            ScriptValue::Bytes(value) => visitor.visit_byte_buf(value),
            ScriptValue::Table(_) => self.list(visitor, None),
            _ => Err(self.wrong("string")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        match self.value {
            ScriptValue::Nil => visitor.visit_unit(),
            _ => Err(self.wrong("nil")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        self.list(visitor, None)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        self.list(visitor, Some(length))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        self.list(visitor, Some(length))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        self.map(visitor, Keys::Any)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        self.map(visitor, Keys::Names)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        const EXPECTED: &str = "name of a variant, or a table {Name = …}";
        let depth = self.inner_depth()?;
        match self.value {
            ScriptValue::String(name) => {
                let content = Self { value: ScriptValue::Nil, depth };
                visitor.visit_enum(EnumVariant { name, content })
            }
            ScriptValue::Table(ref table) if table.array.is_empty() && table.fields.len() == 1 => {
                let ScriptValue::Table(table) = self.value else { unreachable!("matched above") };
                match table.fields.into_iter().next() {
                    Some((ScriptKey::String(name), content)) => {
                        let content = Self { value: content, depth };
                        visitor.visit_enum(EnumVariant { name: name.into(), content })
                    }
                    _ => Err(PlainError::wrong_type(EXPECTED, "table")),
                }
            }
            _ => Err(self.wrong(EXPECTED)),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, PlainError> {
        visitor.visit_unit()
    }
}

/// The elements of a list.
struct ElementAccess {
    values: vec::IntoIter<ScriptValue>,
    /// How many elements were read.
    taken: usize,
    depth: usize,
}

impl<'de> SeqAccess<'de> for &mut ElementAccess {
    type Error = PlainError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, PlainError> {
        let Some(value) = self.values.next() else {
            return Ok(None);
        };
        self.taken += 1;
        seed.deserialize(ValueDeserializer { value, depth: self.depth })
            .map(Some)
            .map_err(|error| error.inside(PathStep::Element(self.taken)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

/// The entries of a table: its elements by their numbers, then its fields.
struct EntryAccess {
    elements: iter::Zip<RangeFrom<usize>, vec::IntoIter<ScriptValue>>,
    fields: vec::IntoIter<(ScriptKey, ScriptValue)>,
    /// The value of the key that was read last.
    value: Option<(EntryKey, ScriptValue)>,
    depth: usize,
}

/// A key that was read, as errors show it.
enum EntryKey {
    /// The number of an element.
    Element(usize),
    /// The key of a field.
    Field(ScriptKey),
}

impl<'de> MapAccess<'de> for EntryAccess {
    type Error = PlainError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, PlainError> {
        let (key, value, entry_key) = if let Some((number, value)) = self.elements.next() {
            (ScriptValue::Number(number as f64), value, EntryKey::Element(number))
        } else if let Some((key, value)) = self.fields.next() {
            (key.clone().into(), value, EntryKey::Field(key))
        } else {
            return Ok(None);
        };
        self.value = Some((entry_key, value));
        // A refused key is in the message of the error; the place is that of the table.
        seed.deserialize(ValueDeserializer { value: key, depth: self.depth }).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<T::Value, PlainError> {
        let Some((key, value)) = self.value.take() else {
            return Err(PlainError::other("has a value without a key"));
        };
        seed.deserialize(ValueDeserializer { value, depth: self.depth }).map_err(|error| {
            error.inside(match key {
                EntryKey::Element(number) => PathStep::Element(number),
                EntryKey::Field(key) => PathStep::Field(key.to_string().into()),
            })
        })
    }
}
