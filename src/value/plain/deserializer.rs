//! A [`ScriptValue`] into any serde type.

use std::vec;

use bevy::prelude::Vec3;
use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::problem::{Problem, Step};
use super::{MAX_DEPTH, too_deep};
use crate::value::convert::{FromScript, MAX_EXACT, describe, whole};
use crate::value::{ScriptKey, ScriptTable, ScriptValue};

/// Reads the value of one place.
pub(super) struct ValueDeserializer {
    value: ScriptValue,
    depth: usize,
}

impl ValueDeserializer {
    pub(super) const fn new(value: ScriptValue) -> Self {
        Self { value, depth: 0 }
    }

    fn wrong(self, expected: impl Into<String>) -> Problem {
        Problem::wrong_type(expected, describe(&self.value))
    }

    /// The depth of what is in this table.
    fn deeper(&self) -> Result<usize, Problem> {
        if self.depth >= MAX_DEPTH {
            return Err(Problem::other(too_deep()));
        }
        Ok(self.depth + 1)
    }

    /// A list with as many elements as it has.
    fn list<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        length: Option<usize>,
    ) -> Result<V::Value, Problem> {
        let depth = self.deeper()?;
        let values = match self.value {
            // A vector without z passes for a pair.
            ScriptValue::Vector(vector) if length == Some(2) && vector.z == 0.0 => {
                vec![vector.x.into(), vector.y.into()]
            }
            ScriptValue::Vector(vector) => vector.to_array().map(ScriptValue::from).to_vec(),
            ScriptValue::Table(table) if table.fields.is_empty() => table.array,
            ScriptValue::Table(table) if !table.array.is_empty() => return Err(mixed(&table)),
            _ => return Err(self.wrong("list")),
        };
        let length = values.len();
        let mut elements = Elements { values: values.into_iter(), taken: 0, depth };
        let read = visitor.visit_seq(&mut elements)?;
        if elements.values.len() > 0 {
            let expected = format!("list of length {}", elements.taken);
            return Err(Problem::wrong_type(expected, format!("list of length {length}")));
        }
        Ok(read)
    }

    /// A table by key; `keys` says what is meant to be in it.
    fn map<'de, V: Visitor<'de>>(self, visitor: V, keys: Keys) -> Result<V::Value, Problem> {
        let depth = self.deeper()?;
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
            return Err(Problem::wrong_type("table by field", format!("one with the key {key}")));
        }
        let elements = (1_usize..).zip(table.array);
        visitor.visit_map(Entries {
            elements,
            fields: table.fields.into_iter(),
            value: None,
            depth,
        })
    }
}

/// What the keys of a table are meant to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// Names of fields.
    Names,
    /// Anything.
    Any,
}

/// A key that is no name.
fn odd_key(table: &ScriptTable) -> Option<ScriptKey> {
    if !table.array.is_empty() {
        return Some(ScriptKey::Number(1.0));
    }
    table.fields.keys().find(|key| !matches!(key, ScriptKey::String(_))).cloned()
}

