//! Reading values from a save.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use super::context::{ReadContext, ReadPosition};
use super::flat::FlatTableSeed;
use super::leaf::read_leaf;
use super::tag::{Tag, VALUE};
use crate::value::depth::{MAX_DEPTH, too_deep};
use crate::value::trail::{PathStep, Trail};
use crate::value::types::{ScriptFields, ScriptKey, ScriptTable, ScriptValue};

impl<'de> Deserialize<'de> for ScriptValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let context = ReadContext::new(&from);
        ValueSeed(ReadPosition::root(&context)).deserialize(from)
    }
}

impl<'de> Deserialize<'de> for ScriptTable {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let context = ReadContext::new(&from);
        TableSeed(ReadPosition::root(&context)).deserialize(from)
    }
}

impl<'de> Deserialize<'de> for ScriptFields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let context = ReadContext::new(&from);
        let position = ReadPosition::root(&context);
        if context.human_readable {
            return FieldsSeed(position.inside()).deserialize(from);
        }
        let table = TableSeed(position).deserialize(from)?;
        if table.array.is_empty() {
            return Ok(table.fields);
        }
        Err(D::Error::custom("elements come where there are fields only"))
    }
}

/// Reads the `self` of a state: errors name places as a script would, such as `self.items[3]`.
pub(crate) fn deserialize_self<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<ScriptTable, D::Error> {
    let context = ReadContext::new(&from);
    let trail = Trail { step: PathStep::Field("self".into()), parent: None };
    TableSeed(ReadPosition { context: &context, trail: Some(&trail), depth: 0 }).deserialize(from)
}

/// Reads a value.
#[derive(Clone, Copy)]
struct ValueSeed<'p>(ReadPosition<'p>);

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ScriptValue;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ScriptValue, D::Error> {
        from.deserialize_enum(VALUE, Tag::NAMES, self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ScriptValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a script")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<ScriptValue, A::Error> {
        let (tag, content) = from.variant::<Tag>()?;
        Ok(match tag {
            Tag::Table => content.newtype_variant_seed(TableSeed(self.0))?.into(),
            Tag::Flat => content.newtype_variant_seed(FlatTableSeed(self.0))?.into(),
            tag => read_leaf(tag, content, self.0.context.human_readable)?,
        })
    }
}

/// Reads a table.
#[derive(Clone, Copy)]
struct TableSeed<'p>(ReadPosition<'p>);

impl<'de> DeserializeSeed<'de> for TableSeed<'_> {
    type Value = ScriptTable;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ScriptTable, D::Error> {
        if !self.0.context.human_readable {
            return FlatTableSeed(self.0).deserialize(from);
        }
        if self.0.depth >= MAX_DEPTH {
            return Err(D::Error::custom(too_deep()));
        }
        let read = from.deserialize_struct("ScriptTable", &["array", "fields"], self);
        read.map_err(|error| self.0.locate(error))
    }
}

/// The fields of [`ScriptTable`].
#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum TablePart {
    Array,
    Fields,
}

impl<'de> Visitor<'de> for TableSeed<'_> {
    type Value = ScriptTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table: `array` and `fields`, of which each may be missing")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<ScriptTable, A::Error> {
        let inside = self.0.inside();
        let (mut array, mut fields) = (None, None);
        while let Some(part) = from.next_key()? {
            match part {
                TablePart::Array if array.is_some() => {
                    return Err(A::Error::duplicate_field("array"));
                }
                TablePart::Fields if fields.is_some() => {
                    return Err(A::Error::duplicate_field("fields"));
                }
                TablePart::Array => array = Some(from.next_value_seed(ArraySeed(inside))?),
                TablePart::Fields => fields = Some(from.next_value_seed(FieldsSeed(inside))?),
            }
        }
        Ok(ScriptTable { array: array.unwrap_or_default(), fields: fields.unwrap_or_default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<ScriptTable, A::Error> {
        let inside = self.0.inside();
        let array = from.next_element_seed(ArraySeed(inside))?.unwrap_or_default();
        let fields = from.next_element_seed(FieldsSeed(inside))?.unwrap_or_default();
        Ok(ScriptTable { array, fields })
    }
}

/// Reads the elements of a table. The position is inside the table.
#[derive(Clone, Copy)]
struct ArraySeed<'p>(ReadPosition<'p>);

impl<'de> DeserializeSeed<'de> for ArraySeed<'_> {
    type Value = Vec<ScriptValue>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ArraySeed<'_> {
    type Value = Vec<ScriptValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut array = Vec::new();
        loop {
            let step = PathStep::Element(array.len() + 1);
            let trail = Trail { step, parent: self.0.trail };
            let position = ReadPosition { trail: Some(&trail), ..self.0 };
            let read = from.next_element_seed(ValueSeed(position));
            match read.map_err(|error| position.locate(error))? {
                Some(value) => array.push(value),
                None => return Ok(array),
            }
        }
    }
}

/// Reads the fields of a table: a list of pairs or, as other programs write them, a map. The position is inside the
/// table.
#[derive(Clone, Copy)]
struct FieldsSeed<'p>(ReadPosition<'p>);

impl FieldsSeed<'_> {
    fn finish<E: Error>(self, fields: Vec<(ScriptKey, ScriptValue)>) -> Result<ScriptFields, E> {
        ScriptFields::distinct(fields).map_err(|error| self.0.locate(E::custom(error)))
    }
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_> {
    type Value = ScriptFields;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ScriptFields, D::Error> {
        // Every human-readable format is self-describing.
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldsSeed<'_> {
    type Value = ScriptFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pairs, each a key and a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<ScriptFields, A::Error> {
        let mut fields = Vec::new();
        loop {
            let read = from.next_element_seed(PairSeed(self.0));
            match read.map_err(|error| self.0.locate(error))? {
                Some(pair) => fields.push(pair),
                None => return self.finish(fields),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<ScriptFields, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = from.next_key::<ScriptKey>()? {
            let trail = Trail { step: PathStep::Key(&key), parent: self.0.trail };
            let position = ReadPosition { trail: Some(&trail), ..self.0 };
            let read = from.next_value_seed(ValueSeed(position));
            let value = read.map_err(|error| position.locate(error))?;
            fields.push((key, value));
        }
        self.finish(fields)
    }
}

/// Reads a key and its value.
#[derive(Clone, Copy)]
struct PairSeed<'p>(ReadPosition<'p>);

impl<'de> DeserializeSeed<'de> for PairSeed<'_> {
    type Value = (ScriptKey, ScriptValue);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for PairSeed<'_> {
    type Value = (ScriptKey, ScriptValue);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key and a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let key = from.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let trail = Trail { step: PathStep::Key(&key), parent: self.0.trail };
        let position = ReadPosition { trail: Some(&trail), ..self.0 };
        let wrong_length = |length| position.locate(A::Error::invalid_length(length, &self));
        let read = from.next_element_seed(ValueSeed(position));
        let value = read.map_err(|error| position.locate(error))?.ok_or_else(|| wrong_length(1))?;
        if from.next_element::<IgnoredAny>()?.is_some() {
            return Err(wrong_length(3));
        }
        Ok((key, value))
    }
}
