//! Values out of a save.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use bevy::prelude::{Entity, Vec3};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use smol_str::SmolStr;

use super::flat::{self, Read};
use super::number::Exact;
use super::tag::{KeyTag, Tag};
use crate::value::plain::{MAX_DEPTH, Step, show_place, too_deep};
use crate::value::{ScriptFields, ScriptKey, ScriptTable, ScriptValue};

impl<'de> Deserialize<'de> for ScriptValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let reading = Reading::new(&from);
        match ValueSeed::new(&reading, At::ROOT, 0).deserialize(from)? {
            Read::Leaf(value) => Ok(value),
            Read::Table(..) => Err(D::Error::custom("a token is no value")),
        }
    }
}

impl<'de> Deserialize<'de> for ScriptTable {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let reading = Reading::new(&from);
        TableSeed { reading: &reading, at: At::ROOT, depth: 0 }.deserialize(from)
    }
}

impl<'de> Deserialize<'de> for ScriptFields {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let reading = Reading::new(&from);
        if reading.for_people {
            return FieldsSeed { reading: &reading, at: At::ROOT, depth: 1 }.deserialize(from);
        }
        let table = TableSeed { reading: &reading, at: At::ROOT, depth: 0 }.deserialize(from)?;
        if table.array.is_empty() {
            return Ok(table.fields);
        }
        Err(D::Error::custom("elements come where there are fields only"))
    }
}

impl<'de> Deserialize<'de> for ScriptKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_enum("ScriptKey", KeyTag::NAMES, KeyVisitor)
    }
}

/// The `self` of a state, so that errors name places as a script would.
pub(crate) fn self_of_state<'de, D: Deserializer<'de>>(from: D) -> Result<ScriptTable, D::Error> {
    let reading = Reading::new(&from);
    let step = Step::Field("self".to_owned());
    let at = At { step: Some(&step), around: None };
    TableSeed { reading: &reading, at, depth: 0 }.deserialize(from)
}

/// A text of which the format says how long it is: no room is made for what doesn't come.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    from.deserialize_str(TextVisitor)
}

/// A list whose errors tell the number of the element.
pub(crate) fn numbered<'de, T, D>(from: D, what: &'static str) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_seq(Numbered { what, element: PhantomData })
}

struct Numbered<T> {
    what: &'static str,
    element: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Numbered<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list: a {} after the other", self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        loop {
            let told = |error| told(&format!("{} {}", self.what, list.len() + 1), error);
            match from.next_element().map_err(told)? {
                Some(element) => list.push(element),
                None => return Ok(list),
            }
        }
    }
}

/// An error with the place where it was, if the format keeps what it is told.
fn told<E: Error>(place: &str, error: E) -> E {
    let told = E::custom(format_args!("{place}: {error}"));
    if told.to_string().contains(place) { told } else { error }
}

/// What is known of the whole while it is read.
pub(super) struct Reading {
    for_people: bool,
    /// The error has its place already.
    is_told: Cell<bool>,
}

impl Reading {
    fn new<'de, D: Deserializer<'de>>(from: &D) -> Self {
        Self { for_people: from.is_human_readable(), is_told: Cell::new(false) }
    }

    /// Says of an error where it was: at the end of these steps.
    pub(super) fn tell<E: Error>(&self, at: At<'_>, steps: &[Step], error: E) -> E {
        let mut place = at.steps();
        place.extend(steps);
        if place.is_empty() || self.is_told.replace(true) {
            return error;
        }
        told(&format!("`{}`", show_place(place.into_iter())), error)
    }
}

/// A place within the whole, as the way back to it.
#[derive(Clone, Copy)]
pub(super) struct At<'p> {
    step: Option<&'p Step>,
    around: Option<&'p Self>,
}

impl<'p> At<'p> {
    const ROOT: At<'static> = At { step: None, around: None };

    const fn inside(&'p self, step: &'p Step) -> Self {
        Self { step: Some(step), around: Some(self) }
    }

    fn steps(&self) -> Vec<&'p Step> {
        let mut steps = Vec::new();
        let mut at = Some(*self);
        while let Some(At { step, around }) = at {
            steps.extend(step);
            at = around.copied();
        }
        steps.reverse();
        steps
    }
}

/// Reads a value, or a token.
#[derive(Clone, Copy)]
pub(super) struct ValueSeed<'p> {
    reading: &'p Reading,
    at: At<'p>,
    /// The tables around it.
    depth: usize,
    of_tokens: bool,
}

impl<'p> ValueSeed<'p> {
    const fn new(reading: &'p Reading, at: At<'p>, depth: usize) -> Self {
        Self { reading, at, depth, of_tokens: false }
    }

