//! [`IntoScriptArgs`]: the arguments with which the host calls a function of a script.

use bevy::prelude::{Entity, Vec2, Vec3};

use super::{IntoScript, ScriptTable, ScriptValue};
use crate::error::ScriptError;

/// The arguments of a call: `()`, a tuple of [`IntoScript`] types, a single value, or a list of
/// [`ScriptValue`]s.
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

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: IntoScript),*> IntoScriptArgs for ($($name,)*) {
            fn into_script_args(self) -> Result<Vec<ScriptValue>, ScriptError> {
                #[expect(non_snake_case, reason = "each type parameter names its value too")]
                let ($($name,)*) = self;
                Ok(vec![$($name.into_script()?),*])
            }
        }
    };
}
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

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
}
