//! The arguments of calls: [`FromScriptArgs`] for functions of the host, [`IntoScriptArgs`] for functions of a script.

use bevy::prelude::{Entity, Vec2, Vec3};

use crate::error::ScriptError;
use crate::value::convert::{FromScript, IntoScript};
use crate::value::display::describe;
use crate::value::types::{ScriptTable, ScriptValue};

/// The arguments of a host function: a tuple of [`FromScript`] types, or a single one. The last one can be
/// [`Variadic`](crate::Variadic), for all that are left.
pub trait FromScriptArgs: Sized {
    /// Converts the arguments that the script passed. Missing ones are [`ScriptValue::Nil`]; surplus ones are
    /// ignored, as Lua functions do.
    ///
    /// # Errors
    /// [`ScriptError::Argument`] with the function, the position, what was expected and what was passed.
    fn from_script_args(function: &str, args: Vec<ScriptValue>) -> Result<Self, ScriptError>;
}

impl<T: FromScript> FromScriptArgs for T {
    fn from_script_args(function: &str, args: Vec<ScriptValue>) -> Result<Self, ScriptError> {
        argument(function, 1, args.into_iter().next())
    }
}

impl FromScriptArgs for () {
    fn from_script_args(_: &str, _: Vec<ScriptValue>) -> Result<Self, ScriptError> {
        Ok(())
    }
}

/// Converts the argument at a position, counted from 1; one that is missing is nil.
pub(super) fn argument<T: FromScript>(
    function: &str,
    position: usize,
    value: Option<ScriptValue>,
) -> Result<T, ScriptError> {
    T::from_script(value.unwrap_or_default()).map_err(|got| ScriptError::Argument {
        function: function.to_owned(),
        position,
        expected: T::expected_instead_of(&got),
        got: describe(&got),
    })
}

/// The arguments of a call: `()`, a tuple of [`IntoScript`] types, a single value, or a list of [`ScriptValue`]s.
pub trait IntoScriptArgs {
    /// Converts the arguments.
    ///
    /// # Errors
    /// As [`IntoScript::into_script`].
    fn into_script_args(self) -> Result<Vec<ScriptValue>, ScriptError>;
}

impl IntoScriptArgs for () {
    fn into_script_args(self) -> Result<Vec<ScriptValue>, ScriptError> {
        Ok(Vec::new())
    }
}

impl IntoScriptArgs for Vec<ScriptValue> {
    fn into_script_args(self) -> Result<Vec<ScriptValue>, ScriptError> {
        Ok(self)
    }
}

impl IntoScriptArgs for &[ScriptValue] {
    fn into_script_args(self) -> Result<Vec<ScriptValue>, ScriptError> {
        Ok(self.to_vec())
    }
}

macro_rules! single {
    ($($ty:ty),*) => {$(
        impl IntoScriptArgs for $ty {
            fn into_script_args(self) -> Result<Vec<ScriptValue>, ScriptError> {
                Ok(vec![self.into_script()?])
            }
        }
    )*};
}
single!(ScriptValue, ScriptTable, bool, String, &str, Entity, Vec2, Vec3, f32, f64);
single!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_a_single_value_and_nothing_are_arguments() {
        let args = (1_u8, "two", None::<bool>).into_script_args();
        assert_eq!(args, Ok(vec![1.0.into(), "two".into(), ScriptValue::Nil]));
        assert_eq!("x".into_script_args(), Ok(vec!["x".into()]));
        assert_eq!(().into_script_args(), Ok(Vec::new()));
        assert!(matches!((u64::MAX,).into_script_args(), Err(ScriptError::Inexact { .. })));
    }

    #[test]
    fn a_wrong_argument_names_function_position_expectation_and_what_came() {
        let args = vec![ScriptValue::from(1.0), ScriptValue::from("three")];
        let error = <(f32, u8)>::from_script_args("game.damage", args).expect_err("a string");
        let text = error.to_string();
        for part in ["game.damage", "argument 2", "whole number from 0 to 255", "string \"three\""]
        {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }

    #[test]
    fn a_missing_argument_is_nil() {
        assert_eq!(<(f64, Option<f64>)>::from_script_args("f", vec![1.0.into()]), Ok((1.0, None)));
        assert!(<(f64, f64)>::from_script_args("f", vec![1.0.into()]).is_err());
    }
}
