//! Component values to and from [`ScriptValue`], by reflection.
//!
//! | Rust | Lua |
//! | --- | --- |
//! | `bool`, numbers, `String`, `Name`, `char` | boolean, number, string |
//! | `Duration` | number of seconds |
//! | `Vec2`, `Vec3`, `Vec3A`, `Dir3` | vector (a `Vec2` takes no z) |
//! | `Entity` | entity |
//! | `Color` | table `{red, green, blue, alpha}` in sRGB; takes `"#rrggbb"` too |
//! | struct | fields by name |
//! | tuple, tuple struct | fields by position from 1 |
//! | list, array, set | table of elements |
//! | map | table by key |
//! | `Option` | nil or the value |
//! | enum | the variant's name; a variant with fields is `{Name = fields}` |

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::time::Duration;

use bevy::color::{Alpha, Color, Srgba};
use bevy::math::{Dir3, Vec3A};
use bevy::prelude::{Entity, Name, ReflectDefault, ReflectFromReflect, Vec2, Vec3};
use bevy::reflect::array::DynamicArray;
use bevy::reflect::enums::{DynamicEnum, DynamicVariant, EnumInfo, VariantInfo, VariantType};
use bevy::reflect::list::DynamicList;
use bevy::reflect::map::{DynamicMap, Map};
use bevy::reflect::set::{DynamicSet, Set};
use bevy::reflect::structs::DynamicStruct;
use bevy::reflect::tuple::DynamicTuple;
use bevy::reflect::tuple_struct::DynamicTupleStruct;
use bevy::reflect::{PartialReflect, Reflect, ReflectMut, ReflectRef, TypeInfo, TypeRegistry};

use crate::error::{ScriptError, suggest};
use crate::value::{FromScript, IntoScript, ScriptKey, ScriptTable, ScriptValue, describe};
use crate::vm::Field;

/// What a value looks like from Lua.
pub(crate) enum Shape {
    /// A plain value.
    Leaf(ScriptValue),
    /// Something whose fields are reached one by one.
    Fields,
    /// A table as a whole.
    Table(ScriptTable),
}

