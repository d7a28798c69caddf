//! Copies and assignments of whole values.

use bevy::prelude::ReflectFromReflect;
use bevy::reflect::array::DynamicArray;
use bevy::reflect::{PartialReflect, Reflect, ReflectMut, ReflectRef, TypeRegistry};

/// Copies a whole value: by `reflect_clone`, or else by `FromReflect`, field by field. Then ignored fields have their
/// defaults.
pub(crate) fn duplicate(
    value: &dyn PartialReflect,
    registry: &TypeRegistry,
) -> Option<Box<dyn Reflect>> {
    value.reflect_clone().ok().or_else(|| {
        let info = value.get_represented_type_info()?;
        registry.get_type_data::<ReflectFromReflect>(info.type_id())?.from_reflect(value)
    })
}

/// As [`duplicate`], for a value within a component. Also copies arrays, which have neither.
pub(crate) fn copy_value(
    value: &dyn PartialReflect,
    registry: &TypeRegistry,
) -> Option<Box<dyn PartialReflect>> {
    if let Some(copy) = duplicate(value, registry) {
        return Some(copy.into_partial_reflect());
    }
    let ReflectRef::Array(array) = value.reflect_ref() else { return None };
    let elements = array.iter().map(|element| copy_value(element, registry));
    let mut copy = DynamicArray::new(elements.collect::<Option<Box<[_]>>>()?);
    copy.set_represented_type(value.get_represented_type_info());
    Some(Box::new(copy))
}

/// As [`assign`] if the values differ; returns whether they do.
pub(crate) fn assign_if_it_differs(old: &mut dyn PartialReflect, new: &dyn PartialReflect) -> bool {
    let differs = old.reflect_partial_eq(new) != Some(true);
    if differs {
        assign(old, new);
    }
    differs
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
