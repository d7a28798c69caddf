//! [`ScriptValue`]: plain data that crosses between Lua, the ECS and a disk.
//!
//! Whatever outlives a run is made of it: a script's `self`, message payloads, the arguments and
//! results of host functions. It holds no reference to any VM, so every thread and every VM can take
//! over from any other.

mod args;
mod convert;
mod fields;
mod math;
mod path;
mod plain;
mod reflect;
mod results;
mod save;
mod variadic;

pub use self::args::IntoScriptArgs;
pub use self::convert::{FromScript, FromScriptArgs, IntoScript};
pub(crate) use self::convert::{describe, exact};
pub use self::fields::ScriptFields;
pub use self::plain::{Plain, PlainSeed, PlainValue, from_value, to_value};
pub(crate) use self::reflect::{reflect_as, reflect_struct, replacement};
pub use self::results::{IntoScriptResults, ScriptValues};
pub(crate) use self::save::{numbered, self_of_state, text};
pub use self::variadic::Variadic;

use std::fmt;
use std::hash::{Hash, Hasher};

use bevy::prelude::{Entity, Reflect, Vec3};
use bevy::reflect::{ReflectDeserialize, ReflectSerialize, TypePath};
use smol_str::SmolStr;

/// A Lua value that is plain data.
///
/// Functions, coroutines and handles have no place here; a script that tries to keep or send one
/// gets an error that names the field.
///
/// In saves it names every kind of value and loses nothing: in RON, JSON, postcard, bincode, and by reflection. For people and other
/// programs there is [`Plain`].
#[derive(Clone, Debug, Default, PartialEq, TypePath)]
#[non_exhaustive]
pub enum ScriptValue {
    /// The absent value.
    #[default]
    Nil,
    /// A boolean.
    Bool(bool),
    /// Lua's only kind of number: whole numbers are exact up to 2⁵³.
    Number(f64),
    /// Text in UTF-8.
    String(String),
    /// A Lua string that is not UTF-8.
    Bytes(Vec<u8>),
    /// Luau's native vector of three 32-bit floats.
    Vector(Vec3),
    /// An entity.
    Entity(Entity),
    /// A table.
    Table(ScriptTable),
}

/// A Lua table as plain data: the elements 1, 2, 3, … and the fields.
///
/// Fields are sorted by key, so that a table is rebuilt in the same order wherever it goes.
///
/// ```
/// use bevy_lua_pool::{ScriptTable, ScriptValue};
///
/// let mut hit = ScriptTable::from_iter([("damage", 3.0)]);
/// hit.set("kind", "fire");
/// assert_eq!(hit.get("damage"), &ScriptValue::Number(3.0));
/// assert_eq!(hit.get("missing"), &ScriptValue::Nil);
/// ```
#[derive(Clone, Debug, Default, PartialEq, TypePath)]
pub struct ScriptTable {
    /// The elements `t[1]`, `t[2]`, … without gaps.
    pub array: Vec<ScriptValue>,
    /// Everything else.
    pub fields: ScriptFields,
}

/// What can be a key of a [`ScriptTable`].
#[derive(Clone, Debug, Reflect)]
#[reflect(Hash, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ScriptKey {
    /// `t[true]`
    Bool(bool),
    /// `t[0]`, `t[1.5]`
    Number(f64),
    /// `t.name`. Up to 23 bytes lie in the key itself.
    String(SmolStr),
    /// `t[entity.id]`
    Entity(Entity),
}

impl ScriptTable {
    /// The value of a field, or of an element by its number from 1 on; [`ScriptValue::Nil`] if there is none.
    #[must_use]
    pub fn get(&self, key: impl Into<ScriptKey>) -> &ScriptValue {
        let key = key.into();
        match self.element(&key) {
            Some(index) => &self.array[index],
            None => self.fields.get(&key).unwrap_or(&ScriptValue::Nil),
        }
    }

    /// Where among the elements it is that a key stands for, if it is there.
    fn element(&self, key: &ScriptKey) -> Option<usize> {
        let ScriptKey::Number(number) = key else { return None };
        let index = (*number as usize).checked_sub(1)?;
        (index < self.array.len() && (index + 1) as f64 == *number).then_some(index)
    }

    /// Sets a field, or an element by its number; [`ScriptValue::Nil`] removes it. Many fields are set at once by
    /// collecting them.
    pub fn set(&mut self, key: impl Into<ScriptKey>, value: impl Into<ScriptValue>) {
        let (key, value) = (key.into(), value.into());
        if let Some(index) = self.element(&key) {
            self.set_element(index, value);
            return;
        }
        if key == ScriptKey::Number(self.array.len() as f64 + 1.0) && value != ScriptValue::Nil {
            self.fields.remove(&key);
            self.array.push(value);
            self.settle();
            return;
        }
        match value {
            ScriptValue::Nil => {
                self.fields.remove(&key);
            }
            value => {
                self.fields.insert(key, value);
            }
        }
    }

