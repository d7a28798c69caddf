//! Fields, positions and keys of tables, and the errors if they don't match a type.

use bevy::reflect::enums::EnumInfo;
use bevy::reflect::{PartialReflect, TypeInfo};

use super::value_path::ValuePath;
use crate::error::{ScriptError, suggest};
use crate::value::{ScriptKey, ScriptTable, ScriptValue};

pub(super) fn unknown<'a>(
    place: &ValuePath<'_>,
    field: &str,
    names: impl Iterator<Item = &'a str>,
) -> ScriptError {
    ScriptError::UnknownField {
        owner: place.to_string(),
        field: field.to_owned(),
        similar: suggest(field, names),
    }
}

pub(super) fn unwritable(place: &ValuePath<'_>) -> ScriptError {
    ScriptError::ReadOnly { name: place.to_string() }
}

pub(super) fn known(
    info: Option<&'static TypeInfo>,
    place: &ValuePath<'_>,
) -> Result<&'static TypeInfo, ScriptError> {
    info.ok_or_else(|| unwritable(place))
}

pub(super) fn position_of(
    position: f64,
    len: usize,
    place: &ValuePath<'_>,
) -> Result<usize, ScriptError> {
    if position.fract() == 0.0 && position >= 1.0 && position <= len as f64 {
        return Ok(position as usize - 1);
    }
    Err(ScriptError::UnknownField {
        owner: place.to_string(),
        field: position.to_string(),
        similar: (len > 0).then(|| format!("[1] to [{len}]")),
    })
}

pub(super) fn name_of<'k>(
    key: &'k ScriptKey,
    place: &ValuePath<'_>,
) -> Result<&'k str, ScriptError> {
    match key {
        ScriptKey::String(name) => Ok(name),
        other => Err(unknown(place, &other.to_string(), std::iter::empty())),
    }
}

pub(super) fn no_elements(table: &ScriptTable, place: &ValuePath<'_>) -> Result<(), ScriptError> {
    if table.array.is_empty() {
        return Ok(());
    }
    Err(unknown(place, "1", std::iter::empty()))
}

pub(super) fn no_fields(table: &ScriptTable, place: &ValuePath<'_>) -> Result<(), ScriptError> {
    match table.fields.keys().next() {
        None => Ok(()),
        Some(key) => Err(ScriptError::WrongType {
            place: place.to_string(),
            expected: "a list without gaps".to_owned(),
            got: format!("a table with the key {:.80}", key.to_string()),
        }),
    }
}

pub(super) fn elements(
    table: ScriptTable,
    place: &ValuePath<'_>,
) -> Result<Vec<ScriptValue>, ScriptError> {
    no_fields(&table, place)?;
    Ok(table.array)
}

pub(super) fn all_positions(
    table: ScriptTable,
    len: usize,
    place: &ValuePath<'_>,
) -> Result<Vec<ScriptValue>, ScriptError> {
    let values = elements(table, place)?;
    if values.len() == len {
        return Ok(values);
    }
    Err(ScriptError::WrongType {
        place: place.to_string(),
        expected: format!("a table of {len} elements"),
        got: format!("{} elements", values.len()),
    })
}

/// The positions of a tuple that a table has, with their values; some may be missing.
pub(super) fn positions(
    table: ScriptTable,
    len: usize,
    place: &ValuePath<'_>,
) -> Result<Vec<(usize, ScriptValue)>, ScriptError> {
    let mut found = Vec::new();
    for (key, value) in pairs(table) {
        let ScriptValue::Number(position) = key else {
            return Err(unknown(place, &key.to_string(), std::iter::empty()));
        };
        found.push((position_of(position, len, place)?, value));
    }
    Ok(found)
}

pub(super) fn pairs(table: ScriptTable) -> impl Iterator<Item = (ScriptValue, ScriptValue)> {
    let elements = table
        .array
        .into_iter()
        .enumerate()
        .map(|(index, value)| (ScriptValue::Number(index as f64 + 1.0), value));
    let fields = table.fields.into_iter().map(|(key, value)| {
        let key = match key {
            ScriptKey::Bool(key) => ScriptValue::Bool(key),
            ScriptKey::Number(key) => ScriptValue::Number(key),
            ScriptKey::String(key) => ScriptValue::String(key.into()),
            ScriptKey::Entity(key) => ScriptValue::Entity(key),
        };
        (key, value)
    });
    elements.chain(fields)
}

pub(super) fn short_name(value: &dyn PartialReflect) -> &'static str {
    value.get_represented_type_info().map_or("value", |info| info.type_path_table().short_path())
}

pub(super) fn expected(info: &TypeInfo) -> String {
    match info {
        TypeInfo::Enum(info) => expected_variant(info),
        TypeInfo::List(_) | TypeInfo::Array(_) | TypeInfo::Set(_) => "a list".to_owned(),
        TypeInfo::Map(_) => "a table".to_owned(),
        TypeInfo::Struct(info) => {
            format!("a table with the fields {}", info.field_names().join(", "))
        }
        TypeInfo::TupleStruct(info) => format!("a table of {} elements", info.field_len()),
        TypeInfo::Tuple(info) => format!("a table of {} elements", info.field_len()),
        info => format!("a {}", info.type_path_table().short_path()),
    }
}

/// The names of an enum's variants, for messages.
pub(super) fn expected_variant(info: &EnumInfo) -> String {
    let names: Vec<_> = info.variant_names().iter().map(|name| format!("{name:?}")).collect();
    names.join(" or ")
}
