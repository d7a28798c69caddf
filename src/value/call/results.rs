//! The results of calls: [`ScriptValues`] of a function of a script, [`IntoScriptResults`] of a function of the host.

use std::any::Any;
use std::ops::Deref;

use smallvec::SmallVec;

use crate::error::ScriptError;
use crate::value::convert::IntoScript;
use crate::value::types::ScriptValue;

/// The values that a call returns: none, one or several. Dereferences to a slice.
///
/// ```
/// use bevy_lua_pool::{LuaEngine, ScriptValue};
///
/// let mut engine = LuaEngine::new()?;
/// let found = engine.evaluate_all("string.find('a key', 'key')")?;
/// assert_eq!(found[..], [3.0.into(), 5.0.into()]);
/// assert_eq!(found.into_first(), 3.0.into());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScriptValues(SmallVec<[ScriptValue; 1]>);

impl ScriptValues {
    /// The first value, or [`ScriptValue::Nil`] if there is none, as in Lua where one value is expected.
    #[must_use]
    pub fn into_first(self) -> ScriptValue {
        self.into_iter().next().unwrap_or_default()
    }

    /// Their approximate size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.iter().map(ScriptValue::size).sum()
    }

    /// Appends a value.
    pub(crate) fn push(&mut self, value: ScriptValue) {
        self.0.push(value);
    }
}

impl Deref for ScriptValues {
    type Target = [ScriptValue];

    fn deref(&self) -> &[ScriptValue] {
        &self.0
    }
}

impl IntoIterator for ScriptValues {
    type Item = ScriptValue;
    type IntoIter = smallvec::IntoIter<[ScriptValue; 1]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'v> IntoIterator for &'v ScriptValues {
    type Item = &'v ScriptValue;
    type IntoIter = std::slice::Iter<'v, ScriptValue>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<ScriptValue> for ScriptValues {
    fn from_iter<I: IntoIterator<Item = ScriptValue>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl From<ScriptValue> for ScriptValues {
    fn from(value: ScriptValue) -> Self {
        Self(SmallVec::from_buf([value]))
    }
}

/// What a host function returns to the script: an [`IntoScript`] type; a tuple of them, for several results; a
/// [`Variadic`](crate::Variadic) of them, for any number; or a `Result` of any of these, whose error is raised in the
/// script.
///
/// ```
/// use bevy_lua_pool::{LuaEngine, Variadic};
///
/// let mut engine = LuaEngine::new()?;
/// engine.register_function("divide", |(a, b): (i64, i64)| match b {
///     0 => Err("divide: by zero"),
///     b => Ok((a / b, a % b)),
/// })?;
/// engine.register_function("sorted", |mut all: Variadic<i64>| {
///     all.sort();
///     all
/// })?;
/// engine.run("local quotient, rest = divide(17, 5) assert(quotient == 3 and rest == 2)")?;
/// engine.run("local least, next = sorted(5, 3, 4) assert(least == 3 and next == 4)")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait IntoScriptResults {
    /// Converts the results.
    ///
    /// # Errors
    /// As [`IntoScript::into_script`]; the error of a `Result`.
    fn into_script_results(self) -> Result<ScriptValues, ScriptError>;
}

impl<T: IntoScript> IntoScriptResults for T {
    fn into_script_results(self) -> Result<ScriptValues, ScriptError> {
        self.into_script().map(ScriptValues::from)
    }
}

impl IntoScriptResults for ScriptValues {
    fn into_script_results(self) -> Result<ScriptValues, ScriptError> {
        Ok(self)
    }
}

impl<T: IntoScriptResults, E: std::fmt::Display + 'static> IntoScriptResults for Result<T, E> {
    fn into_script_results(self) -> Result<ScriptValues, ScriptError> {
        self.map_err(|error| match (&error as &dyn Any).downcast_ref::<ScriptError>() {
            Some(error) => error.clone(),
            None => ScriptError::Host { message: error.to_string() },
        })?
        .into_script_results()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::call::variadic::Variadic;

    fn results(results: impl IntoScriptResults) -> Vec<ScriptValue> {
        results.into_script_results().expect("they are data").to_vec()
    }

    #[test]
    fn one_value_a_tuple_and_a_variadic_are_as_many_results() {
        assert_eq!(results(1.0), [1.0.into()]);
        assert_eq!(
            results((1_u8, "two", None::<bool>)),
            [1.0.into(), "two".into(), ScriptValue::Nil]
        );
        assert_eq!(results(Variadic::<bool>::default()), []);
        assert_eq!(results(Ok::<_, String>(Variadic(vec![1, 2]))), [1.into(), 2.into()]);
        assert_eq!(results(()), [ScriptValue::Nil], "a function without a result gives nil");
    }

    #[test]
    fn the_error_of_a_result_stays_what_it_is() {
        let raised = Err::<(f64, f64), _>("no").into_script_results();
        assert_eq!(raised, Err(ScriptError::Host { message: "no".to_owned() }));
        let error = ScriptError::ReadOnly { name: "Health".to_owned() };
        assert_eq!(Err::<(), _>(error.clone()).into_script_results(), Err(error));
        let inexact = (1.0, u64::MAX).into_script_results();
        assert!(matches!(inexact, Err(ScriptError::Inexact { .. })), "{inexact:?}");
    }
}
