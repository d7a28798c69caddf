//! The tags that name the kind of a value or a key, as serde's variants of an enum.

use serde::Deserialize;
use serde::ser::{Serialize, Serializer};

/// The name of the enum of values.
pub(super) const VALUE: &str = "ScriptValue";

/// The name of the enum of keys.
pub(super) const KEY: &str = "ScriptKey";

/// The kinds of values. Binary formats store the number: append new ones at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(variant_identifier)]
pub(super) enum Tag {
    Nil,
    Bool,
    Number,
    String,
    Bytes,
    Vector,
    Entity,
    Table,
    /// A number that some formats don't have, as text.
    NotFinite,
    /// A vector with such numbers.
    NotFiniteVector,
    /// A table as a list of tokens.
    Flat,
}

impl Tag {
    pub(super) const NAMES: &[&str] = &[
        "Nil",
        "Bool",
        "Number",
        "String",
        "Bytes",
        "Vector",
        "Entity",
        "Table",
        "NotFinite",
        "NotFiniteVector",
        "Flat",
    ];

    /// Writes the tag alone.
    pub(super) fn write_unit<S: Serializer>(self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_unit_variant(VALUE, self as u32, Self::NAMES[self as usize])
    }

    /// Writes the tag with its content.
    pub(super) fn write<S, T>(self, to: S, content: &T) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Serialize + ?Sized,
    {
        to.serialize_newtype_variant(VALUE, self as u32, Self::NAMES[self as usize], content)
    }
}

/// The kinds of keys. Binary formats store the number: append new ones at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(variant_identifier)]
pub(super) enum KeyTag {
    Bool,
    Number,
    String,
    Entity,
    NotFinite,
}

impl KeyTag {
    pub(super) const NAMES: &[&str] = &["Bool", "Number", "String", "Entity", "NotFinite"];

    /// Writes the tag with its content.
    pub(super) fn write<S, T>(self, to: S, content: &T) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Serialize + ?Sized,
    {
        to.serialize_newtype_variant(KEY, self as u32, Self::NAMES[self as usize], content)
    }
}
