//! Making a value of a type from plain data.

use bevy::prelude::ReflectDefault;
use bevy::reflect::array::DynamicArray;
use bevy::reflect::enums::{DynamicEnum, DynamicVariant, EnumInfo, VariantInfo};
use bevy::reflect::list::DynamicList;
use bevy::reflect::map::{DynamicMap, Map};
use bevy::reflect::set::{DynamicSet, Set};
use bevy::reflect::structs::DynamicStruct;
use bevy::reflect::tuple::DynamicTuple;
use bevy::reflect::tuple_struct::DynamicTupleStruct;
use bevy::reflect::{PartialReflect, TypeInfo, TypeRegistry, UnnamedField};

use super::leaf::blank_leaf;
use super::table::{
    all_positions, elements, expected, known, name_of, no_elements, pairs, unknown, unwritable,
};
use super::write::write;
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue, describe};

/// Makes a value of a type: its default with the given fields, or all of it from the given fields.
///
/// # Errors
/// If the value doesn't fit, or a field without default is missing.
pub(crate) fn construct(
    info: &'static TypeInfo,
    value: ScriptValue,
    place: &str,
    registry: &TypeRegistry,
) -> Result<Box<dyn PartialReflect>, ScriptError> {
    if let Some(mut leaf) = blank_leaf(info.type_id()) {
        write(leaf.as_mut(), value, place, registry)?;
        return Ok(leaf);
    }
    if let TypeInfo::Enum(info) = info {
        return construct_enum(info, value, place, registry);
    }
    if let Some(default) = registry.get_type_data::<ReflectDefault>(info.type_id()) {
        let mut made = default.default().into_partial_reflect();
        write(made.as_mut(), value, place, registry)?;
        return Ok(made);
    }
    let ScriptValue::Table(mut table) = value else {
        return Err(ScriptError::WrongType {
            place: place.to_owned(),
            expected: expected(info),
            got: describe(&value),
        });
    };
    match info {
        TypeInfo::Struct(fields) => {
            no_elements(&table, place)?;
            let mut made = DynamicStruct::default();
            made.set_represented_type(Some(info));
            for field in fields.iter() {
                let inner = format!("{place}.{}", field.name());
                let value = table.fields.remove(&field.name().into()).unwrap_or_default();
                let field_info = known(field.type_info(), &inner)?;
                made.insert_boxed(field.name(), construct(field_info, value, &inner, registry)?);
            }
            if let Some(key) = table.fields.keys().next() {
                return Err(unknown(place, &key.to_string(), fields.field_names().iter().copied()));
            }
            Ok(Box::new(made))
        }
        TypeInfo::TupleStruct(fields) => {
            let mut made = DynamicTupleStruct::default();
            made.set_represented_type(Some(info));
            for field in construct_fields(fields.iter(), table, place, registry)? {
                made.insert_boxed(field);
            }
            Ok(Box::new(made))
        }
        TypeInfo::Tuple(fields) => {
            let mut made = DynamicTuple::default();
            made.set_represented_type(Some(info));
            for field in construct_fields(fields.iter(), table, place, registry)? {
                made.insert_boxed(field);
            }
            Ok(Box::new(made))
        }
        TypeInfo::List(list) => {
            let mut made = DynamicList::default();
            made.set_represented_type(Some(info));
            for value in elements(table, place)? {
                made.push_box(construct(known(list.item_info(), place)?, value, place, registry)?);
            }
            Ok(Box::new(made))
        }
        TypeInfo::Array(array) => {
            let values = all_positions(table, array.capacity(), place)?
                .into_iter()
                .map(|value| construct(known(array.item_info(), place)?, value, place, registry))
                .collect::<Result<Vec<_>, _>>()?;
            let mut made = DynamicArray::new(values.into());
            made.set_represented_type(Some(info));
            Ok(Box::new(made))
        }
        TypeInfo::Map(map) => {
            let mut made = DynamicMap::default();
            made.set_represented_type(Some(info));
            for (key, value) in pairs(table) {
                made.insert_boxed(
                    construct(known(map.key_info(), place)?, key, place, registry)?,
                    construct(known(map.value_info(), place)?, value, place, registry)?,
                );
            }
            Ok(Box::new(made))
        }
        TypeInfo::Set(set) => {
            let mut made = DynamicSet::default();
            made.set_represented_type(Some(info));
            let value_info = registry.get_type_info(set.value_ty().id());
            for value in elements(table, place)? {
                made.insert_boxed(construct(known(value_info, place)?, value, place, registry)?);
            }
            Ok(Box::new(made))
        }
        _ => Err(unwritable(place)),
    }
}

