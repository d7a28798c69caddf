//! Keys in saves.

use std::fmt;

use serde::de::{Deserialize, Deserializer, EnumAccess, VariantAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use smol_str::SmolStr;

use super::leaf::entity_from_bits;
use super::number::{LosslessText, number_from_text};
use super::tag::{KEY, KeyTag};
use super::text::TextSeed;
use crate::value::types::ScriptKey;

impl Serialize for ScriptKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => KeyTag::Bool.write(to, value),
            Self::Number(value) if to.is_human_readable() && !value.is_finite() => {
                KeyTag::NotFinite.write(to, &value.to_text())
            }
            Self::Number(value) => KeyTag::Number.write(to, value),
            Self::String(value) => KeyTag::String.write(to, &**value),
            Self::Entity(value) => KeyTag::Entity.write(to, &value.to_bits()),
        }
    }
}

impl<'de> Deserialize<'de> for ScriptKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_enum(KEY, KeyTag::NAMES, KeyVisitor)
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
            KeyTag::String => {
                ScriptKey::String(SmolStr::from(content.newtype_variant_seed(TextSeed)?))
            }
            KeyTag::Entity => ScriptKey::Entity(entity_from_bits(content.newtype_variant()?)?),
            KeyTag::NotFinite => {
                ScriptKey::Number(number_from_text(&content.newtype_variant_seed(TextSeed)?)?)
            }
        })
    }
}
