//! Rust types to and from [`ScriptValue`].

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use bevy::prelude::{Entity, Vec2, Vec3};
use smol_str::SmolStr;

use super::{ScriptKey, ScriptTable, ScriptValue};
use crate::error::ScriptError;

/// A Rust type that a script can pass to the host.
pub trait FromScript: Sized {
    /// What a script has to pass, in Lua's terms: `number`, `whole number from 0 to 255`, ….
    fn expected() -> String;

    /// What it has to pass instead of this value, which can't be held.
    #[doc(hidden)]
    fn expected_instead_of(_: &ScriptValue) -> String {
        Self::expected()
    }

    /// Converts the value.
    ///
    /// # Errors
    /// Gives the value back if it can't be held.
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue>;
}

/// A Rust type that the host can pass to a script.
pub trait IntoScript {
    /// Converts the value.
    ///
    /// # Errors
    /// [`ScriptError::Inexact`] if Lua can't hold it without loss.
    fn into_script(self) -> Result<ScriptValue, ScriptError>;
}

/// The arguments of a host function: a tuple of [`FromScript`] types, or a single one. The last one can be
/// [`Variadic`](super::Variadic), for all that are left.
pub trait FromScriptArgs: Sized {
    /// Converts the arguments that the script passed. Missing ones are [`ScriptValue::Nil`];
    /// surplus ones are ignored, as Lua functions do.
    ///
    /// # Errors
    /// [`ScriptError::Argument`] with the function, the position, what was expected and what came.
    fn from_script_args(function: &str, args: Vec<ScriptValue>) -> Result<Self, ScriptError>;
}

/// The argument at a position; one that is missing is nil.
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

/// The type of a value and, if it is short, the value.
pub(crate) fn describe(value: &ScriptValue) -> String {
    match value {
        ScriptValue::Nil => "nil".to_owned(),
        ScriptValue::Table(_) | ScriptValue::Bytes(_) => value.type_name().to_owned(),
        ScriptValue::String(text) if text.chars().count() > 40 => {
            format!("string {:?}…", text.chars().take(40).collect::<String>())
        }
        value => format!("{} {value}", value.type_name()),
    }
}

impl<T: FromScript> FromScriptArgs for T {
    fn from_script_args(function: &str, args: Vec<ScriptValue>) -> Result<Self, ScriptError> {
        argument(function, 1, args.into_iter().next())
    }
}

macro_rules! tuple_args {
    ($($name:ident $position:literal),*) => {
        impl<$($name: FromScript),*> FromScriptArgs for ($($name,)*) {
            fn from_script_args(
                function: &str,
                args: Vec<ScriptValue>,
            ) -> Result<Self, ScriptError> {
                let mut args = args.into_iter();
                Ok(($(argument::<$name>(function, $position, args.next())?,)*))
            }
        }
    };
}

impl FromScriptArgs for () {
    fn from_script_args(_: &str, _: Vec<ScriptValue>) -> Result<Self, ScriptError> {
        Ok(())
    }
}

tuple_args!(A 1);
tuple_args!(A 1, B 2);
tuple_args!(A 1, B 2, C 3);
tuple_args!(A 1, B 2, C 3, D 4);
tuple_args!(A 1, B 2, C 3, D 4, E 5);
tuple_args!(A 1, B 2, C 3, D 4, E 5, F 6);
tuple_args!(A 1, B 2, C 3, D 4, E 5, F 6, G 7);
tuple_args!(A 1, B 2, C 3, D 4, E 5, F 6, G 7, H 8);

/// Whole numbers up to here are exact in Lua's numbers.
pub(crate) const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

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

/// The whole number that a Lua number is, if it is one and fits.
pub(crate) fn whole<T: TryFrom<i128>>(number: f64) -> Option<T> {
    if number.fract() != 0.0 || !number.is_finite() {
        return None;
    }
    T::try_from(number as i128).ok()
}

/// The Lua number that a whole number is, if it is exact.
pub(crate) fn exact<T>(value: T) -> Result<f64, ScriptError>
where
    T: TryInto<i128> + std::fmt::Display + Copy,
{
    let shown = value.to_string();
    match value.try_into() {
        // Compared before it becomes a float: 2^53 + 1 would be rounded to 2^53.
        Ok(number) if number.unsigned_abs() <= MAX_EXACT as u128 => Ok(number as f64),
        _ => Err(ScriptError::Inexact { value: shown }),
    }
}

