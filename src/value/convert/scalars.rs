//! Booleans, strings, vectors, entities, tables, and values as they are.

use bevy::prelude::{Entity, Vec2, Vec3};

use super::traits::{FromScript, IntoScript};
use crate::error::ScriptError;
use crate::value::types::{ScriptTable, ScriptValue};

macro_rules! same_as_variant {
    ($($ty:ty, $expected:literal, $variant:ident);* $(;)?) => {$(
        impl FromScript for $ty {
            fn expected() -> String {
                $expected.to_owned()
            }
            fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
                match value {
                    ScriptValue::$variant(value) => Ok(value),
                    other => Err(other),
                }
            }
        }

        impl IntoScript for $ty {
            fn into_script(self) -> Result<ScriptValue, ScriptError> {
                Ok(ScriptValue::$variant(self))
            }
        }

        impl From<$ty> for ScriptValue {
            fn from(value: $ty) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}
same_as_variant! {
    bool, "boolean", Bool;
    String, "string", String;
    Vec3, "vector", Vector;
    Entity, "Entity", Entity;
    ScriptTable, "table", Table;
}

impl FromScript for Vec2 {
    fn expected() -> String {
        "vector without z".to_owned()
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Vector(vector) if vector.z == 0.0 => Ok(vector.truncate()),
            other => Err(other),
        }
    }
}

impl IntoScript for Vec2 {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        Ok(ScriptValue::Vector(self.extend(0.0)))
    }
}

impl FromScript for ScriptValue {
    fn expected() -> String {
        "any value".to_owned()
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        Ok(value)
    }
}

impl IntoScript for ScriptValue {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        Ok(self)
    }
}

impl IntoScript for () {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        Ok(ScriptValue::Nil)
    }
}

impl From<()> for ScriptValue {
    fn from((): ()) -> Self {
        Self::Nil
    }
}

/// An empty table: no parameters.
impl From<()> for ScriptTable {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl IntoScript for &str {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        Ok(self.into())
    }
}

impl From<&str> for ScriptValue {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<&String> for ScriptValue {
    fn from(value: &String) -> Self {
        Self::String(value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_with_z_does_not_pass_for_a_vec2() {
        assert_eq!(Vec2::from_script(Vec3::new(1.0, 2.0, 0.0).into()), Ok(Vec2::new(1.0, 2.0)));
        assert!(Vec2::from_script(Vec3::ONE.into()).is_err());
    }
}
