//! [`Plain`]: a [`ScriptValue`] written to any format.

use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::value::convert::exact_integer;
use crate::value::depth::{MAX_DEPTH, too_deep};
use crate::value::trail::{PathStep, Trail, show_path};
use crate::value::types::{ScriptKey, ScriptTable, ScriptValue};

/// A value that serializes as natural data.
///
/// | Lua | written as |
/// | --- | --- |
/// | nil | null |
/// | whole number up to 2⁵³ | integer |
/// | other number | float |
/// | string | string; one that is not UTF-8 as bytes, in binary formats only |
/// | vector | list of three numbers |
/// | entity | its 64 bits as an integer |
/// | table with elements only | list |
/// | table with string keys only | map |
/// | empty table | map, unless [`Plain::empty_lists`] |
///
/// Anything else is an error that names the place: a table with both elements and fields, keys other than strings, NaN
/// and infinity (unless [`Plain::allow_non_finite`]), more than 32 levels.
///
/// ```
/// use bevy_lua_pool::{Plain, ScriptTable};
///
/// let table = ScriptTable::from([("count", 3.0), ("speed", 0.5)]).into();
/// let json = serde_json::to_string(&Plain::new(&table)).expect("natural data");
/// assert_eq!(json, r#"{"count":3,"speed":0.5}"#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    value: &'a ScriptValue,
    style: PlainStyle,
}

#[derive(Clone, Copy, Debug, Default)]
struct PlainStyle {
    empty_lists: bool,
    non_finite: bool,
}

impl<'a> Plain<'a> {
    /// Serializes `value` in the default style.
    #[must_use]
    pub fn new(value: &'a ScriptValue) -> Self {
        Self { value, style: PlainStyle::default() }
    }

    /// Writes empty tables as lists.
    #[must_use]
    pub const fn empty_lists(mut self) -> Self {
        self.style.empty_lists = true;
        self
    }

    /// Writes NaN and infinity instead of failing, for a format that has them.
    #[must_use]
    pub const fn allow_non_finite(mut self) -> Self {
        self.style.non_finite = true;
        self
    }
}

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        PlainNode { value: self.value, style: self.style, trail: None, depth: 0 }.serialize(to)
    }
}

/// A value inside another, with its place.
struct PlainNode<'n> {
    value: &'n ScriptValue,
    style: PlainStyle,
    trail: Option<&'n Trail<'n>>,
    depth: usize,
}

impl Serialize for PlainNode<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.value {
            ScriptValue::Nil => to.serialize_unit(),
            ScriptValue::Bool(value) => to.serialize_bool(*value),
            ScriptValue::Number(value) => self.number(*value, to),
            ScriptValue::String(value) => to.serialize_str(value),
            ScriptValue::Bytes(_) if to.is_human_readable() => Err(self.wrong(
                "is a string that is not text in UTF-8; encode it first, for instance as \
                 hexadecimal digits",
            )),
            ScriptValue::Bytes(value) => to.serialize_bytes(value),
            ScriptValue::Vector(value) => {
                let numbers = value.to_array();
                if !self.style.non_finite && !value.is_finite() {
                    return Err(self.non_finite(value));
                }
                to.collect_seq(numbers)
            }
            ScriptValue::Entity(value) => to.serialize_u64(value.to_bits()),
            ScriptValue::Table(table) => self.table(table, to),
        }
    }
}

impl PlainNode<'_> {
    fn number<S: Serializer>(&self, value: f64, to: S) -> Result<S::Ok, S::Error> {
        if let Some(whole) = exact_integer(value) {
            return to.serialize_i64(whole);
        }
        if !self.style.non_finite && !value.is_finite() {
            return Err(self.non_finite(&value));
        }
        to.serialize_f64(value)
    }

    fn table<S: Serializer>(&self, table: &ScriptTable, to: S) -> Result<S::Ok, S::Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong(&too_deep()));
        }
        if let (Some(field), false) = (table.fields.keys().next(), table.array.is_empty()) {
            return Err(self.wrong(&format!(
                "has both list elements and the field `{field}`; put the elements into a table of \
                 their own",
            )));
        }
        let list = !table.array.is_empty() || (table.fields.is_empty() && self.style.empty_lists);
        if list { self.list(&table.array, to) } else { self.map(table, to) }
    }

    fn list<S: Serializer>(&self, values: &[ScriptValue], to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(values.len()))?;
        for (number, value) in (1..).zip(values) {
            let trail = Trail { step: PathStep::Element(number), parent: self.trail };
            list.serialize_element(&self.node(value, &trail))?;
        }
        list.end()
    }

    fn map<S: Serializer>(&self, table: &ScriptTable, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(table.fields.len()))?;
        for (key, value) in &table.fields {
            let ScriptKey::String(key) = key else {
                return Err(self.wrong(&format!(
                    "has the key [{key}]; keys have to be strings: use tostring(key), or fill the \
                     elements 1, 2, 3, … without gaps",
                )));
            };
            let trail = Trail { step: PathStep::Field((&**key).into()), parent: self.trail };
            map.serialize_entry(key, &self.node(value, &trail))?;
        }
        map.end()
    }

    fn node<'n>(&self, value: &'n ScriptValue, trail: &'n Trail<'n>) -> PlainNode<'n> {
        PlainNode { value, style: self.style, trail: Some(trail), depth: self.depth + 1 }
    }

    fn non_finite<E: Error>(&self, value: &dyn std::fmt::Display) -> E {
        self.wrong(&format!("is {value}; only finite numbers can be written"))
    }

    fn wrong<E: Error>(&self, what: &str) -> E {
        E::custom(format!("`{}` {what}", show_path(Trail::steps(self.trail))))
    }
}
