//! [`ScriptValue`]: its type, its size, comparison, and the entities in it.

use bevy::prelude::Entity;

use super::types::ScriptValue;

impl ScriptValue {
    /// What Luau's `typeof` returns for this value.
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

    /// Its approximate size in bytes.
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

    /// Whether the values are equal bit for bit: a NaN can be identical to a NaN, and 0 is not identical to -0.
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

    /// Replaces every entity in this value, including those in nested tables and in keys.
    pub fn map_entities(&mut self, map: &mut impl FnMut(Entity) -> Entity) {
        match self {
            Self::Entity(entity) => *entity = map(*entity),
            Self::Table(table) => table.map_entities(map),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bevy::prelude::Vec3;

    use super::*;
    use crate::value::types::ScriptTable;

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
}