macro_rules! simple {
    ($($ty:ty, $expected:literal, $variant:ident);* $(;)?) => {$(
        impl FromScript for $ty {
            fn expected() -> String {
                $expected.to_owned()
            }
            fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
                match value {
                    ScriptValue::$variant(value) => Ok(value.into()),
                    other => Err(other),
                }
            }
        }

        impl IntoScript for $ty {
            fn into_script(self) -> Result<ScriptValue, ScriptError> {
                Ok(ScriptValue::$variant(self.into()))
            }
        }

        impl From<$ty> for ScriptValue {
            fn from(value: $ty) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
simple! {
    bool, "boolean", Bool;
    f64, "number", Number;
    String, "string", String;
    Vec3, "vector", Vector;
    Entity, "Entity", Entity;
    ScriptTable, "table", Table;
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
        // It doesn't become infinite by itself.
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

impl IntoScript for &str {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        Ok(self.into())
    }
}

impl<T: FromScript> FromScript for Option<T> {
    fn expected() -> String {
        format!("{} or nil", T::expected())
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Nil => Ok(None),
            value => T::from_script(value).map(Some),
        }
    }
}

impl<T: IntoScript> IntoScript for Option<T> {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        self.map_or(Ok(ScriptValue::Nil), T::into_script)
    }
}

impl<T: FromScript> FromScript for Vec<T> {
    fn expected() -> String {
        format!("list of {}", T::expected())
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Table(table) if table.fields.is_empty() => {
                table.array.into_iter().map(T::from_script).collect()
            }
            other => Err(other),
        }
    }
}

/// A list. An element that is nil ends what Lua counts; those after it are fields.
fn list(elements: impl IntoIterator<Item = ScriptValue>) -> ScriptTable {
    let mut table = ScriptTable::default();
    let mut rest = Vec::new();
    for (element, position) in elements.into_iter().zip(1_usize..) {
        if element == ScriptValue::Nil {
            continue;
        }
        if table.array.len() + 1 == position {
            table.array.push(element);
        } else {
            rest.push((ScriptKey::Number(position as f64), element));
        }
    }
    table.fields = rest.into();
    table
}

macro_rules! lists {
    ($($list:ty, [$($generic:tt)*]);* $(;)?) => {$(
        impl<T: IntoScript, $($generic)*> IntoScript for $list {
            fn into_script(self) -> Result<ScriptValue, ScriptError> {
                let elements = self.into_iter().map(T::into_script).collect::<Result<Vec<_>, _>>()?;
                Ok(ScriptValue::Table(list(elements)))
            }
        }

        impl<T: Into<ScriptValue>, $($generic)*> From<$list> for ScriptValue {
            fn from(elements: $list) -> Self {
                Self::Table(list(elements.into_iter().map(T::into)))
            }
        }
    )*};
}
lists! {
    Vec<T>, [];
    [T; N], [const N: usize];
}

impl<T: Into<ScriptValue> + Clone> From<&[T]> for ScriptValue {
    fn from(elements: &[T]) -> Self {
        Self::Table(list(elements.iter().map(|element| element.clone().into())))
    }
}

impl<T: Into<ScriptValue>> From<Vec<T>> for ScriptTable {
    fn from(elements: Vec<T>) -> Self {
        list(elements.into_iter().map(T::into))
    }
}

impl<T: Into<ScriptValue>> From<Option<T>> for ScriptValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, T::into)
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

macro_rules! string_maps {
    ($($map:ty, [$($generic:tt)*]);* $(;)?) => {$(
        impl<V: FromScript, $($generic)*> FromScript for $map {
            fn expected() -> String {
                format!("table of {} by string", V::expected())
            }
            fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
                match value {
                    ScriptValue::Table(table) if table.array.is_empty() => table
                        .fields
                        .into_iter()
                        .map(|(key, value)| match key {
                            ScriptKey::String(key) => Ok((key.into(), V::from_script(value)?)),
                            _ => Err(value),
                        })
                        .collect(),
                    other => Err(other),
                }
            }
        }
    )*};
}
string_maps! {
    BTreeMap<String, V>, [];
    HashMap<String, V, S>, [S: BuildHasher + Default];
}

macro_rules! maps {
    ($($map:ty, [$($generic:tt)*]);* $(;)?) => {$(
        impl<K: Into<ScriptKey>, V: IntoScript, $($generic)*> IntoScript for $map {
            fn into_script(self) -> Result<ScriptValue, ScriptError> {
                let pairs = self.into_iter().map(|(key, value)| Ok((key, value.into_script()?)));
                let mut table: ScriptTable = pairs.collect::<Result<_, ScriptError>>()?;
                table.settle();
                Ok(table.into())
            }
        }

        impl<K: Into<ScriptKey>, V: Into<ScriptValue>, $($generic)*> From<$map> for ScriptTable {
            fn from(map: $map) -> Self {
                let mut table: Self = map.into_iter().collect();
                table.settle();
                table
            }
        }

        impl<K: Into<ScriptKey>, V: Into<ScriptValue>, $($generic)*> From<$map> for ScriptValue {
            fn from(map: $map) -> Self {
                Self::Table(map.into())
            }
        }
    )*};
}
maps! {
    BTreeMap<K, V>, [];
    HashMap<K, V, S>, [S];
}