/// Looks at a value. Fields are not read.
pub(crate) fn shape(value: &dyn PartialReflect) -> Result<Shape, ScriptError> {
    if let Some(leaf) = read_leaf(value) {
        return Ok(match leaf? {
            ScriptValue::Table(table) => Shape::Table(table),
            leaf => Shape::Leaf(leaf),
        });
    }
    Ok(match value.reflect_ref() {
        ReflectRef::Struct(_) | ReflectRef::TupleStruct(_) | ReflectRef::Tuple(_) => Shape::Fields,
        _ => match read(value)? {
            ScriptValue::Table(table) => Shape::Table(table),
            leaf => Shape::Leaf(leaf),
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
            for (name, field) in value.iter_fields() {
                table.set(name, read(field)?);
            }
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
            for (key, value) in value.iter() {
                table.set(read_key(key)?, read(value)?);
            }
            settle(&mut table);
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

/// Moves the fields 1, 2, 3, … into the array part.
fn settle(table: &mut ScriptTable) {
    while let Some(value) = table.fields.remove(&ScriptKey::Number(table.array.len() as f64 + 1.0))
    {
        table.array.push(value);
    }
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

/// Writes a value into a place of the same type.
///
/// `place` names it in errors. Fields that a table leaves out keep their values; elements and keys
/// that it leaves out go.
///
/// # Errors
/// If it doesn't fit. Then `target` may be half written: write into a copy.
pub(crate) fn write(
    target: &mut dyn PartialReflect,
    value: ScriptValue,
    place: &str,
    registry: &TypeRegistry,
) -> Result<(), ScriptError> {
    let Some(value) = write_leaf(target, value, place)? else {
        return Ok(());
    };
    let info = target.get_represented_type_info();
    let wrong = |value: &ScriptValue| ScriptError::WrongType {
        place: place.to_owned(),
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
                let name = name_of(key, place)?;
                let inner = format!("{place}.{name}");
                if target.field(&name).is_none() {
                    let names = (0..target.field_len()).filter_map(|index| target.name_at(index));
                    return Err(unknown(place, &name, names));
                }
                let field = target.field_mut(&name).expect("the field was there");
                write(field, value, &inner, registry)?;
            }
        }
        ReflectMut::TupleStruct(target) => {
            let len = target.field_len();
            for (index, value) in positions(table, len, place)? {
                let field = target.field_mut(index).expect("checked by `positions`");
                write(field, value, &format!("{place}[{}]", index + 1), registry)?;
            }
        }
        ReflectMut::Tuple(target) => {
            let len = target.field_len();
            for (index, value) in positions(table, len, place)? {
                let field = target.field_mut(index).expect("checked by `positions`");
                write(field, value, &format!("{place}[{}]", index + 1), registry)?;
            }
        }
        ReflectMut::Array(target) => {
            if table.array.len() != target.len() || !table.fields.is_empty() {
                return Err(ScriptError::WrongType {
                    place: place.to_owned(),
                    expected: format!("exactly {} elements", target.len()),
                    got: format!("{} elements", table.array.len()),
                });
            }
            for (index, value) in table.array.into_iter().enumerate() {
                let element = target.get_mut(index).expect("the lengths are equal");
                write(element, value, &format!("{place}[{}]", index + 1), registry)?;
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
                let inner = format!("{place}[{}]", index + 1);
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
                let inner = format!("{place}[{key}]");
                made.push((
                    construct(key_info, key, &inner, registry)?,
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
            let mut values = all_positions(table, fields.field_len(), place)?.into_iter();
            for (field, index) in fields.iter().zip(1..) {
                let inner = format!("{place}[{index}]");
                let field_info = known(field.type_info(), &inner)?;
                let value = values.next().unwrap_or_default();
                made.insert_boxed(construct(field_info, value, &inner, registry)?);
            }
            Ok(Box::new(made))
        }
        TypeInfo::Tuple(fields) => {
            let mut made = DynamicTuple::default();
            made.set_represented_type(Some(info));
            let mut values = all_positions(table, fields.field_len(), place)?.into_iter();
            for (field, index) in fields.iter().zip(1..) {
                let inner = format!("{place}[{index}]");
                let field_info = known(field.type_info(), &inner)?;
                let value = values.next().unwrap_or_default();
                made.insert_boxed(construct(field_info, value, &inner, registry)?);
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

fn expected_variant(info: &EnumInfo) -> String {
    let names: Vec<_> = info.variant_names().iter().map(|name| format!("{name:?}")).collect();
    names.join(" or ")
}

// ---- copies ------------------------------------------------------------------------------------

/// Copies a whole value. Bevy can't clone arrays and fields that reflection ignores; then the copy is
/// made field by field, and ignored fields have their defaults.
pub(crate) fn duplicate(
    value: &dyn PartialReflect,
    registry: &TypeRegistry,
) -> Option<Box<dyn Reflect>> {
    value.reflect_clone().ok().or_else(|| {
        let info = value.get_represented_type_info()?;
        registry.get_type_data::<ReflectFromReflect>(info.type_id())?.from_reflect(value)
    })
}

/// Makes `old` equal to `new`, which has or represents the same type. Plain `apply` keeps surplus
/// elements of lists, maps and sets. Fields that reflection ignores stay as they are, unless the type
/// can be cloned.
pub(crate) fn assign(old: &mut dyn PartialReflect, new: &dyn PartialReflect) {
    if let (Some(concrete), Ok(clone)) = (old.try_as_reflect_mut(), new.reflect_clone())
        && concrete.set(clone).is_ok()
    {
        return;
    }
    match (old.reflect_mut(), new.reflect_ref()) {
        (ReflectMut::Struct(old), ReflectRef::Struct(new)) => {
            for index in 0..new.field_len() {
                assign_field(
                    new.name_at(index).and_then(|name| old.field_mut(name)),
                    new.field_at(index),
                );
            }
        }
        (ReflectMut::TupleStruct(old), ReflectRef::TupleStruct(new)) => {
            for index in 0..new.field_len() {
                assign_field(old.field_mut(index), new.field(index));
            }
        }
        (ReflectMut::Tuple(old), ReflectRef::Tuple(new)) => {
            for index in 0..new.field_len() {
                assign_field(old.field_mut(index), new.field(index));
            }
        }
        (ReflectMut::Array(old), ReflectRef::Array(new)) => {
            for index in 0..new.len() {
                assign_field(old.get_mut(index), new.get(index));
            }
        }
        (ReflectMut::List(old), ReflectRef::List(new)) => {
            while old.len() > new.len() {
                old.pop();
            }
            for (index, new) in new.iter().enumerate() {
                match old.get_mut(index) {
                    Some(old) => assign(old, new),
                    None => old.push(new.to_dynamic()),
                }
            }
        }
        (ReflectMut::Map(old), ReflectRef::Map(new)) => {
            old.drain();
            for (key, value) in new.iter() {
                old.insert_boxed(key.to_dynamic(), value.to_dynamic());
            }
        }
        (ReflectMut::Set(old), ReflectRef::Set(new)) => {
            old.drain();
            for value in new.iter() {
                old.insert_boxed(value.to_dynamic());
            }
        }
        (ReflectMut::Enum(old), ReflectRef::Enum(new))
            if old.variant_name() == new.variant_name() =>
        {
            for index in 0..new.field_len() {
                let old = match new.name_at(index) {
                    Some(name) => old.field_mut(name),
                    None => old.field_at_mut(index),
                };
                assign_field(old, new.field_at(index));
            }
        }
        _ => old.apply(new),
    }
}

fn assign_field(old: Option<&mut dyn PartialReflect>, new: Option<&dyn PartialReflect>) {
    if let (Some(old), Some(new)) = (old, new) {
        assign(old, new);
    }
}

// ---- places ------------------------------------------------------------------------------------

/// Follows field numbers.
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

/// Follows field numbers.
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

/// The number of a field.
pub(crate) fn step(
    value: &dyn PartialReflect,
    field: Field<'_>,
    place: &str,
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

/// Replaces every entity in a value, as far as reflection reaches.
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

// ---- errors and small steps ----------------------------------------------------------------------

fn unknown<'a>(place: &str, field: &str, names: impl Iterator<Item = &'a str>) -> ScriptError {
    ScriptError::UnknownField {
        owner: place.to_owned(),
        field: field.to_owned(),
        similar: suggest(field, names),
    }
}

fn unwritable(place: &str) -> ScriptError {
    ScriptError::ReadOnly { name: place.to_owned() }
}

fn known(info: Option<&'static TypeInfo>, place: &str) -> Result<&'static TypeInfo, ScriptError> {
    info.ok_or_else(|| unwritable(place))
}

fn position_of(position: f64, len: usize, place: &str) -> Result<usize, ScriptError> {
    if position.fract() == 0.0 && position >= 1.0 && position <= len as f64 {
        return Ok(position as usize - 1);
    }
    Err(ScriptError::UnknownField {
        owner: place.to_owned(),
        field: position.to_string(),
        similar: (len > 0).then(|| format!("[1] to [{len}]")),
    })
}

fn name_of(key: ScriptKey, place: &str) -> Result<String, ScriptError> {
    match key {
        ScriptKey::String(name) => Ok(name),
        other => Err(unknown(place, &other.to_string(), std::iter::empty())),
    }
}

fn no_elements(table: &ScriptTable, place: &str) -> Result<(), ScriptError> {
    if table.array.is_empty() {
        return Ok(());
    }
    Err(unknown(place, "1", std::iter::empty()))
}

fn no_fields(table: &ScriptTable, place: &str) -> Result<(), ScriptError> {
    match table.fields.keys().next() {
        None => Ok(()),
        Some(key) => Err(ScriptError::WrongType {
            place: place.to_owned(),
            expected: "a list without gaps".to_owned(),
            got: format!("a table with the key {key}"),
        }),
    }
}

fn elements(table: ScriptTable, place: &str) -> Result<Vec<ScriptValue>, ScriptError> {
    no_fields(&table, place)?;
    Ok(table.array)
}

fn all_positions(
    table: ScriptTable,
    len: usize,
    place: &str,
) -> Result<Vec<ScriptValue>, ScriptError> {
    let values = elements(table, place)?;
    if values.len() == len {
        return Ok(values);
    }
    Err(ScriptError::WrongType {
        place: place.to_owned(),
        expected: format!("a table of {len} elements"),
        got: format!("{} elements", values.len()),
    })
}

/// The given positions of a tuple; some may be left out.
fn positions(
    table: ScriptTable,
    len: usize,
    place: &str,
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

fn pairs(table: ScriptTable) -> impl Iterator<Item = (ScriptValue, ScriptValue)> {
    let elements = table
        .array
        .into_iter()
        .enumerate()
        .map(|(index, value)| (ScriptValue::Number(index as f64 + 1.0), value));
    let fields = table.fields.into_iter().map(|(key, value)| {
        let key = match key {
            ScriptKey::Bool(key) => ScriptValue::Bool(key),
            ScriptKey::Number(key) => ScriptValue::Number(key),
            ScriptKey::String(key) => ScriptValue::String(key),
            ScriptKey::Entity(key) => ScriptValue::Entity(key),
        };
        (key, value)
    });
    elements.chain(fields)
}

fn short_name(value: &dyn PartialReflect) -> &'static str {
    value.get_represented_type_info().map_or("value", |info| info.type_path_table().short_path())
}

fn expected(info: &TypeInfo) -> String {
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

// ---- leaves --------------------------------------------------------------------------------------

macro_rules! leaves {
    ($($ty:ty),* $(,)?) => {
        /// A type that Lua holds as one value: `None` for all others.
        fn read_leaf(value: &dyn PartialReflect) -> Option<Result<ScriptValue, ScriptError>> {
            let value = value.try_as_reflect()?.as_any();
            // Asked once: each downcast would ask again, through a pointer.
            let id = value.type_id();
            $(if id == TypeId::of::<$ty>() {
                return value.downcast_ref::<$ty>().map(|value| value.clone().into_script());
            })*
            read_special(value, id)
        }

        /// Writes a leaf. Gives the value back if the target is none.
        fn write_leaf(
            target: &mut dyn PartialReflect,
            value: ScriptValue,
            place: &str,
        ) -> Result<Option<ScriptValue>, ScriptError> {
            $(if let Some(target) = target.try_downcast_mut::<$ty>() {
                *target = <$ty>::from_script(value).map_err(|got| ScriptError::WrongType {
                    place: place.to_owned(),
                    expected: <$ty>::expected(),
                    got: describe(&got),
                })?;
                return Ok(None);
            })*
            write_special(target, value, place)
        }

        fn blank_leaf(type_id: TypeId) -> Option<Box<dyn PartialReflect>> {
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

fn blank<T: Default>() -> T {
    T::default()
}

fn read_special(value: &dyn Any, id: TypeId) -> Option<Result<ScriptValue, ScriptError>> {
    /// Downcasts without asking for the type again if it is another.
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
    place: &str,
) -> Result<Option<ScriptValue>, ScriptError> {
    let wrong = |expected: &str, got: &ScriptValue| ScriptError::WrongType {
        place: place.to_owned(),
        expected: expected.to_owned(),
        got: describe(got),
    };
    if let Some(target) = target.try_downcast_mut::<Entity>() {
        *target = Entity::from_script(value).map_err(|got| wrong("Entity", &got))?;
    } else if let Some(target) = target.try_downcast_mut::<Name>() {
        let name = String::from_script(value).map_err(|got| wrong("string", &got))?;
        // Setting a name hashes it and marks nothing by itself.
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

fn write_color(before: Color, value: ScriptValue, place: &str) -> Result<Color, ScriptError> {
    let wrong = |got: &ScriptValue| ScriptError::WrongType {
        place: place.to_owned(),
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
                let name = name_of(key, place)?;
                let part = match name.as_str() {
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