    pub(super) const fn token(reading: &'p Reading) -> Self {
        Self { reading, at: At::ROOT, depth: 0, of_tokens: true }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Read, D::Error> {
        from.deserialize_enum("ScriptValue", Tag::NAMES, self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a script")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<Read, A::Error> {
        let (tag, content) = from.variant::<Tag>()?;
        let value = match tag {
            Tag::Nil => {
                content.unit_variant()?;
                ScriptValue::Nil
            }
            Tag::Bool => ScriptValue::Bool(content.newtype_variant()?),
            Tag::Number => ScriptValue::Number(content.newtype_variant()?),
            Tag::String => ScriptValue::String(content.newtype_variant_seed(Text)?),
            Tag::Bytes => {
                let for_people = self.reading.for_people;
                ScriptValue::Bytes(content.newtype_variant_seed(BytesSeed { for_people })?)
            }
            Tag::Vector => ScriptValue::Vector(Vec3::from_array(content.newtype_variant()?)),
            Tag::Entity => ScriptValue::Entity(entity(content.newtype_variant()?)?),
            Tag::NotFinite => ScriptValue::Number(number(&content.newtype_variant_seed(Text)?)?),
            Tag::NotFiniteVector => {
                let [x, y, z] = content.newtype_variant::<[TextValue; 3]>()?;
                ScriptValue::Vector(Vec3::new(number(&x.0)?, number(&y.0)?, number(&z.0)?))
            }
            Tag::Table if self.of_tokens => {
                let (array, fields) = content.newtype_variant()?;
                return Ok(Read::Table(array, fields));
            }
            Tag::Flat if self.of_tokens => {
                return Err(A::Error::custom("a list of tokens is no token"));
            }
            Tag::Table => content.newtype_variant_seed(TableSeed::of(self))?.into(),
            Tag::Flat => content.newtype_variant_seed(FlatSeed(TableSeed::of(self)))?.into(),
        };
        Ok(Read::Leaf(value))
    }
}

/// Reads a table.
#[derive(Clone, Copy)]
struct TableSeed<'p> {
    reading: &'p Reading,
    at: At<'p>,
    /// The tables around it.
    depth: usize,
}

impl<'p> TableSeed<'p> {
    const fn of(seed: ValueSeed<'p>) -> Self {
        Self { reading: seed.reading, at: seed.at, depth: seed.depth }
    }

    /// Reads what is in the table.
    fn array(self) -> ArraySeed<'p> {
        ArraySeed { reading: self.reading, at: self.at, depth: self.depth + 1 }
    }

    fn fields(self) -> FieldsSeed<'p> {
        FieldsSeed { reading: self.reading, at: self.at, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for TableSeed<'_> {
    type Value = ScriptTable;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ScriptTable, D::Error> {
        if !self.reading.for_people {
            return FlatSeed(self).deserialize(from);
        }
        if self.depth >= MAX_DEPTH {
            return Err(D::Error::custom(too_deep()));
        }
        let read = from.deserialize_struct("ScriptTable", &["array", "fields"], self);
        read.map_err(|error| self.reading.tell(self.at, &[], error))
    }
}

/// The parts of a table.
#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Part {
    Array,
    Fields,
}

impl<'de> Visitor<'de> for TableSeed<'_> {
    type Value = ScriptTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table: `array` and `fields`, of which each may be missing")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<ScriptTable, A::Error> {
        let (mut array, mut fields) = (None, None);
        while let Some(part) = from.next_key()? {
            match part {
                Part::Array if array.is_some() => return Err(A::Error::duplicate_field("array")),
                Part::Fields if fields.is_some() => {
                    return Err(A::Error::duplicate_field("fields"));
                }
                Part::Array => array = Some(from.next_value_seed(self.array())?),
                Part::Fields => fields = Some(from.next_value_seed(self.fields())?),
            }
        }
        Ok(ScriptTable { array: array.unwrap_or_default(), fields: fields.unwrap_or_default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<ScriptTable, A::Error> {
        let array = from.next_element_seed(self.array())?.unwrap_or_default();
        let fields = from.next_element_seed(self.fields())?.unwrap_or_default();
        Ok(ScriptTable { array, fields })
    }
}

/// Reads a table that is a list of tokens.
struct FlatSeed<'p>(TableSeed<'p>);

impl<'de> DeserializeSeed<'de> for FlatSeed<'_> {
    type Value = ScriptTable;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ScriptTable, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for FlatSeed<'_> {
    type Value = ScriptTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table as a list of what is in it")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, from: A) -> Result<ScriptTable, A::Error> {
        flat::read(from, self.0.at, self.0.reading, self.0.depth)
    }
}