    /// Without one of its elements the list ends there: those after it are fields.
    fn set_element(&mut self, index: usize, value: ScriptValue) {
        if value != ScriptValue::Nil {
            self.array[index] = value;
            return;
        }
        let mut position = index as f64 + 1.0;
        for value in self.array.split_off(index).into_iter().skip(1) {
            position += 1.0;
            self.fields.insert(ScriptKey::Number(position), value);
        }
    }

    /// Appends an element.
    pub fn push(&mut self, value: impl Into<ScriptValue>) {
        self.array.push(value.into());
    }

    /// Roughly the bytes that its elements and fields take up.
    #[must_use]
    pub fn size(&self) -> usize {
        let elements: usize = self.array.iter().map(ScriptValue::size).sum();
        let fields = self.fields.iter().map(|(key, value)| {
            let text = if let ScriptKey::String(text) = key { text.len() } else { 0 };
            size_of::<ScriptKey>() + text + value.size()
        });
        elements + fields.sum::<usize>()
    }

    /// Whether both hold the very same values: as [`ScriptValue::is_identical`].
    #[must_use]
    pub fn is_identical(&self, other: &Self) -> bool {
        let same = |(a, b): (&ScriptValue, &ScriptValue)| a.is_identical(b);
        self.array.len() == other.array.len()
            && self.fields.len() == other.fields.len()
            && self.array.iter().zip(&other.array).all(same)
            // Keys are ordered by their bits: equal ones are identical.
            && self.fields.keys().eq(other.fields.keys())
            && self.fields.values().zip(other.fields.values()).all(same)
    }

    /// Whether there is neither an element nor a field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.array.is_empty() && self.fields.is_empty()
    }
}

impl ScriptValue {
    /// What Luau's `typeof` says of this value.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) | Self::Bytes(_) => "string",
            Self::Vector(_) => "vector",
            Self::Entity(_) => "Entity",
            Self::Table(_) => "table",
        }
    }

    /// Roughly the bytes that it takes up.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::String(text) => text.len(),
                Self::Bytes(bytes) => bytes.len(),
                Self::Table(table) => table.size(),
                _ => 0,
            }
    }

    /// Whether both are the very same value, bit for bit: two NaNs can be, 0 and -0 are not.
    #[must_use]
    pub fn is_identical(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.to_bits() == b.to_bits(),
            (Self::Vector(a), Self::Vector(b)) => {
                a.to_array().map(f32::to_bits) == b.to_array().map(f32::to_bits)
            }
            (Self::Table(a), Self::Table(b)) => a.is_identical(b),
            (a, b) => a == b,
        }
    }

    /// Replaces every entity in this value, in nested tables and in keys too.
    pub fn map_entities(&mut self, map: &mut impl FnMut(Entity) -> Entity) {
        match self {
            Self::Entity(entity) => *entity = map(*entity),
            Self::Table(table) => table.map_entities(map),
            _ => {}
        }
    }
}

impl ScriptTable {
    /// Moves the fields that carry the elements on, such as 1 of a table without any, to the elements.
    pub(crate) fn settle(&mut self) {
        let mut next = self.array.len() as f64 + 1.0;
        if !self.fields.contains_key(&ScriptKey::Number(next)) {
            return;
        }
        let fields = std::mem::take(&mut self.fields);
        let mut rest = Vec::new();
        // Numbers come in their order.
        for (key, value) in fields {
            if key == ScriptKey::Number(next) {
                self.array.push(value);
                next += 1.0;
            } else {
                rest.push((key, value));
            }
        }
        self.fields = rest.into();
    }

    /// Replaces every entity in this table, in nested tables and in keys too.
    pub fn map_entities(&mut self, map: &mut impl FnMut(Entity) -> Entity) {
        for value in self.array.iter_mut().chain(self.fields.values_mut()) {
            value.map_entities(map);
        }
        if self.fields.keys().any(|key| matches!(key, ScriptKey::Entity(_))) {
            self.fields = std::mem::take(&mut self.fields)
                .into_iter()
                .map(|(key, value)| match key {
                    ScriptKey::Entity(entity) => (ScriptKey::Entity(map(entity)), value),
                    other => (other, value),
                })
                .collect();
        }
    }
}

/// Shows the value as a Lua literal would be written, strings in quotes.
impl fmt::Display for ScriptValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::Bytes(value) => write!(f, "<{} bytes>", value.len()),
            Self::Vector(value) => write!(f, "({}, {}, {})", value.x, value.y, value.z),
            Self::Entity(value) => write!(f, "{value}"),
            Self::Table(value) => write!(f, "{value}"),
        }
    }
}

/// Shows the table as a Lua table constructor would be written.
impl fmt::Display for ScriptTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        let mut separator = "";
        for value in &self.array {
            write!(f, "{separator}{value}")?;
            separator = ", ";
        }
        for (key, value) in &self.fields {
            match key {
                ScriptKey::String(key) => write!(f, "{separator}{key} = {value}")?,
                key => write!(f, "{separator}[{key}] = {value}")?,
            }
            separator = ", ";
        }
        f.write_str("}")
    }
}

impl fmt::Display for ScriptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::String(value) => f.write_str(value),
            Self::Entity(value) => write!(f, "{value}"),
        }
    }
}

