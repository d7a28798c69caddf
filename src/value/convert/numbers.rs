//! Numbers. Lua has one kind, a 64-bit float; whole numbers beyond 2⁵³ are refused instead of rounded.

use super::traits::{FromScript, IntoScript};
use crate::error::ScriptError;
use crate::value::types::ScriptValue;

/// The largest magnitude up to which every whole number is exact in a Lua number: 2⁵³.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Converts a Lua number to a whole number, if it is one and fits.
pub(in crate::value) fn whole<T: TryFrom<i128>>(number: f64) -> Option<T> {
    if number.fract() != 0.0 || !number.is_finite() {
        return None;
    }
    T::try_from(number as i128).ok()
}

/// Converts a Lua number to an integer, if that is exact. -0 has no integer form.
pub(in crate::value) fn exact_integer(number: f64) -> Option<i64> {
    if number.abs() > MAX_EXACT || (number == 0.0 && number.is_sign_negative()) {
        return None;
    }
    whole(number)
}

/// Converts a whole number to a Lua number, if that is exact.
pub(crate) fn exact<T>(value: T) -> Result<f64, ScriptError>
where
    T: TryInto<i128> + std::fmt::Display + Copy,
{
    match value.try_into() {
        // Compare as integers: as a float, 2^53 + 1 would be rounded to 2^53.
        Ok(number) if number.unsigned_abs() <= MAX_EXACT as u128 => Ok(number as f64),
        _ => Err(ScriptError::Inexact { value: value.to_string() }),
    }
}

macro_rules! whole_numbers {
    ($($int:ty),*) => {$(
        impl FromScript for $int {
            fn expected() -> String {
                format!("whole number from {} to {}", <$int>::MIN, <$int>::MAX)
            }
            fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
                match value {
                    ScriptValue::Number(number) => {
                        whole::<$int>(number).ok_or(ScriptValue::Number(number))
                    }
                    other => Err(other),
                }
            }
        }

        impl IntoScript for $int {
            fn into_script(self) -> Result<ScriptValue, ScriptError> {
                exact(self).map(ScriptValue::Number)
            }
        }
    )*};
}
whole_numbers!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

macro_rules! from_small_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for ScriptValue {
            fn from(value: $number) -> Self {
                Self::Number(value.into())
            }
        }
    )*};
}
from_small_numbers!(i8, i16, i32, u8, u16, u32, f32, f64);

macro_rules! from_large_numbers {
    ($($int:ty),*) => {$(
        /// Rounds to the nearest Lua number: whole numbers are exact up to 2⁵³. [`IntoScript`], which converts
        /// arguments, results and globals, refuses larger ones.
        impl From<$int> for ScriptValue {
            fn from(value: $int) -> Self {
                Self::Number(value as f64)
            }
        }
    )*};
}
from_large_numbers!(i64, u64, isize, usize);

impl FromScript for f64 {
    fn expected() -> String {
        "number".to_owned()
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Number(number) => Ok(number),
            other => Err(other),
        }
    }
}

impl IntoScript for f64 {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        Ok(ScriptValue::Number(self))
    }
}

impl FromScript for f32 {
    fn expected() -> String {
        f64::expected()
    }
    fn expected_instead_of(got: &ScriptValue) -> String {
        match got {
            ScriptValue::Number(_) => "number up to 3.4e38".to_owned(),
            _ => Self::expected(),
        }
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        let number = f64::from_script(value)?;
        let rounded = number as f32;
        // A finite number must not become infinite.
        if rounded.is_infinite() && number.is_finite() {
            return Err(ScriptValue::Number(number));
        }
        Ok(rounded)
    }
}

impl IntoScript for f32 {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        Ok(ScriptValue::Number(self.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_out_of_range_or_with_a_fraction_is_refused() {
        assert_eq!(u8::from_script(255.0.into()), Ok(255));
        assert_eq!(u8::from_script(256.0.into()), Err(256.0.into()));
        assert_eq!(i8::from_script((-129.0).into()), Err((-129.0).into()));
        assert_eq!(i32::from_script(1.5.into()), Err(1.5.into()));
        assert!(u64::from_script(f64::NAN.into()).is_err());
        assert!(i64::from_script(f64::INFINITY.into()).is_err());
    }

    #[test]
    fn a_number_that_lua_cannot_hold_exactly_is_an_error_not_a_rounding() {
        assert_eq!((1_u64 << 53).into_script().ok(), Some(9_007_199_254_740_992.0.into()));
        for inexact in [(1_u64 << 53) + 1, u64::MAX] {
            assert!(matches!(inexact.into_script(), Err(ScriptError::Inexact { .. })), "{inexact}");
        }
    }
}
