//! Leaves: types that Lua holds as one value, such as numbers, strings and colors.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::time::Duration;

use bevy::color::{Alpha, Color, Srgba};
use bevy::math::{Dir3, Vec3A};
use bevy::prelude::{Entity, Name, Vec2, Vec3};
use bevy::reflect::PartialReflect;

use super::table::{name_of, no_elements, unknown};
use super::value_path::ValuePath;
use crate::error::ScriptError;
use crate::value::{FromScript, IntoScript, ScriptTable, ScriptValue, describe};

macro_rules! leaves {
    ($($ty:ty),* $(,)?) => {
        /// Reads a leaf; `None` if it is none.
        pub(super) fn read_leaf(value: &dyn PartialReflect) -> Option<Result<ScriptValue, ScriptError>> {
            let value = value.try_as_reflect()?.as_any();
            // Get the id once: each downcast would make another virtual call.
            let id = value.type_id();
            $(if id == TypeId::of::<$ty>() {
                return value.downcast_ref::<$ty>().map(|value| value.clone().into_script());
            })*
            read_special(value, id)
        }

        /// Writes a leaf. Returns `value` if the target is none.
        pub(super) fn write_leaf(
            target: &mut dyn PartialReflect,
            value: ScriptValue,
            place: &ValuePath<'_>,
        ) -> Result<Option<ScriptValue>, ScriptError> {
            // Dynamic types are no leaves.
            let Some(id) = target.try_as_reflect().map(|target| target.as_any().type_id()) else {
                return Ok(Some(value));
            };
            $(if id == TypeId::of::<$ty>()
                && let Some(target) = target.try_downcast_mut::<$ty>()
            {
                *target = <$ty>::from_script(value).map_err(|got| ScriptError::WrongType {
                    place: place.to_string(),
                    expected: <$ty>::expected_instead_of(&got),
                    got: describe(&got),
                })?;
                return Ok(None);
            })*
            write_special(target, value, place)
        }

        pub(super) fn blank_leaf(type_id: TypeId) -> Option<Box<dyn PartialReflect>> {
            $(if type_id == TypeId::of::<$ty>() {
                return Some(Box::new(blank::<$ty>()));
            })*
            if type_id == TypeId::of::<Entity>() {
                return Some(Box::new(Entity::PLACEHOLDER));
            }
            blank_special(type_id)
        }
    };
}
leaves!(f32, Vec3, bool, f64, String, Vec2, i32, u32, usize, u8, u16, u64, i8, i16, i64, isize);

/// Whether this type is a leaf.
pub(crate) fn is_leaf(type_id: TypeId) -> bool {
    blank_leaf(type_id).is_some()
}

fn blank<T: Default>() -> T {
    T::default()
}

fn read_special(value: &dyn Any, id: TypeId) -> Option<Result<ScriptValue, ScriptError>> {
    /// Downcasts; makes no virtual call if the type is another.
    fn cast<T: 'static>(value: &dyn Any, id: TypeId) -> Option<&T> {
        if id == TypeId::of::<T>() { value.downcast_ref() } else { None }
    }
    Some(Ok(if let Some(value) = cast::<Entity>(value, id) {
        (*value).into()
    } else if let Some(value) = cast::<Name>(value, id) {
        value.as_str().into()
    } else if let Some(value) = cast::<Cow<'static, str>>(value, id) {
        value.as_ref().into()
    } else if let Some(value) = cast::<char>(value, id) {
        value.to_string().into()
    } else if let Some(value) = cast::<Duration>(value, id) {
        value.as_secs_f64().into()
    } else if let Some(value) = cast::<Vec3A>(value, id) {
        Vec3::from(*value).into()
    } else if let Some(value) = cast::<Dir3>(value, id) {
        value.as_vec3().into()
    } else if let Some(value) = cast::<Color>(value, id) {
        let Srgba { red, green, blue, alpha } = value.to_srgba();
        ScriptTable::from([("red", red), ("green", green), ("blue", blue), ("alpha", alpha)]).into()
    } else {
        return None;
    }))
}