impl From<&str> for ScriptValue {
    fn from(value: &str) -> Self {
        Self::String(value.to_owned())
    }
}

impl From<f32> for ScriptValue {
    fn from(value: f32) -> Self {
        Self::Number(value.into())
    }
}

macro_rules! small_numbers {
    ($($int:ty),*) => {$(
        impl From<$int> for ScriptValue {
            fn from(value: $int) -> Self {
                Self::Number(value.into())
            }
        }
    )*};
}
small_numbers!(i8, i16, i32, u8, u16, u32);

macro_rules! large_numbers {
    ($($int:ty),*) => {$(
        /// Rounded to the nearest number that Lua has: whole numbers are exact up to 2^53. [`IntoScript`], by which
        /// arguments, results and globals are converted, refuses what isn't.
        impl From<$int> for ScriptValue {
            fn from(value: $int) -> Self {
                Self::Number(value as f64)
            }
        }
    )*};
}
large_numbers!(i64, u64, isize, usize);

impl From<&String> for ScriptValue {
    fn from(value: &String) -> Self {
        Self::String(value.clone())
    }
}

macro_rules! number_keys {
    ($($int:ty),*) => {$(
        impl From<$int> for ScriptKey {
            fn from(value: $int) -> Self {
                Self::Number(value.into())
            }
        }
    )*};
}
number_keys!(i8, i16, i32, u8, u16, u32, f32);

macro_rules! keys {
    ($($ty:ty, $variant:ident);* $(;)?) => {$(
        impl From<$ty> for ScriptKey {
            fn from(value: $ty) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
keys! {
    bool, Bool;
    f64, Number;
    &str, String;
    String, String;
    SmolStr, String;
    Entity, Entity;
}

impl From<&String> for ScriptKey {
    fn from(value: &String) -> Self {
        Self::String(value.into())
    }
}

impl From<ScriptKey> for ScriptValue {
    fn from(key: ScriptKey) -> Self {
        match key {
            ScriptKey::Bool(key) => Self::Bool(key),
            ScriptKey::Number(key) => Self::Number(key),
            ScriptKey::String(key) => Self::String(key.into()),
            ScriptKey::Entity(key) => Self::Entity(key),
        }
    }
}

/// Gives back what is no key.
impl TryFrom<ScriptValue> for ScriptKey {
    type Error = ScriptValue;

    fn try_from(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Bool(value) => Ok(Self::Bool(value)),
            ScriptValue::Number(value) => Ok(Self::Number(value)),
            ScriptValue::String(value) => Ok(Self::String(value.into())),
            ScriptValue::Entity(value) => Ok(Self::Entity(value)),
            other => Err(other),
        }
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

    #[test]
    fn lists_maps_options_and_all_numbers_become_values() {
        let list = ScriptValue::from(vec![1_usize, 2]);
        assert_eq!(list.to_string(), "{1, 2}");
        assert_eq!(
            ScriptValue::from([Some("a"), None, Some("c")]).to_string(),
            "{\"a\", [3] = \"c\"}"
        );
        assert_eq!(ScriptValue::from(&[true][..]).to_string(), "{true}");
        assert_eq!(ScriptValue::from(None::<f32>), ScriptValue::Nil);
        let scores = HashMap::from([("ann", 3_u64), ("bob", 4)]);
        assert_eq!(ScriptValue::from(scores).to_string(), "{ann = 3, bob = 4}");
        let rows = BTreeMap::from([(1, vec!["x"]), (2, vec![]), (7, vec!["y"])]);
        let shown = "{{\"x\"}, {}, [7] = {\"y\"}}";
        assert_eq!(ScriptTable::from(rows.clone()).to_string(), shown);
        assert_eq!(rows.into_script().expect("it is data").to_string(), shown);
        assert_eq!(ScriptTable::from(()), ScriptTable::default());
        assert_eq!(ScriptValue::from(i64::MIN), (-9_223_372_036_854_775_808.0).into());
    }

    #[test]
    fn a_vector_with_z_does_not_pass_for_a_vec2() {
        assert_eq!(Vec2::from_script(Vec3::new(1.0, 2.0, 0.0).into()), Ok(Vec2::new(1.0, 2.0)));
        assert!(Vec2::from_script(Vec3::ONE.into()).is_err());
    }
}
