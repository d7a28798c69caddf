//! Writing plain data into a component value.

use bevy::reflect::{PartialReflect, ReflectMut, ReflectRef, TypeInfo, TypeRegistry};

use super::construct::construct;
use super::copy::assign;
use super::leaf::write_leaf;
use super::table::{
    expected, known, name_of, no_elements, no_fields, pairs, positions, unknown, unwritable,
};
use crate::error::ScriptError;
use crate::value::{ScriptValue, describe};

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
                // A key can be as long as a text; messages show its beginning.
                let inner = format!("{place}[{:.80}]", key.to_string());
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
