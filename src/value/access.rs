//! Reading a [`ScriptValue`] by its type, or what is in it by a path.

use bevy::prelude::{Entity, Vec3};

use super::convert::whole;
use super::types::{ScriptKey, ScriptTable, ScriptValue};

/// Access by type: `Some` if the value has the type.
///
/// ```
/// use bevy_lua_pool::LuaEngine;
///
/// let mut engine = LuaEngine::new()?;
/// let hero = engine.evaluate("{ name = 'Ada', items = { { kind = 'rope', count = 2 } } }")?;
/// assert_eq!(hero.get("name").as_str(), Some("Ada"));
/// assert_eq!(hero.get("items.1.count").as_i64(), Some(2));
/// assert_eq!(hero.get("items").as_table().map(|items| items.array.len()), Some(1));
/// assert!(hero.get("house.door").is_nil());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl ScriptValue {
    /// The value at a dotted path in this table: `a.b`, `items.1.count`; [`ScriptValue::Nil`] if there is none.
    /// See [`ScriptTable::get_path`].
    #[must_use]
    pub fn get(&self, path: &str) -> &Self {
        match self {
            Self::Table(table) => table.get_path(path),
            _ => &Self::Nil,
        }
    }

    /// Whether it is nil.
    #[must_use]
    pub const fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    /// The value of a boolean.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of a number.
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of a number, if it is a whole number that fits the type.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_f64().and_then(whole)
    }

    /// The text of a string, if it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes of a string, which may not be UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::String(value) => Some(value.as_bytes()),
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a vector.
    #[must_use]
    pub const fn as_vec3(&self) -> Option<Vec3> {
        match self {
            Self::Vector(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of an entity.
    #[must_use]
    pub const fn as_entity(&self) -> Option<Entity> {
        match self {
            Self::Entity(value) => Some(*value),
            _ => None,
        }
    }

    /// The table, if it is one.
    #[must_use]
    pub const fn as_table(&self) -> Option<&ScriptTable> {
        match self {
            Self::Table(value) => Some(value),
            _ => None,
        }
    }

    /// The table, if it is one, by mutable reference.
    #[must_use]
    pub const fn as_table_mut(&mut self) -> Option<&mut ScriptTable> {
        match self {
            Self::Table(value) => Some(value),
            _ => None,
        }
    }
}

impl ScriptTable {
    /// The value at a dotted path: `a.b` is the field `b` of the table in the field `a`. A part that is a whole number,
    /// such as `1` in `items.1`, is first looked up as a string, then as a number. [`ScriptValue::Nil`] if there is
    /// no such value, or something along the path is not a table.
    ///
    /// For a field with a dot in its name, use [`ScriptTable::get`].
    #[must_use]
    pub fn get_path(&self, path: &str) -> &ScriptValue {
        let mut table = self;
        let mut parts = path.split('.');
        let mut value = table.part(parts.next().unwrap_or_default());
        for part in parts {
            match value {
                ScriptValue::Table(next) => table = next,
                _ => return &ScriptValue::Nil,
            }
            value = table.part(part);
        }
        value
    }

    fn part(&self, part: &str) -> &ScriptValue {
        match self.get(part) {
            ScriptValue::Nil => match part.parse::<i32>() {
                Ok(number) => self.get(ScriptKey::from(number)),
                Err(_) => &ScriptValue::Nil,
            },
            value => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_through_fields_and_elements_and_ends_in_nil_where_there_is_nothing() {
        let items =
            vec![ScriptTable::from([("kind", "rope")]), ScriptTable::from([("kind", "axe")])];
        let mut hero = ScriptTable::from([("items", ScriptValue::from(items))]);
        hero.set("7", "by text");
        hero.set(7, "by number");
        hero.set(-1, "below");
        let hero = ScriptValue::from(hero);
        assert_eq!(hero.get("items.2.kind").as_str(), Some("axe"));
        assert_eq!(hero.get("7").as_str(), Some("by text"));
        assert_eq!(hero.get("-1").as_str(), Some("below"));
        for nothing in ["", ".", "items.", "items.0", "items.3.kind", "items.1.kind.x", "Items"] {
            assert!(hero.get(nothing).is_nil(), "{nothing}");
        }
        assert!(ScriptValue::from(1.0).get("x").is_nil());
    }

    #[test]
    fn a_value_is_only_what_it_is() {
        let values =
            [true.into(), 1.5.into(), "x".into(), Vec3::X.into(), Entity::PLACEHOLDER.into()];
        for value in values.into_iter().chain([ScriptTable::default().into(), ScriptValue::Nil]) {
            let is = [
                value.is_nil(),
                value.as_bool().is_some(),
                value.as_f64().is_some(),
                value.as_str().is_some(),
                value.as_vec3().is_some(),
                value.as_entity().is_some(),
                value.as_table().is_some(),
            ];
            assert_eq!(is.iter().filter(|is| **is).count(), 1, "{value}");
        }
        assert_eq!([1.5, 3.0].map(|number| ScriptValue::from(number).as_i64()), [None, Some(3)]);
        assert_eq!(ScriptValue::Bytes(vec![0xff]).as_bytes(), Some(&[0xff][..]));
    }
}
