//! Values into a save.

use serde::ser::{Error, Serialize, SerializeStruct, Serializer};

use super::NESTED;
use super::flat::Flat;
use super::number::Exact;
use super::tag::{KeyTag, Tag};
use crate::value::plain::{MAX_DEPTH, too_deep};
use crate::value::{ScriptFields, ScriptKey, ScriptTable, ScriptValue};

impl Serialize for ScriptValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Within { it: self, depth: 0 }.serialize(to)
    }
}

impl Serialize for ScriptTable {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Within { it: self, depth: 0 }.serialize(to)
    }
}

/// Pairs instead of a map, so that formats whose map keys must be strings can hold the fields.
impl Serialize for ScriptFields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return Within { it: self, depth: 1 }.serialize(to);
        }
        Flat::of(&[], self, 0).serialize(to)
    }
}

impl Serialize for ScriptKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const NAME: &str = "ScriptKey";
        let tag = match self {
            Self::Number(number) if to.is_human_readable() && !number.is_finite() => {
                KeyTag::NotFinite
            }
            Self::Bool(_) => KeyTag::Bool,
            Self::Number(_) => KeyTag::Number,
            Self::String(_) => KeyTag::String,
            Self::Entity(_) => KeyTag::Entity,
        };
        let (number, name) = (tag.number(), tag.name());
        match self {
            Self::Bool(value) => to.serialize_newtype_variant(NAME, number, name, value),
            Self::Number(value) if tag == KeyTag::NotFinite => {
                to.serialize_newtype_variant(NAME, number, name, &value.to_text())
            }
            Self::Number(value) => to.serialize_newtype_variant(NAME, number, name, value),
            Self::String(value) => to.serialize_newtype_variant(NAME, number, name, &**value),
            Self::Entity(value) => {
                to.serialize_newtype_variant(NAME, number, name, &value.to_bits())
            }
        }
    }
}

/// Something that lies within so many tables.
struct Within<'v, T> {
    it: &'v T,
    depth: usize,
}

impl Serialize for Within<'_, ScriptValue> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.it {
            ScriptValue::Table(table) if !to.is_human_readable() || self.depth >= NESTED => {
                let flat = Flat::of(&table.array, &table.fields, self.depth);
                // Programs know where one comes.
                let tag = if to.is_human_readable() { Tag::Flat } else { Tag::Table };
                variant(to, tag, &flat)
            }
            ScriptValue::Table(table) => {
                variant(to, Tag::Table, &Within { it: table, depth: self.depth })
            }
            value => leaf(value, to),
        }
    }
}

/// A value that is no table.
pub(super) fn leaf<S: Serializer>(value: &ScriptValue, to: S) -> Result<S::Ok, S::Error> {
    let for_people = to.is_human_readable();
    match value {
        ScriptValue::Nil => to.serialize_unit_variant(NAME, Tag::Nil.number(), Tag::Nil.name()),
        ScriptValue::Bool(value) => variant(to, Tag::Bool, value),
        ScriptValue::Number(value) if for_people && !value.is_finite() => {
            variant(to, Tag::NotFinite, &value.to_text())
        }
        ScriptValue::Number(value) => variant(to, Tag::Number, value),
        ScriptValue::String(value) => variant(to, Tag::String, value),
        ScriptValue::Bytes(value) if for_people => variant(to, Tag::Bytes, value),
        ScriptValue::Bytes(value) => variant(to, Tag::Bytes, &Bytes(value)),
        ScriptValue::Vector(value) if for_people && !value.is_finite() => {
            variant(to, Tag::NotFiniteVector, &value.to_array().map(Exact::to_text))
        }
        ScriptValue::Vector(value) => variant(to, Tag::Vector, &value.to_array()),
        ScriptValue::Entity(value) => variant(to, Tag::Entity, &value.to_bits()),
        ScriptValue::Table(_) => Err(S::Error::custom("a table is no leaf")),
    }
}

const NAME: &str = "ScriptValue";

fn variant<S, T>(to: S, tag: Tag, value: &T) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    T: Serialize + ?Sized,
{
    to.serialize_newtype_variant(NAME, tag.number(), tag.name(), value)
}

/// Bytes as such, and no list of numbers.
struct Bytes<'b>(&'b [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

impl Serialize for Within<'_, ScriptTable> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let ScriptTable { array, fields } = self.it;
        if !to.is_human_readable() {
            return Flat::of(array, fields, self.depth).serialize(to);
        }
        if self.depth >= MAX_DEPTH {
            return Err(S::Error::custom(format!("a table {}", too_deep())));
        }
        let depth = self.depth + 1;
        let parts = usize::from(!array.is_empty()) + usize::from(!fields.is_empty());
        let mut table = to.serialize_struct("ScriptTable", parts)?;
        if array.is_empty() {
            table.skip_field("array")?;
        } else {
            table.serialize_field("array", &Within { it: array, depth })?;
        }
        if fields.is_empty() {
            table.skip_field("fields")?;
        } else {
            table.serialize_field("fields", &Within { it: fields, depth })?;
        }
        table.end()
    }
}

impl Serialize for Within<'_, Vec<ScriptValue>> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.it.iter().map(|value| Within { it: value, depth: self.depth }))
    }
}

impl Serialize for Within<'_, ScriptFields> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let pair = |(key, value)| (key, Within { it: value, depth: self.depth });
        to.collect_seq(self.it.iter().map(pair))
    }
}
