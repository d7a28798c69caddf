//! Values other than tables in saves.

use bevy::prelude::{Entity, Vec3};
use serde::de::{Error as _, VariantAccess};
use serde::ser::{Error as _, Serialize, Serializer};

use super::number::{LosslessText, number_from_text};
use super::tag::Tag;
use super::text::{BytesSeed, TextElement, TextSeed};
use crate::value::types::ScriptValue;

/// Writes a value that is not a table.
pub(super) fn write_leaf<S: Serializer>(value: &ScriptValue, to: S) -> Result<S::Ok, S::Error> {
    let human_readable = to.is_human_readable();
    match value {
        ScriptValue::Nil => Tag::Nil.write_unit(to),
        ScriptValue::Bool(value) => Tag::Bool.write(to, value),
        ScriptValue::Number(value) if human_readable && !value.is_finite() => {
            Tag::NotFinite.write(to, &value.to_text())
        }
        ScriptValue::Number(value) => Tag::Number.write(to, value),
        ScriptValue::String(value) => Tag::String.write(to, value),
        ScriptValue::Bytes(value) if human_readable => Tag::Bytes.write(to, value),
        ScriptValue::Bytes(value) => Tag::Bytes.write(to, &RawBytes(value)),
        ScriptValue::Vector(value) if human_readable && !value.is_finite() => {
            Tag::NotFiniteVector.write(to, &value.to_array().map(LosslessText::to_text))
        }
        ScriptValue::Vector(value) => Tag::Vector.write(to, &value.to_array()),
        ScriptValue::Entity(value) => Tag::Entity.write(to, &value.to_bits()),
        ScriptValue::Table(_) => Err(S::Error::custom("a table is no leaf")),
    }
}

/// Bytes as such instead of as a list of numbers.
struct RawBytes<'b>(&'b [u8]);

impl Serialize for RawBytes<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

/// Reads the content of a value that is not a table.
pub(super) fn read_leaf<'de, A: VariantAccess<'de>>(
    tag: Tag,
    content: A,
    human_readable: bool,
) -> Result<ScriptValue, A::Error> {
    Ok(match tag {
        Tag::Nil => {
            content.unit_variant()?;
            ScriptValue::Nil
        }
        Tag::Bool => ScriptValue::Bool(content.newtype_variant()?),
        Tag::Number => ScriptValue::Number(content.newtype_variant()?),
        Tag::String => ScriptValue::String(content.newtype_variant_seed(TextSeed)?),
        Tag::Bytes => {
            ScriptValue::Bytes(content.newtype_variant_seed(BytesSeed { human_readable })?)
        }
        Tag::Vector => ScriptValue::Vector(Vec3::from_array(content.newtype_variant()?)),
        Tag::Entity => ScriptValue::Entity(entity_from_bits(content.newtype_variant()?)?),
        Tag::NotFinite => {
            ScriptValue::Number(number_from_text(&content.newtype_variant_seed(TextSeed)?)?)
        }
        Tag::NotFiniteVector => {
            let [x, y, z] = content.newtype_variant::<[TextElement; 3]>()?;
            ScriptValue::Vector(Vec3::new(
                number_from_text(&x.0)?,
                number_from_text(&y.0)?,
                number_from_text(&z.0)?,
            ))
        }
        Tag::Table | Tag::Flat => return Err(A::Error::custom("a table is no leaf")),
    })
}

pub(super) fn entity_from_bits<E: serde::de::Error>(bits: u64) -> Result<Entity, E> {
    Entity::try_from_bits(bits).ok_or_else(|| E::custom(format!("{bits} is not an entity")))
}
