//! Values as natural data: [`to_value`] and [`from_value`] for any serde type, [`Plain`] and [`PlainValue`] for any
//! self-describing format.
//!
//! [`ScriptValue`]'s own serde form is for saves: it names every variant and is lossless. This one is for people and
//! other programs: numbers are numbers, a list is a list, fields are a map.

mod decode;
mod deserializer;
mod encode;
mod error;
mod serializer;
mod table;
mod variant;

pub use self::decode::{PlainSeed, PlainValue};
pub use self::encode::Plain;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::deserializer::ValueDeserializer;
use self::serializer::ValueSerializer;
use super::types::ScriptValue;
use crate::error::ScriptError;

/// Converts a Rust value to the [`ScriptValue`] that a script would write for it.
///
/// | Rust | Lua |
/// | --- | --- |
/// | numbers | number; whole numbers have to be exact |
/// | `String`, `char`, bytes | string |
/// | struct, map | table by field |
/// | list, set, tuple, tuple struct | table by position |
/// | newtype | its content |
/// | `None`, `()`, unit struct | nil: an absent field |
/// | enum | the variant's name; `{Name = …}` for a variant with content |
///
/// A field of type [`ScriptValue`] would be converted from its form for saves; use [`PlainValue`] there.
///
/// ```
/// # use bevy_lua_pool::{ScriptValue, to_value};
/// #[derive(serde::Serialize)]
/// struct Item { name: String, count: u32, owner: Option<String> }
///
/// let sword = Item { name: "sword".into(), count: 1, owner: None };
/// let value = to_value(&sword).expect("plain data");
/// assert_eq!(value.to_string(), r#"{count = 1, name = "sword"}"#);
/// ```
///
/// # Errors
/// [`ScriptError::Inexact`] for a whole number beyond 2⁵³; [`ScriptError::Host`] for an absent value in a list, a key
/// that a table can't have, and more than 32 levels. Each names the place.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<ScriptValue, ScriptError> {
    value.serialize(ValueSerializer::new()).map_err(ScriptError::from)
}

/// Converts a [`ScriptValue`] to any Rust type that serde can deserialize: the inverse of [`to_value`].
///
/// In addition, an empty table is both an empty list and an empty map; a vector is a list of its three numbers, or a
/// struct with the fields `x`, `y`, `z`; an entity is its 64 bits as a number.
///
/// ```
/// # use bevy_lua_pool::{ScriptTable, from_value};
/// #[derive(serde::Deserialize)]
/// struct Quiver { arrows: u8 }
///
/// let table = ScriptTable::from([("arrows", 300.0)]);
/// let error = from_value::<Quiver>(table.into()).err().expect("300 is no u8");
/// assert_eq!(error.to_string(), "`arrows` takes whole number from 0 to 255, got number 300");
/// ```
///
/// # Errors
/// [`ScriptError::WrongType`] and [`ScriptError::UnknownField`], which name the place, such as `items[3].count`;
/// [`ScriptError::Host`] for errors of the type's own implementation.
pub fn from_value<T: DeserializeOwned>(value: ScriptValue) -> Result<T, ScriptError> {
    T::deserialize(ValueDeserializer::new(value)).map_err(ScriptError::from)
}

#[cfg(test)]
mod tests;
