//! The data model: [`ScriptValue`], [`ScriptTable`], [`ScriptKey`] and [`ScriptFields`].
//!
//! The four types contain each other, so their definitions are in one file. Their methods are in files of their own.

use bevy::prelude::{Entity, Reflect, Vec3};
use bevy::reflect::{ReflectDeserialize, ReflectSerialize, TypePath};
use smol_str::SmolStr;

/// A Lua value that is plain data.
///
/// Functions, coroutines and handles are not; a script that tries to keep or send one gets an error that names the
/// field.
///
/// Its serde form is for saves: it names the kind of every value and is lossless in RON, JSON, postcard, bincode, and
/// by reflection. To exchange data with people and other programs, use [`Plain`](super::Plain).
// The path is a part of saved scenes.
#[derive(Clone, Debug, Default, PartialEq, TypePath)]
#[type_path = "bevy_lua_pool::value"]
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
/// Fields are sorted by key, so a table is always rebuilt in the same order.
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
#[type_path = "bevy_lua_pool::value"]
pub struct ScriptTable {
    /// The elements `t[1]`, `t[2]`, … without gaps.
    pub array: Vec<ScriptValue>,
    /// Everything else.
    pub fields: ScriptFields,
}

/// The key of a field in a [`ScriptTable`].
#[derive(Clone, Debug, Reflect)]
#[reflect(Hash, PartialEq, Serialize, Deserialize)]
#[type_path = "bevy_lua_pool::value"]
#[non_exhaustive]
pub enum ScriptKey {
    /// `t[true]`
    Bool(bool),
    /// `t[0]`, `t[1.5]`
    Number(f64),
    /// `t.name`. Up to 23 bytes are stored inline, without an allocation.
    String(SmolStr),
    /// `t[entity.id]`
    Entity(Entity),
}

/// The fields of a [`ScriptTable`], sorted by key.
///
/// Keys and values are stored in one contiguous list with next to no spare capacity: there are many entities, each
/// has few fields, and every frame iterates over all of them. Lookup is a binary search; inserting or removing a
/// field moves those behind it. To add many, collect or [extend](Extend), in any order.
///
/// ```
/// use bevy_lua_pool::{ScriptFields, ScriptKey, ScriptValue};
///
/// let fields: ScriptFields = [("y", 2.0), ("x", 1.0), ("y", 3.0)]
///     .map(|(key, value)| (ScriptKey::from(key), ScriptValue::from(value)))
///     .into_iter()
///     .collect();
/// assert_eq!(fields.get(&"y".into()), Some(&ScriptValue::Number(3.0)));
/// assert_eq!(fields.at(0), Some((&"x".into(), &ScriptValue::Number(1.0))));
/// ```
#[derive(Clone, Default, PartialEq, TypePath)]
#[type_path = "bevy_lua_pool::value::fields"]
pub struct ScriptFields {
    /// Sorted by key, without duplicates.
    pub(super) list: Vec<FieldEntry>,
}

/// One field of a table.
pub(super) type FieldEntry = (ScriptKey, ScriptValue);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_scenes_find_the_types_by_these_paths() {
        assert_eq!(ScriptValue::type_path(), "bevy_lua_pool::value::ScriptValue");
        assert_eq!(ScriptTable::type_path(), "bevy_lua_pool::value::ScriptTable");
        assert_eq!(ScriptKey::type_path(), "bevy_lua_pool::value::ScriptKey");
        assert_eq!(ScriptFields::type_path(), "bevy_lua_pool::value::fields::ScriptFields");
    }

    #[test]
    fn values_stay_small() {
        assert_eq!(size_of::<ScriptKey>(), 24);
        assert_eq!(size_of::<ScriptTable>(), 48);
        assert_eq!(size_of::<ScriptValue>(), 48);
    }
}
