//! [`ScriptValue`] as natural data: any serde type to and from it, and it to and from any
//! self-describing format.
//!
//! [`ScriptValue`]'s own serde form is for saves: it names every variant and loses nothing. This one is
//! for people and other programs: numbers are numbers, a list is a list, fields are a map.

mod decode;
mod deserializer;
mod encode;
mod problem;
mod serializer;

pub use self::decode::{PlainSeed, PlainValue};
pub use self::encode::Plain;
pub(super) use self::problem::{Step, show_place};

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::deserializer::ValueDeserializer;
use self::serializer::ValueSerializer;
use super::{ScriptKey, ScriptTable, ScriptValue};
use crate::error::ScriptError;

/// How deep tables may nest: as deep as a VM takes them.
pub(super) const MAX_DEPTH: usize = 32;

/// The [`ScriptValue`] that a script would write for a Rust value.
///
/// | Rust | Lua |
/// | --- | --- |
/// | numbers | number; whole ones have to be exact |
/// | `String`, `char`, bytes | string |
/// | struct, map | table by field |
/// | list, set, tuple, tuple struct | table by position |
/// | newtype | what is in it |
/// | `None`, `()`, unit struct | nil: an absent field |
/// | enum | the variant's name; one that holds something is `{Name = …}` |
///
/// A field of type [`ScriptValue`] would show its form for saves; give it the type [`PlainValue`].
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
/// [`ScriptError::Inexact`] for a whole number beyond 2⁵³; [`ScriptError::Host`] for an absent value in
/// a list, a key that a table can't have, and more than 32 levels. Each names the place.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<ScriptValue, ScriptError> {
    value.serialize(ValueSerializer::new()).map_err(ScriptError::from)
}

/// The Rust value that a script's value stands for: the way back from [`to_value`].
///
/// Besides, an empty table is both an empty list and an empty map; a vector is a list of its three
/// numbers, or fields `x`, `y`, `z`; an entity is its 64 bits, as a number.
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
/// [`ScriptError::WrongType`] and [`ScriptError::UnknownField`], which name the place, such as
/// `items[3].count`; [`ScriptError::Host`] for what the type itself reports.
pub fn from_value<T: DeserializeOwned>(value: ScriptValue) -> Result<T, ScriptError> {
    T::deserialize(ValueDeserializer::new(value)).map_err(ScriptError::from)
}

/// A table in the making, whose entries may come in any order.
#[derive(Default)]
struct Draft {
    array: Vec<ScriptValue>,
    /// A tree: strangers choose the order.
    fields: BTreeMap<ScriptKey, ScriptValue>,
}

impl Draft {
    /// Adds an entry as Lua would: keys are numbers without a sign on zero, and the next element of the
    /// list goes to the list.
    fn insert(&mut self, key: ScriptKey, value: ScriptValue) {
        match key {
            ScriptKey::Number(number) if number == (self.array.len() + 1) as f64 => {
                self.array.push(value);
                while let Some(next) = self.fields.remove(&self.next_element()) {
                    self.array.push(next);
                }
            }
            ScriptKey::Number(number) => {
                // -0 and 0 are one key in Lua.
                self.fields.insert(ScriptKey::Number(number + 0.0), value);
            }
            key => {
                self.fields.insert(key, value);
            }
        }
    }

    /// Adds an element to a list.
    ///
    /// # Errors
    /// If it is nil: a list has no gaps.
    fn push(&mut self, value: ScriptValue) -> Result<(), String> {
        if value == ScriptValue::Nil {
            return Err("is nil, and a list can't hold nil; leave it out, or put another value \
                        such as false in its place"
                .to_owned());
        }
        self.array.push(value);
        Ok(())
    }

    fn holds(&self, key: &ScriptKey) -> bool {
        match key {
            ScriptKey::Number(number) if *number >= 1.0 && number.fract() == 0.0 => {
                *number <= self.array.len() as f64 || self.fields.contains_key(key)
            }
            key => self.fields.contains_key(key),
        }
    }

    fn next_element(&self) -> ScriptKey {
        ScriptKey::Number((self.array.len() + 1) as f64)
    }

    fn finish(self) -> ScriptTable {
        ScriptTable { array: self.array, fields: self.fields.into_iter().collect() }
    }
}

/// What is wrong with a value nested too deep.
pub(super) fn too_deep() -> String {
    format!("is nested deeper than {MAX_DEPTH} levels")
}

#[cfg(test)]
mod tests;