fn write_special(
    target: &mut dyn PartialReflect,
    value: ScriptValue,
    place: &ValuePath<'_>,
) -> Result<Option<ScriptValue>, ScriptError> {
    let wrong = |expected: &str, got: &ScriptValue| ScriptError::WrongType {
        place: place.to_string(),
        expected: expected.to_owned(),
        got: describe(got),
    };
    if let Some(target) = target.try_downcast_mut::<Entity>() {
        *target = Entity::from_script(value).map_err(|got| wrong("Entity", &got))?;
    } else if let Some(target) = target.try_downcast_mut::<Name>() {
        let name = String::from_script(value).map_err(|got| wrong("string", &got))?;
        // `Name` keeps a hash, so it is replaced as a whole.
        *target = Name::new(name);
    } else if let Some(target) = target.try_downcast_mut::<Cow<'static, str>>() {
        *target = String::from_script(value).map_err(|got| wrong("string", &got))?.into();
    } else if let Some(target) = target.try_downcast_mut::<char>() {
        let expected = "string of one character";
        let text = String::from_script(value).map_err(|got| wrong(expected, &got))?;
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => *target = only,
            _ => return Err(wrong(expected, &text.into_script()?)),
        }
    } else if let Some(target) = target.try_downcast_mut::<Duration>() {
        let expected = "number of seconds, not negative";
        let seconds = f64::from_script(value).map_err(|got| wrong(expected, &got))?;
        *target = Duration::try_from_secs_f64(seconds)
            .map_err(|_| wrong(expected, &ScriptValue::Number(seconds)))?;
    } else if let Some(target) = target.try_downcast_mut::<Vec3A>() {
        *target = Vec3::from_script(value).map_err(|got| wrong("vector", &got))?.into();
    } else if let Some(target) = target.try_downcast_mut::<Dir3>() {
        let expected = "vector that is not zero";
        let vector = Vec3::from_script(value).map_err(|got| wrong(expected, &got))?;
        *target = Dir3::new(vector).map_err(|_| wrong(expected, &vector.into()))?;
    } else if let Some(target) = target.try_downcast_mut::<Color>() {
        *target = write_color(*target, value, place)?;
    } else {
        return Ok(Some(value));
    }
    Ok(None)
}

fn write_color(
    before: Color,
    value: ScriptValue,
    place: &ValuePath<'_>,
) -> Result<Color, ScriptError> {
    let wrong = |got: &ScriptValue| ScriptError::WrongType {
        place: place.to_string(),
        expected: "a table {red, green, blue, alpha} of numbers, or \"#rrggbb\"".to_owned(),
        got: describe(got),
    };
    match value {
        ScriptValue::String(text) => match Srgba::hex(&text) {
            Ok(color) => Ok(color.into()),
            Err(_) => Err(wrong(&ScriptValue::String(text))),
        },
        ScriptValue::Table(table) => {
            no_elements(&table, place)?;
            let mut color = before.to_srgba();
            for (key, value) in table.fields {
                let part = match name_of(&key, place)? {
                    "red" => &mut color.red,
                    "green" => &mut color.green,
                    "blue" => &mut color.blue,
                    "alpha" => &mut color.alpha,
                    other => {
                        let names = ["red", "green", "blue", "alpha"].into_iter();
                        return Err(unknown(place, other, names));
                    }
                };
                *part = f32::from_script(value).map_err(|got| wrong(&got))?;
            }
            let alpha = color.alpha;
            Ok(Color::from(color).with_alpha(alpha))
        }
        other => Err(wrong(&other)),
    }
}

fn blank_special(type_id: TypeId) -> Option<Box<dyn PartialReflect>> {
    Some(if type_id == TypeId::of::<Name>() {
        Box::new(Name::new(""))
    } else if type_id == TypeId::of::<Cow<'static, str>>() {
        Box::new(Cow::Borrowed(""))
    } else if type_id == TypeId::of::<char>() {
        Box::new(char::default())
    } else if type_id == TypeId::of::<Duration>() {
        Box::new(Duration::ZERO)
    } else if type_id == TypeId::of::<Vec3A>() {
        Box::new(Vec3A::ZERO)
    } else if type_id == TypeId::of::<Dir3>() {
        Box::new(Dir3::NEG_Z)
    } else if type_id == TypeId::of::<Color>() {
        Box::new(Color::WHITE)
    } else {
        return None;
    })
}
