//! Arguments of which not every value will do.

use crate::error::ScriptError;
use crate::value::{FromScript, ScriptValue};

/// The error for a number that is wrong beside the other arguments.
pub(super) fn wrong(
    function: &str,
    position: usize,
    expected: impl Into<String>,
    got: f64,
) -> ScriptError {
    ScriptError::Argument {
        function: function.to_owned(),
        position,
        expected: expected.into(),
        got: format!("number {got}"),
    }
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident, $expected:literal, $allowed:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $name(pub(super) f64);

        impl FromScript for $name {
            fn expected() -> String {
                $expected.to_owned()
            }
            fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
                let allowed: fn(f64) -> bool = $allowed;
                match value {
                    ScriptValue::Number(number) if allowed(number) => Ok(Self(number)),
                    other => Err(other),
                }
            }
        }
    )*};
}
numbers! {
    /// Neither NaN nor infinite.
    Finite, "finite number", |x| x.is_finite();
    /// Finite and above zero.
    Positive, "finite number above 0", |x| x.is_finite() && x > 0.0;
    /// Finite and not below zero.
    NotNegative, "finite number from 0", |x| x.is_finite() && x >= 0.0;
    /// A probability.
    Chance, "number from 0 to 1", |x| (0.0..=1.0).contains(&x);
    /// Whole and exact.
    Whole, "whole number from -2^53 to 2^53", |x| x.fract() == 0.0 && x.abs() <= MAX_WHOLE;
    /// Whole, exact and not below zero.
    Natural, "whole number from 0 to 2^53", |x| x.fract() == 0.0 && (0.0..=MAX_WHOLE).contains(&x);
    /// A position in a sequence.
    Index, "whole number from 1 to 2^53", |x| x.fract() == 0.0 && (1.0..=MAX_WHOLE).contains(&x);
}

/// Whole numbers up to here are exact in Lua.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

impl Whole {
    pub(super) const fn get(self) -> i64 {
        self.0 as i64
    }
}

impl Natural {
    pub(super) const fn get(self) -> u64 {
        self.0 as u64
    }
}

impl Index {
    pub(super) const fn get(self) -> u64 {
        self.0 as u64
    }
}

/// A list with something in it.
pub(super) struct Filled<T>(pub(super) Vec<T>);

impl<T: FromScript> FromScript for Filled<T> {
    fn expected() -> String {
        format!("{} that is not empty", Vec::<T>::expected())
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Table(table) if table.array.is_empty() => Err(table.into()),
            value => Vec::from_script(value).map(Self),
        }
    }
}