impl ScriptKey {
    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Number(_) => 1,
            Self::String(_) => 2,
            Self::Entity(_) => 3,
        }
    }
}

/// A total order: booleans, numbers, strings, entities; within numbers that of [`f64::total_cmp`].
impl Ord for ScriptKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Entity(a), Self::Entity(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for ScriptKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ScriptKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ScriptKey {}

impl Hash for ScriptKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Bool(key) => key.hash(state),
            // Numbers are equal as keys if they are so bit for bit.
            Self::Number(key) => key.to_bits().hash(state),
            Self::String(key) => key.hash(state),
            Self::Entity(key) => key.hash(state),
        }
    }
}

/// As if each was [set](ScriptTable::set): of equal keys the last stays, and nil leaves none.
impl<K: Into<ScriptKey>, V: Into<ScriptValue>> FromIterator<(K, V)> for ScriptTable {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let pairs = iter.into_iter().map(|(key, value)| (key.into(), value.into()));
        let mut fields: ScriptFields = pairs.collect();
        fields.retain(|_, value| *value != ScriptValue::Nil);
        Self { array: Vec::new(), fields }
    }
}

impl<K: Into<ScriptKey>, V: Into<ScriptValue>, const N: usize> From<[(K, V); N]> for ScriptTable {
    fn from(fields: [(K, V); N]) -> Self {
        fields.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> ScriptTable {
        let mut table = ScriptTable::default();
        table.push(1.5);
        table.push(true);
        table.set("text", "hé");
        table.set("where", Vec3::new(1.0, 2.0, 3.0));
        table.set("who", Entity::from_raw_u32(7).expect("a small index"));
        table.set(0.5, ScriptValue::Bytes(vec![0xff]));
        table.set("nested", ScriptTable::from([("a", 1.0)]));
        table
    }

    #[test]
    fn a_table_survives_a_save_and_a_load() {
        let text = ron::to_string(&everything()).expect("plain data serializes");
        assert_eq!(ron::from_str::<ScriptTable>(&text).expect("and comes back"), everything());
    }

    #[test]
    fn entities_are_replaced_in_keys_and_in_nested_tables() {
        let [a, b] = [1, 2].map(|i| Entity::from_raw_u32(i).expect("a small index"));
        let mut table = ScriptTable::from([(a, ScriptTable::from([("x", a)]))]);
        table.map_entities(&mut |_| b);
        assert_eq!(table, ScriptTable::from([(b, ScriptTable::from([("x", b)]))]));
    }

    #[test]
    fn fields_that_carry_the_elements_on_become_elements() {
        let keys = [4.0, 2.5, 3.0, 0.0, 2.0, -1.0, 6.0];
        let mut table: ScriptTable = keys.into_iter().map(|key| (key, key)).collect();
        table.settle();
        assert_eq!(table.fields.len(), keys.len(), "1 is missing");
        table.push(1.0);
        table.settle();
        assert_eq!(table.to_string(), "{1, 2, 3, 4, [-1] = -1, [0] = 0, [2.5] = 2.5, [6] = 6}");
    }

    #[test]
    fn a_table_is_collected_as_if_each_field_was_set() {
        let pairs =
            [("b", 1.0.into()), ("a", 2.0.into()), ("b", ScriptValue::Nil), ("a", 3.0.into())];
        let mut one_by_one = ScriptTable::default();
        for (key, value) in pairs.clone() {
            one_by_one.set(key, value);
        }
        assert_eq!(ScriptTable::from(pairs), one_by_one);
        assert_eq!(one_by_one, ScriptTable::from([("a", 3.0)]));
    }

    #[test]
    fn the_size_of_a_value_grows_with_all_that_is_in_it() {
        let small = ScriptValue::from("x").size();
        assert_eq!(ScriptValue::from("x".repeat(101).as_str()).size(), small + 100);
        let mut table = ScriptTable::from([("key", "x")]);
        let before = table.size();
        assert!(before > small);
        table.push("x");
        assert_eq!(table.size(), before + small);
    }

    #[test]
    fn identical_values_are_so_bit_for_bit() {
        let nested = |number: f64| ScriptTable::from([("t", ScriptTable::from([("x", number)]))]);
        assert!(nested(f64::NAN).is_identical(&nested(f64::NAN)));
        assert!(nested(1.0).is_identical(&nested(1.0)));
        assert!(!nested(0.0).is_identical(&nested(-0.0)));
        assert!(!nested(0.0).is_identical(&ScriptTable::default()));
        let vector = |x| ScriptValue::from(Vec3::new(x, 0.0, 0.0));
        assert!(!vector(0.0).is_identical(&vector(-0.0)));
        assert!(ScriptValue::from("a").is_identical(&"a".into()));
        assert!(!ScriptValue::from("a").is_identical(&1.0.into()));
    }

    #[test]
    fn a_table_is_shown_as_lua_would_write_it() {
        let mut table = ScriptTable::from([("a", ScriptValue::from("x"))]);
        table.push(1.0);
        assert_eq!(table.to_string(), "{1, a = \"x\"}");
    }
}
