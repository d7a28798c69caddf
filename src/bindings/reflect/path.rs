//! Paths within a value: steps by field number.

use bevy::prelude::Entity;
use bevy::reflect::{PartialReflect, ReflectMut, ReflectRef};

use super::table::{position_of, unknown};
use super::value_path::ValuePath;
use crate::error::ScriptError;
use crate::vm::Field;

/// The value at the end of these steps.
pub(crate) fn at<'v>(
    value: &'v dyn PartialReflect,
    steps: &[u16],
) -> Option<&'v dyn PartialReflect> {
    steps.iter().try_fold(value, |value, step| {
        let step = usize::from(*step);
        match value.reflect_ref() {
            ReflectRef::Struct(value) => value.field_at(step),
            ReflectRef::TupleStruct(value) => value.field(step),
            ReflectRef::Tuple(value) => value.field(step),
            _ => None,
        }
    })
}

/// As [`at`], to be changed.
pub(crate) fn at_mut<'v>(
    value: &'v mut dyn PartialReflect,
    steps: &[u16],
) -> Option<&'v mut dyn PartialReflect> {
    steps.iter().try_fold(value, |value, step| {
        let step = usize::from(*step);
        match value.reflect_mut() {
            ReflectMut::Struct(value) => value.field_at_mut(step),
            ReflectMut::TupleStruct(value) => value.field_mut(step),
            ReflectMut::Tuple(value) => value.field_mut(step),
            _ => None,
        }
    })
}

/// The number of a field by its name or position.
///
/// # Errors
/// If there is no such field.
pub(crate) fn step(
    value: &dyn PartialReflect,
    field: Field<'_>,
    place: &ValuePath<'_>,
) -> Result<usize, ScriptError> {
    match (value.reflect_ref(), field) {
        (ReflectRef::Struct(value), Field::Name(name)) => {
            value.index_of_name(name).ok_or_else(|| {
                let names = (0..value.field_len()).filter_map(|index| value.name_at(index));
                unknown(place, name, names)
            })
        }
        (ReflectRef::TupleStruct(value), Field::Position(position)) => {
            position_of(position, value.field_len(), place)
        }
        (ReflectRef::Tuple(value), Field::Position(position)) => {
            position_of(position, value.field_len(), place)
        }
        (_, Field::Name(name)) => Err(unknown(place, name, std::iter::empty())),
        (_, Field::Position(position)) => {
            Err(unknown(place, &position.to_string(), std::iter::empty()))
        }
    }
}

/// The name of a field, for messages.
pub(crate) fn field_name(value: &dyn PartialReflect, step: u16) -> String {
    match value.reflect_ref() {
        ReflectRef::Struct(value) => {
            format!(".{}", value.name_at(usize::from(step)).unwrap_or("?"))
        }
        _ => format!("[{}]", step + 1),
    }
}

/// Replaces every entity in a value that reflection reaches.
pub(crate) fn map_entities(value: &mut dyn PartialReflect, map: &mut dyn FnMut(Entity) -> Entity) {
    if let Some(entity) = value.try_downcast_mut::<Entity>() {
        *entity = map(*entity);
        return;
    }
    match value.reflect_mut() {
        ReflectMut::Struct(value) => {
            for index in 0..value.field_len() {
                map_entities(value.field_at_mut(index).expect("within the length"), map);
            }
        }
        ReflectMut::TupleStruct(value) => {
            for index in 0..value.field_len() {
                map_entities(value.field_mut(index).expect("within the length"), map);
            }
        }
        ReflectMut::Tuple(value) => {
            for index in 0..value.field_len() {
                map_entities(value.field_mut(index).expect("within the length"), map);
            }
        }
        ReflectMut::List(value) => {
            for index in 0..value.len() {
                map_entities(value.get_mut(index).expect("within the length"), map);
            }
        }
        ReflectMut::Array(value) => {
            for index in 0..value.len() {
                map_entities(value.get_mut(index).expect("within the length"), map);
            }
        }
        ReflectMut::Enum(value) => {
            for index in 0..value.field_len() {
                map_entities(value.field_at_mut(index).expect("within the length"), map);
            }
        }
        ReflectMut::Map(value) => {
            let mut pairs = value.drain();
            for (key, inner) in &mut pairs {
                map_entities(key.as_mut(), map);
                map_entities(inner.as_mut(), map);
            }
            for (key, inner) in pairs {
                value.insert_boxed(key, inner);
            }
        }
        ReflectMut::Set(value) => {
            for mut inner in value.drain() {
                map_entities(inner.as_mut(), map);
                value.insert_boxed(inner);
            }
        }
        _ => {}
    }
}
