//! Plain data into component values: writing to an existing value, and constructing a new one.
//!
//! The two call each other: writing to an enum or a longer list constructs values, and a type with a default is
//! constructed by writing to that.

use bevy::prelude::ReflectDefault;
use bevy::reflect::array::DynamicArray;
use bevy::reflect::enums::{DynamicEnum, DynamicVariant, EnumInfo, VariantInfo};
use bevy::reflect::list::DynamicList;
use bevy::reflect::map::{DynamicMap, Map};
use bevy::reflect::set::{DynamicSet, Set};
use bevy::reflect::structs::DynamicStruct;
use bevy::reflect::tuple::DynamicTuple;
use bevy::reflect::tuple_struct::DynamicTupleStruct;
use bevy::reflect::{PartialReflect, ReflectMut, ReflectRef, TypeInfo, TypeRegistry, UnnamedField};

use super::copy::assign;
use super::leaf::{blank_leaf, write_leaf};
use super::table::{
    all_positions, elements, expected, expected_variant, known, name_of, no_elements, no_fields,
    pairs, positions, unknown, unwritable,
};
use super::value_path::ValuePath;
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue, describe};

/// Writes a value into a place of the same type.
///
/// `place` names it in errors. Fields that are missing in a table keep their values; missing elements and keys are
/// removed.
///
/// # Errors
/// If it doesn't fit. Then `target` may be partly written, so write to a copy.
pub(crate) fn write(
    target: &mut dyn PartialReflect,
    value: ScriptValue,
    place: &ValuePath<'_>,
    registry: &TypeRegistry,
) -> Result<(), ScriptError> {
    let Some(value) = write_leaf(target, value, place)? else {
        return Ok(());
    };
    let info = target.get_represented_type_info();
    let wrong = |value: &ScriptValue| ScriptError::WrongType {
        place: place.to_string(),
        expected: info.map_or_else(|| "a value".to_owned(), expected),
        got: describe(value),
    };
    let is_enum = matches!(target.reflect_ref(), ReflectRef::Enum(_));
    if is_enum {
        let info = info.ok_or_else(|| wrong(&value))?;
        let made = construct(info, value, place, registry)?;
        assign(target, made.as_ref());
        return Ok(());
    }
    let ScriptValue::Table(table) = value else {
        return Err(wrong(&value));
    };
    match target.reflect_mut() {
        ReflectMut::Struct(target) => {
            no_elements(&table, place)?;
            for (key, value) in table.fields {
                let name = name_of(&key, place)?;
                if target.field(name).is_none() {
                    let names = (0..target.field_len()).filter_map(|index| target.name_at(index));
                    return Err(unknown(place, name, names));
                }
                let field = target.field_mut(name).expect("the field was there");
                write(field, value, &ValuePath::Field(place, name), registry)?;
            }
        }
        ReflectMut::TupleStruct(target) => {
            let len = target.field_len();
            for (index, value) in positions(table, len, place)? {
                let field = target.field_mut(index).expect("checked by `positions`");
                write(field, value, &ValuePath::Element(place, index), registry)?;
            }
        }
        ReflectMut::Tuple(target) => {
            let len = target.field_len();
            for (index, value) in positions(table, len, place)? {
                let field = target.field_mut(index).expect("checked by `positions`");
                write(field, value, &ValuePath::Element(place, index), registry)?;
            }
        }
        ReflectMut::Array(target) => {
            if table.array.len() != target.len() || !table.fields.is_empty() {
                return Err(ScriptError::WrongType {
                    place: place.to_string(),
                    expected: format!("exactly {} elements", target.len()),
                    got: format!("{} elements", table.array.len()),
                });
            }
            for (index, value) in table.array.into_iter().enumerate() {
                let element = target.get_mut(index).expect("the lengths are equal");
                write(element, value, &ValuePath::Element(place, index), registry)?;
            }
        }
        ReflectMut::List(target) => {
            no_fields(&table, place)?;
            let item = match info {
                Some(TypeInfo::List(info)) => info.item_info(),
                _ => None,
            };
            while target.len() > table.array.len() {
                target.pop();
            }
            for (index, value) in table.array.into_iter().enumerate() {
                let inner = ValuePath::Element(place, index);
                if let Some(element) = target.get_mut(index) {
                    write(element, value, &inner, registry)?;
                } else {
                    target.push(construct(known(item, &inner)?, value, &inner, registry)?);
                }
            }
        }
        ReflectMut::Map(target) => {
            let Some(TypeInfo::Map(info)) = info else {
                return Err(unwritable(place));
            };
            let (key_info, value_info) =
                (known(info.key_info(), place)?, known(info.value_info(), place)?);
            let mut made = Vec::new();
            for (key, value) in pairs(table) {
                let inner = ValuePath::Key(place, &key);
                made.push((
                    construct(key_info, key.clone(), &inner, registry)?,
                    construct(value_info, value, &inner, registry)?,
                ));
            }
            target.drain();
            for (key, value) in made {
                target.insert_boxed(key, value);
            }
        }
        ReflectMut::Set(target) => {
            no_fields(&table, place)?;
            let Some(TypeInfo::Set(info)) = info else {
                return Err(unwritable(place));
            };
            let value_info = registry.get_type_info(info.value_ty().id());
            let mut made = Vec::new();
            for value in table.array {
                made.push(construct(known(value_info, place)?, value, place, registry)?);
            }
            target.drain();
            for value in made {
                target.insert_boxed(value);
            }
        }
        _ => return Err(unwritable(place)),
    }
    Ok(())
}

