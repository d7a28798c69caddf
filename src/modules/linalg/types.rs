//! What the functions take and give beyond Luau's own vector.

use bevy::math::{Mat3, Mat4, Quat, Vec3};

use crate::error::ScriptError;
use crate::value::{FromScript, IntoScript, ScriptValue};

/// A quaternion of length 1, made of one of any length but zero.
pub(super) struct Rotation(pub(super) Quat);

impl FromScript for Rotation {
    fn expected() -> String {
        format!("{}, not all zero", Quat::expected())
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        let quat = Quat::from_script(value.clone())?;
        let length = quat.length();
        if length.is_finite() && length > 0.0 { Ok(Self(quat / length)) } else { Err(value) }
    }
}

/// A vector of length 1, made of one of any length but zero.
pub(super) struct Direction(pub(super) Vec3);

impl FromScript for Direction {
    fn expected() -> String {
        "finite vector that is not zero".to_owned()
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Vector(vector) => {
                vector.try_normalize().map(Self).ok_or(ScriptValue::Vector(vector))
            }
            other => Err(other),
        }
    }
}

macro_rules! matrices {
    ($($name:ident $matrix:ident $numbers:literal),*) => {$(
        /// Its numbers, column after column.
        pub(super) struct $name(pub(super) $matrix);

        impl FromScript for $name {
            fn expected() -> String {
                concat!("matrix: a table of ", $numbers, " numbers, column after column").to_owned()
            }
            fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
                let numbers = Vec::<f32>::from_script(value.clone());
                match numbers.map(<[f32; $numbers]>::try_from) {
                    Ok(Ok(numbers)) => Ok(Self($matrix::from_cols_array(&numbers))),
                    _ => Err(value),
                }
            }
        }

        impl IntoScript for $name {
            fn into_script(self) -> Result<ScriptValue, ScriptError> {
                self.0.to_cols_array().to_vec().into_script()
            }
        }
    )*};
}
matrices!(Matrix3 Mat3 9, Matrix4 Mat4 16);
