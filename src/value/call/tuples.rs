//! Tuples of up to eight elements as arguments and results.

use super::args::{FromScriptArgs, IntoScriptArgs, argument};
use super::results::{IntoScriptResults, ScriptValues};
use super::variadic::{Variadic, rest};
use crate::error::ScriptError;
use crate::value::convert::{FromScript, IntoScript};
use crate::value::types::ScriptValue;

/// Implements the traits of arguments and results for a tuple. Each element has its position; the last one, after the
/// semicolon, can be [`Variadic`] as an argument.
macro_rules! tuple {
    ($($name:ident $position:literal),*; $last:ident $last_position:literal) => {
        impl<$($name: FromScript,)* $last: FromScript> FromScriptArgs for ($($name,)* $last,) {
            fn from_script_args(
                function: &str,
                args: Vec<ScriptValue>,
            ) -> Result<Self, ScriptError> {
                let mut args = args.into_iter();
                Ok((
                    $(argument::<$name>(function, $position, args.next())?,)*
                    argument::<$last>(function, $last_position, args.next())?,
                ))
            }
        }

        impl<$($name: FromScript,)* $last: FromScript> FromScriptArgs
            for ($($name,)* Variadic<$last>,)
        {
            fn from_script_args(
                function: &str,
                args: Vec<ScriptValue>,
            ) -> Result<Self, ScriptError> {
                let mut args = args.into_iter();
                Ok((
                    $(argument::<$name>(function, $position, args.next())?,)*
                    rest(function, $last_position, &mut args)?,
                ))
            }
        }

        impl<$($name: IntoScript,)* $last: IntoScript> IntoScriptArgs for ($($name,)* $last,) {
            fn into_script_args(self) -> Result<Vec<ScriptValue>, ScriptError> {
                #[expect(non_snake_case, reason = "each type parameter names its value too")]
                let ($($name,)* $last,) = self;
                Ok(vec![$($name.into_script()?,)* $last.into_script()?])
            }
        }

        impl<$($name: IntoScript,)* $last: IntoScript> IntoScriptResults for ($($name,)* $last,) {
            fn into_script_results(self) -> Result<ScriptValues, ScriptError> {
                #[expect(non_snake_case, reason = "each type parameter names its value too")]
                let ($($name,)* $last,) = self;
                [$($name.into_script(),)* $last.into_script()].into_iter().collect()
            }
        }
    };
}

tuple!(; A 1);
tuple!(A 1; B 2);
tuple!(A 1, B 2; C 3);
tuple!(A 1, B 2, C 3; D 4);
tuple!(A 1, B 2, C 3, D 4; E 5);
tuple!(A 1, B 2, C 3, D 4, E 5; F 6);
tuple!(A 1, B 2, C 3, D 4, E 5, F 6; G 7);
tuple!(A 1, B 2, C 3, D 4, E 5, F 6, G 7; H 8);