/// All fields of a tuple or tuple struct.
fn construct_fields<'f>(
    fields: impl ExactSizeIterator<Item = &'f UnnamedField>,
    table: ScriptTable,
    place: &str,
    registry: &TypeRegistry,
) -> Result<Vec<Box<dyn PartialReflect>>, ScriptError> {
    let values = all_positions(table, fields.len(), place)?;
    fields
        .zip(values)
        .zip(1..)
        .map(|((field, value), index)| {
            let inner = format!("{place}[{index}]");
            construct(known(field.type_info(), &inner)?, value, &inner, registry)
        })
        .collect()
}

fn construct_enum(
    info: &'static EnumInfo,
    value: ScriptValue,
    place: &str,
    registry: &TypeRegistry,
) -> Result<Box<dyn PartialReflect>, ScriptError> {
    let (name, payload) = if info.type_path_table().module_path() == Some("core::option") {
        match value {
            ScriptValue::Nil => ("None".to_owned(), ScriptValue::Nil),
            value => ("Some".to_owned(), value),
        }
    } else {
        match value {
            ScriptValue::String(name) => (name, ScriptValue::Nil),
            ScriptValue::Table(table) if table.array.is_empty() && table.fields.len() == 1 => {
                let (key, payload) =
                    table.fields.into_iter().next().expect("there is exactly one field");
                (name_of(key, place)?, payload)
            }
            other => {
                return Err(ScriptError::WrongType {
                    place: place.to_owned(),
                    expected: expected_variant(info),
                    got: describe(&other),
                });
            }
        }
    };
    let Some(variant) = info.variant(&name) else {
        return Err(ScriptError::WrongType {
            place: place.to_owned(),
            expected: expected_variant(info),
            got: format!("{name:?}"),
        });
    };
    let inner = format!("{place}.{name}");
    let made = match variant {
        VariantInfo::Unit(_) => DynamicVariant::Unit,
        VariantInfo::Tuple(fields) => {
            let values = match payload {
                payload if fields.field_len() == 1 => vec![payload],
                ScriptValue::Table(table) => all_positions(table, fields.field_len(), &inner)?,
                other => {
                    return Err(ScriptError::WrongType {
                        place: inner,
                        expected: format!("a table of {} elements", fields.field_len()),
                        got: describe(&other),
                    });
                }
            };
            let mut made = DynamicTuple::default();
            for (field, value) in fields.iter().zip(values) {
                let field_info = known(field.type_info(), &inner)?;
                made.insert_boxed(construct(field_info, value, &inner, registry)?);
            }
            DynamicVariant::Tuple(made)
        }
        VariantInfo::Struct(fields) => {
            let ScriptValue::Table(mut table) = payload else {
                return Err(ScriptError::WrongType {
                    place: inner,
                    expected: "a table of fields".to_owned(),
                    got: describe(&payload),
                });
            };
            let mut made = DynamicStruct::default();
            for field in fields.iter() {
                let value = table.fields.remove(&field.name().into()).unwrap_or_default();
                let inner = format!("{inner}.{}", field.name());
                let field_info = known(field.type_info(), &inner)?;
                made.insert_boxed(field.name(), construct(field_info, value, &inner, registry)?);
            }
            if let Some(key) = table.fields.keys().next() {
                let names = fields.field_names().iter().copied();
                return Err(unknown(&inner, &key.to_string(), names));
            }
            DynamicVariant::Struct(made)
        }
    };
    let mut dynamic = DynamicEnum::new(name, made);
    dynamic.set_represented_type(Some(info_of(info, registry, place)?));
    Ok(Box::new(dynamic))
}

fn info_of(
    info: &EnumInfo,
    registry: &TypeRegistry,
    place: &str,
) -> Result<&'static TypeInfo, ScriptError> {
    known(registry.get_type_info(info.type_id()), place)
}

pub(super) fn expected_variant(info: &EnumInfo) -> String {
    let names: Vec<_> = info.variant_names().iter().map(|name| format!("{name:?}")).collect();
    names.join(" or ")
}
