//! Component values as plain data.

use bevy::reflect::enums::VariantType;
use bevy::reflect::{PartialReflect, ReflectRef, TypeInfo};

use super::leaf::read_leaf;
use super::table::short_name;
use crate::error::ScriptError;
use crate::value::{ScriptKey, ScriptTable, ScriptValue};

/// How Lua gets a value.
pub(crate) enum ValueForm {
    /// A plain value.
    Plain(ScriptValue),
    /// As a handle, whose fields are read and written one by one.
    Fields,
    /// As a table, copied as a whole.
    Table(ScriptTable),
}

/// How Lua gets a value. The fields of a handle are not read.
pub(crate) fn form(value: &dyn PartialReflect) -> Result<ValueForm, ScriptError> {
    if let Some(leaf) = read_leaf(value) {
        return Ok(match leaf? {
            ScriptValue::Table(table) => ValueForm::Table(table),
            leaf => ValueForm::Plain(leaf),
        });
    }
    Ok(match value.reflect_ref() {
        ReflectRef::Struct(_) | ReflectRef::TupleStruct(_) | ReflectRef::Tuple(_) => {
            ValueForm::Fields
        }
        _ => match read(value)? {
            ScriptValue::Table(table) => ValueForm::Table(table),
            leaf => ValueForm::Plain(leaf),
        },
    })
}

/// Copies a whole value.
pub(crate) fn read(value: &dyn PartialReflect) -> Result<ScriptValue, ScriptError> {
    if let Some(leaf) = read_leaf(value) {
        return leaf;
    }
    let mut table = ScriptTable::default();
    match value.reflect_ref() {
        ReflectRef::Struct(value) => {
            let mut fields = Vec::with_capacity(value.field_len());
            for (name, field) in value.iter_fields() {
                fields.push((name, read(field)?));
            }
            table = fields.into_iter().collect();
        }
        ReflectRef::TupleStruct(value) => table.array = read_all(value.iter_fields())?,
        ReflectRef::Tuple(value) => table.array = read_all(value.iter_fields())?,
        ReflectRef::List(value) => table.array = read_all(value.iter())?,
        ReflectRef::Array(value) => table.array = read_all(value.iter())?,
        ReflectRef::Set(value) => {
            table.array = read_all(value.iter())?;
            // A hash set has no order of its own.
            table.array.sort_by(order);
        }
        ReflectRef::Map(value) => {
            let mut fields = Vec::with_capacity(value.len());
            for (key, value) in value.iter() {
                fields.push((read_key(key)?, read(value)?));
            }
            table = fields.into_iter().collect();
            table.move_fields_to_array();
        }
        ReflectRef::Enum(value) => return read_enum(value),
        _ => {
            return Err(ScriptError::Host {
                message: format!("a {} can't be held by Lua", short_name(value)),
            });
        }
    }
    Ok(table.into())
}

fn read_all<'v>(
    values: impl Iterator<Item = &'v dyn PartialReflect>,
) -> Result<Vec<ScriptValue>, ScriptError> {
    values.map(read).collect()
}

fn read_key(key: &dyn PartialReflect) -> Result<ScriptKey, ScriptError> {
    Ok(match read(key)? {
        ScriptValue::Bool(key) => key.into(),
        ScriptValue::Number(key) => key.into(),
        ScriptValue::String(key) => key.into(),
        ScriptValue::Entity(key) => key.into(),
        _ => {
            return Err(ScriptError::Host {
                message: format!("a {} can't be a key in Lua", short_name(key)),
            });
        }
    })
}

fn read_enum(value: &dyn bevy::reflect::enums::Enum) -> Result<ScriptValue, ScriptError> {
    if is_option(value.as_partial_reflect().get_represented_type_info()) {
        return value.field_at(0).map_or(Ok(ScriptValue::Nil), read);
    }
    let name = value.variant_name();
    let fields = match value.variant_type() {
        VariantType::Unit => return Ok(name.into()),
        VariantType::Tuple if value.field_len() == 1 => {
            read(value.field_at(0).expect("the variant has one field"))?
        }
        VariantType::Tuple => {
            let array = read_all(value.iter_fields().map(|field| field.value()))?;
            ScriptTable { array, ..Default::default() }.into()
        }
        VariantType::Struct => {
            let mut fields = ScriptTable::default();
            for field in value.iter_fields() {
                fields.set(field.name().unwrap_or_default(), read(field.value())?);
            }
            fields.into()
        }
    };
    Ok(ScriptTable::from([(name, fields)]).into())
}

fn is_option(info: Option<&TypeInfo>) -> bool {
    info.is_some_and(|info| {
        info.type_path_table().module_path() == Some("core::option")
            && info.type_path_table().ident() == Some("Option")
    })
}

fn order(a: &ScriptValue, b: &ScriptValue) -> std::cmp::Ordering {
    match (a, b) {
        (ScriptValue::Number(a), ScriptValue::Number(b)) => a.total_cmp(b),
        (ScriptValue::String(a), ScriptValue::String(b)) => a.cmp(b),
        (ScriptValue::Entity(a), ScriptValue::Entity(b)) => a.cmp(b),
        (a, b) => a.to_string().cmp(&b.to_string()),
    }
}
