//! Rotations.

use bevy::math::Quat;

use super::traits::{FromScript, IntoScript};
use crate::error::ScriptError;
use crate::value::types::{ScriptTable, ScriptValue};

/// A quaternion is a table with the fields `x`, `y`, `z`, `w`.
impl FromScript for Quat {
    fn expected() -> String {
        "quaternion: a table with the numbers x, y, z, w".to_owned()
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        if let ScriptValue::Table(table) = &value {
            let parts = ["x", "y", "z", "w"].map(|name| table.get(name).clone());
            if let [
                ScriptValue::Number(x),
                ScriptValue::Number(y),
                ScriptValue::Number(z),
                ScriptValue::Number(w),
            ] = parts
            {
                return Ok(Self::from_xyzw(x as f32, y as f32, z as f32, w as f32));
            }
        }
        Err(value)
    }
}

impl IntoScript for Quat {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        Ok(ScriptTable::from([("x", self.x), ("y", self.y), ("z", self.z), ("w", self.w)]).into())
    }
}
