//! What stands before a value: which kind of value it is.

use serde::Deserialize;

/// The kinds of values. Programs know them by number: new ones come at the end.
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

    pub(super) const fn number(self) -> u32 {
        self as u32
    }

    pub(super) const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// The kinds of keys.
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

    pub(super) const fn number(self) -> u32 {
        self as u32
    }

    pub(super) const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}