/// Reads the elements of a table.
#[derive(Clone, Copy)]
struct ArraySeed<'p> {
    reading: &'p Reading,
    at: At<'p>,
    /// The tables around each of them.
    depth: usize,
}

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
            let step = Step::Element(array.len() + 1);
            let at = self.at.inside(&step);
            let seed = ValueSeed::new(self.reading, at, self.depth);
            let read = from.next_element_seed(seed);
            match read.map_err(|error| self.reading.tell(at, &[], error))? {
                Some(Read::Leaf(value)) => array.push(value),
                Some(Read::Table(..)) => return Err(A::Error::custom("a token is no value")),
                None => return Ok(array),
            }
        }
    }
}

/// Reads the fields of a table: as a list of pairs or, as other programs write them, as a map.
#[derive(Clone, Copy)]
struct FieldsSeed<'p> {
    reading: &'p Reading,
    at: At<'p>,
    /// The tables around each of them.
    depth: usize,
}

impl FieldsSeed<'_> {
    fn finish<E: Error>(self, fields: Vec<(ScriptKey, ScriptValue)>) -> Result<ScriptFields, E> {
        let told = |error| self.reading.tell(self.at, &[], E::custom(error));
        ScriptFields::distinct(fields).map_err(told)
    }
}

impl<'de> DeserializeSeed<'de> for FieldsSeed<'_> {
    type Value = ScriptFields;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ScriptFields, D::Error> {
        // All formats for people describe themselves.
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
            let read = from.next_element_seed(PairSeed(self));
            match read.map_err(|error| self.reading.tell(self.at, &[], error))? {
                Some(pair) => fields.push(pair),
                None => return self.finish(fields),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<ScriptFields, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = from.next_key::<ScriptKey>()? {
            let step = Step::of_key(&key);
            let at = self.at.inside(&step);
            let read = from.next_value_seed(ValueSeed::new(self.reading, at, self.depth));
            match read.map_err(|error| self.reading.tell(at, &[], error))? {
                Read::Leaf(value) => fields.push((key, value)),
                Read::Table(..) => return Err(A::Error::custom("a token is no value")),
            }
        }
        self.finish(fields)
    }
}

/// Reads a key and its value.
#[derive(Clone, Copy)]
struct PairSeed<'p>(FieldsSeed<'p>);

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
        let FieldsSeed { reading, at, depth } = self.0;
        let key = from.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let step = Step::of_key(&key);
        let at = at.inside(&step);
        let seed = ValueSeed::new(reading, at, depth);
        let read = from.next_element_seed(seed).map_err(|error| reading.tell(at, &[], error))?;
        let Some(Read::Leaf(value)) = read else {
            let error = A::Error::invalid_length(1, &self);
            return Err(reading.tell(at, &[], error));
        };
        if from.next_element::<IgnoredAny>()?.is_some() {
            let error = A::Error::invalid_length(3, &self);
            return Err(reading.tell(at, &[], error));
        }
        Ok((key, value))
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = ScriptKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key: a boolean, a number, a string or an entity")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<ScriptKey, A::Error> {
        let (tag, content) = from.variant::<KeyTag>()?;
        Ok(match tag {
            KeyTag::Bool => ScriptKey::Bool(content.newtype_variant()?),
            KeyTag::Number => ScriptKey::Number(content.newtype_variant()?),
            KeyTag::String => ScriptKey::String(SmolStr::from(content.newtype_variant_seed(Text)?)),
            KeyTag::Entity => ScriptKey::Entity(entity(content.newtype_variant()?)?),
            KeyTag::NotFinite => ScriptKey::Number(number(&content.newtype_variant_seed(Text)?)?),
        })
    }
}

fn entity<E: Error>(bits: u64) -> Result<Entity, E> {
    Entity::try_from_bits(bits).ok_or_else(|| E::custom(format!("{bits} is not an entity")))
}

fn number<T: Exact, E: Error>(text: &str) -> Result<T, E> {
    T::from_text(text).map_err(E::custom)
}

struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        text(from)
    }
}

struct TextValue(String);

impl<'de> Deserialize<'de> for TextValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        text(from).map(Self)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }
}

struct BytesSeed {
    for_people: bool,
}

impl<'de> DeserializeSeed<'de> for BytesSeed {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<u8>, D::Error> {
        if self.for_people { from.deserialize_seq(self) } else { from.deserialize_bytes(self) }
    }
}

impl<'de> Visitor<'de> for BytesSeed {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_owned())
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(bytes)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = from.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}