fn mixed(table: &ScriptTable) -> Problem {
    let field = table.fields.keys().next().map(ToString::to_string).unwrap_or_default();
    Problem::wrong_type(
        "list",
        format!("a table that has the field `{field}` besides its elements"),
    )
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $int:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            match <$int>::from_script(self.value) {
                Ok(number) => visitor.$visit(number),
                Err(value) => Err(Problem::wrong_type(<$int>::expected(), describe(&value))),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for ValueDeserializer {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::Nil => visitor.visit_unit(),
            ScriptValue::Bool(value) => visitor.visit_bool(value),
            ScriptValue::Number(value) => match whole_number(value) {
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

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::Entity(entity) => visitor.visit_u64(entity.to_bits()),
            value => match u64::from_script(value) {
                Ok(number) => visitor.visit_u64(number),
                Err(value) => Err(Problem::wrong_type(u64::expected(), describe(&value))),
            },
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::Number(value) if let Some(number) = whole(value) => {
                visitor.visit_i128(number)
            }
            _ => Err(self.wrong("whole number")),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::Number(value) if let Some(number) = whole(value) => {
                visitor.visit_u128(number)
            }
            _ => Err(self.wrong("whole number from 0")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::Number(value) => visitor.visit_f32(value as f32),
            _ => Err(self.wrong(f32::expected())),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::Number(value) => visitor.visit_f64(value),
            _ => Err(self.wrong(f64::expected())),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.wrong(bool::expected())),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let mut chars = match &self.value {
            ScriptValue::String(text) => text.chars(),
            _ => return Err(self.wrong("string of one character")),
        };
        match (chars.next(), chars.next()) {
            (Some(only), None) => visitor.visit_char(only),
            _ => Err(self.wrong("string of one character")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::String(value) => visitor.visit_string(value),
            ScriptValue::Bytes(_) => Err(self.wrong("text in UTF-8")),
            _ => Err(self.wrong(String::expected())),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::String(value) => visitor.visit_byte_buf(value.into_bytes()),
            ScriptValue::Bytes(value) => visitor.visit_byte_buf(value),
            ScriptValue::Table(_) => self.list(visitor, None),
            _ => Err(self.wrong("string")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            ScriptValue::Nil => visitor.visit_unit(),
            _ => Err(self.wrong("nil")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.list(visitor, None)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.list(visitor, Some(length))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.list(visitor, Some(length))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.map(visitor, Keys::Any)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.map(visitor, Keys::Names)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        const EXPECTED: &str = "name of a variant, or a table {Name = …}";
        let depth = self.deeper()?;
        match self.value {
            ScriptValue::String(name) => {
                visitor.visit_enum(Variant { name, content: ScriptValue::Nil, depth })
            }
            ScriptValue::Table(ref table) if table.array.is_empty() && table.fields.len() == 1 => {
                let ScriptValue::Table(table) = self.value else { unreachable!("matched above") };
                match table.fields.into_iter().next() {
                    Some((ScriptKey::String(name), content)) => {
                        visitor.visit_enum(Variant { name: name.into(), content, depth })
                    }
                    _ => Err(Problem::wrong_type(EXPECTED, "table")),
                }
            }
            _ => Err(self.wrong(EXPECTED)),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_string(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }
}

/// The number as a whole one, if it is one and exact; -0 has no such form.
pub(super) fn whole_number(number: f64) -> Option<i64> {
    if number.abs() > MAX_EXACT || (number == 0.0 && number.is_sign_negative()) {
        return None;
    }
    whole(number)
}

struct Elements {
    values: vec::IntoIter<ScriptValue>,
    taken: usize,
    depth: usize,
}

impl<'de> SeqAccess<'de> for &mut Elements {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(value) = self.values.next() else {
            return Ok(None);
        };
        self.taken += 1;
        let place = Step::Element(self.taken);
        seed.deserialize(ValueDeserializer { value, depth: self.depth })
            .map(Some)
            .map_err(|problem| problem.inside(place))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

struct Entries {
    elements: std::iter::Zip<std::ops::RangeFrom<usize>, vec::IntoIter<ScriptValue>>,
    fields: vec::IntoIter<(ScriptKey, ScriptValue)>,
    /// The value of the key that was read last.
    value: Option<(Step, ScriptValue)>,
    depth: usize,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let (key, step, value) = if let Some((number, value)) = self.elements.next() {
            (ScriptValue::Number(number as f64), Step::Element(number), value)
        } else if let Some((key, value)) = self.fields.next() {
            let step = Step::Field(key.to_string());
            let key = match key {
                ScriptKey::Bool(key) => ScriptValue::Bool(key),
                ScriptKey::Number(key) => ScriptValue::Number(key),
                ScriptKey::String(key) => ScriptValue::String(key.into()),
                ScriptKey::Entity(key) => ScriptValue::Entity(key),
            };
            (key, step, value)
        } else {
            return Ok(None);
        };
        self.value = Some((step, value));
        let key = ValueDeserializer { value: key, depth: self.depth };
        // A key that is refused is in the message; the place is that of the table.
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Problem> {
        let Some((step, value)) = self.value.take() else {
            return Err(Problem::other("has a value without a key"));
        };
        seed.deserialize(ValueDeserializer { value, depth: self.depth })
            .map_err(|problem| problem.inside(step))
    }
}

/// A variant and what it holds.
struct Variant {
    name: String,
    content: ScriptValue,
    depth: usize,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Problem;
    type Variant = Content;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content), Problem> {
        let name: StringDeserializer<Problem> = self.name.clone().into_deserializer();
        let content = ValueDeserializer { value: self.content, depth: self.depth };
        Ok((seed.deserialize(name)?, Content { name: self.name, content }))
    }
}

struct Content {
    name: String,
    content: ValueDeserializer,
}

impl Content {
    fn within<T>(name: String, read: Result<T, Problem>) -> Result<T, Problem> {
        read.map_err(|problem| problem.inside(Step::Field(name)))
    }
}

impl<'de> VariantAccess<'de> for Content {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        match self.content.value {
            ScriptValue::Nil => Ok(()),
            _ => Self::within(self.name, Err(self.content.wrong("nothing"))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        Self::within(self.name, seed.deserialize(self.content))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        Self::within(self.name, self.content.list(visitor, Some(length)))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        Self::within(self.name, self.content.map(visitor, Keys::Names))
    }
}
