//! [`Variadic`]: any number of arguments or results.

use std::ops::{Deref, DerefMut};

use super::args::{FromScriptArgs, IntoScriptArgs, argument};
use super::results::{IntoScriptResults, ScriptValues};
use crate::error::ScriptError;
use crate::value::convert::{FromScript, IntoScript};
use crate::value::types::ScriptValue;

/// Any number of values of one type: all arguments of a function, or the last ones; all its results.
///
/// ```
/// use bevy_lua_pool::{LuaEngine, Variadic};
///
/// let mut engine = LuaEngine::new()?;
/// engine.register_function("join", |(with, all): (String, Variadic<String>)| all.join(&with))?;
/// assert_eq!(engine.evaluate("join(', ', 'a', 'b', 'c')")?, "a, b, c".into());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variadic<T>(pub Vec<T>);

impl<T> Default for Variadic<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for Variadic<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T> DerefMut for Variadic<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T> FromIterator<T> for Variadic<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> IntoIterator for Variadic<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: IntoScript> IntoScriptArgs for Variadic<T> {
    fn into_script_args(self) -> Result<Vec<ScriptValue>, ScriptError> {
        self.into_iter().map(T::into_script).collect()
    }
}

impl<T: FromScript> FromScriptArgs for Variadic<T> {
    fn from_script_args(function: &str, args: Vec<ScriptValue>) -> Result<Self, ScriptError> {
        rest(function, 1, args.into_iter())
    }
}

impl<T: IntoScript> IntoScriptResults for Variadic<T> {
    fn into_script_results(self) -> Result<ScriptValues, ScriptError> {
        self.into_iter().map(T::into_script).collect()
    }
}

/// Converts all remaining arguments; `first` is the position of the first of them.
pub(super) fn rest<T: FromScript>(
    function: &str,
    first: usize,
    args: impl Iterator<Item = ScriptValue>,
) -> Result<Variadic<T>, ScriptError> {
    args.zip(first..).map(|(arg, position)| argument(function, position, Some(arg))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_that_are_left_are_all_taken_and_a_wrong_one_has_its_position() {
        type Args = (String, Variadic<f64>);
        let read = |args: &[ScriptValue]| Args::from_script_args("f", args.to_vec());
        assert_eq!(read(&["x".into()]), Ok(("x".to_owned(), Variadic::default())));
        let all = ["x".into(), 1.0.into(), 2.0.into()];
        assert_eq!(read(&all), Ok(("x".to_owned(), Variadic(vec![1.0, 2.0]))));
        let error = read(&["x".into(), 1.0.into(), true.into()]).expect_err("no number");
        assert!(matches!(error, ScriptError::Argument { position: 3, .. }), "{error}");
        let alone = Variadic::<Option<bool>>::from_script_args("f", vec![ScriptValue::Nil; 2]);
        assert_eq!(alone, Ok(Variadic(vec![None, None])));
    }
}