/// Constructs a value of a type: its default with the given fields replaced, or if it has none, from the fields alone.
///
/// # Errors
/// If the value doesn't fit, or a field without default is missing.
pub(crate) fn construct(
    info: &'static TypeInfo,
    value: ScriptValue,
    place: &ValuePath<'_>,
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
            place: place.to_string(),
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
                let inner = ValuePath::Field(place, field.name());
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
    place: &ValuePath<'_>,
    registry: &TypeRegistry,
) -> Result<Vec<Box<dyn PartialReflect>>, ScriptError> {
    let values = all_positions(table, fields.len(), place)?;
    fields
        .zip(values)
        .enumerate()
        .map(|(index, (field, value))| {
            let inner = ValuePath::Element(place, index);
            construct(known(field.type_info(), &inner)?, value, &inner, registry)
        })
        .collect()
}

fn construct_enum(
    info: &'static EnumInfo,
    value: ScriptValue,
    place: &ValuePath<'_>,
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
                (name_of(&key, place)?.to_owned(), payload)
            }
            other => {
                return Err(ScriptError::WrongType {
                    place: place.to_string(),
                    expected: expected_variant(info),
                    got: describe(&other),
                });
            }
        }
    };
    let Some(variant) = info.variant(&name) else {
        return Err(ScriptError::WrongType {
            place: place.to_string(),
            expected: expected_variant(info),
            got: format!("{name:?}"),
        });
    };
    let inner = ValuePath::Field(place, &name);
    let made = match variant {
        VariantInfo::Unit(_) => DynamicVariant::Unit,
        VariantInfo::Tuple(fields) => {
            let values = match payload {
                payload if fields.field_len() == 1 => vec![payload],
                ScriptValue::Table(table) => all_positions(table, fields.field_len(), &inner)?,
                other => {
                    return Err(ScriptError::WrongType {
                        place: inner.to_string(),
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
                    place: inner.to_string(),
                    expected: "a table of fields".to_owned(),
                    got: describe(&payload),
                });
            };
            let mut made = DynamicStruct::default();
            for field in fields.iter() {
                let value = table.fields.remove(&field.name().into()).unwrap_or_default();
                let inner = ValuePath::Field(&inner, field.name());
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
    let info = info_of(info, registry, place)?;
    let mut dynamic = DynamicEnum::new(name, made);
    dynamic.set_represented_type(Some(info));
    Ok(Box::new(dynamic))
}

fn info_of(
    info: &EnumInfo,
    registry: &TypeRegistry,
    place: &ValuePath<'_>,
) -> Result<&'static TypeInfo, ScriptError> {
    known(registry.get_type_info(info.type_id()), place)
}
