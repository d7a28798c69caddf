//! [`ScalarFields`]: quick ways to the numbers, vectors and booleans in components.
//!
//! Nearly all that scripts read and write are scalars of exposed components: `Transform.translation`, `Health.current`.
//! Each of them is to cost as little as if it had been written in Rust, whatever the component is:
//!
//! - A field has a number ([`FieldId`](crate::vm::FieldId)), by which its component, its path and its type are known
//!   without comparing texts.
//! - `expose_component::<T>()` knows `T`. [`ComponentType`](super::component_type::ComponentType) keeps that, behind a
//!   trait object: how to find the component of an entity, all of them side by side in memory, and how to write to one.
//! - [`ScalarFields`] is implemented for all `T`. The compiler makes a copy of it for each, in which the step to a field
//!   is a constant: what is left of all the reflection is a jump and a load. It needs no `unsafe`, and no layout.
//! - [`StageColumns`](super::stage_columns::StageColumns) find a component by where its entity lies. They are made once a
//!   stage for those components that scripts have used before.
//!
//! Reading calls one function through a pointer, and so does writing when a stage is applied (in parallel only for
//! `Transform`). Fields within fields, and
//! those beyond the first sixteen, are reached by reflection on a known type: two more calls. Components that were
//! exposed without their type, by `expose_all_components`, are reached by reflection alone.

use bevy::reflect::{PartialReflect, Reflect, ReflectMut, ReflectRef};

use super::reflect::{self, ScalarType, TypedScalar, read_scalar};
use crate::vm::{FieldPath, Scalar};

/// A component whose scalars are read and written without looking for them.
pub(crate) trait ScalarFields: PartialReflect {
    /// Reads a scalar of this type; `None` if there is none, or if Lua can't hold the number.
    fn scalar(&self, path: &FieldPath, kind: ScalarType) -> Option<Scalar>;

    /// Writes a scalar if it differs; gives whether it did, or `None` if there is none of its type.
    fn set_scalar(&mut self, path: &FieldPath, value: TypedScalar) -> Option<bool>;
}

/// Calls a function with the field of this number, which is a constant in each of the branches: only so can the
/// compiler see through the reflection of a type that it knows.
macro_rules! with_field {
    ($step:expr, $field:ident($value:expr), $then:expr, $otherwise:expr; $($index:literal)*) => {
        match $step {
            $($index => $field::<$index>($value).and_then($then),)*
            _ => $otherwise,
        }
    };
    ($step:expr, $field:ident($value:expr), $then:expr, $otherwise:expr) => {
        with_field!(
            $step, $field($value), $then, $otherwise;
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15
        )
    };
}

impl<T: Reflect> ScalarFields for T {
    fn scalar(&self, path: &FieldPath, kind: ScalarType) -> Option<Scalar> {
        match path.single_step() {
            Some(step) => {
                with_field!(step, field(self), read_scalar, read_general(self, path, kind))
            }
            None => read_general(self, path, kind),
        }
    }

    fn set_scalar(&mut self, path: &FieldPath, value: TypedScalar) -> Option<bool> {
        match path.single_step() {
            Some(step) if step < 16 => {
                with_field!(step, field_mut(self), |field| value.write_to(field), None)
            }
            _ => write_general(self, path, value),
        }
    }
}

// Both are kept out of the functions above, which would have to make room for them at each call.

#[inline(never)]
fn read_general(value: &dyn PartialReflect, path: &FieldPath, kind: ScalarType) -> Option<Scalar> {
    kind.read(reflect::at(value, path.steps())?)
}

#[inline(never)]
fn write_general(
    value: &mut dyn PartialReflect,
    path: &FieldPath,
    scalar: TypedScalar,
) -> Option<bool> {
    scalar.write_to(reflect::at_mut(value, path.steps())?)
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn field<const INDEX: usize>(value: &dyn PartialReflect) -> Option<&dyn PartialReflect> {
    match value.reflect_ref() {
        ReflectRef::Struct(value) => value.field_at(INDEX),
        ReflectRef::TupleStruct(value) => value.field(INDEX),
        _ => None,
    }
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn field_mut<const INDEX: usize>(
    value: &mut dyn PartialReflect,
) -> Option<&mut dyn PartialReflect> {
    match value.reflect_mut() {
        ReflectMut::Struct(value) => value.field_at_mut(INDEX),
        ReflectMut::TupleStruct(value) => value.field_mut(INDEX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use bevy::prelude::{Transform, Vec2, Vec3};

    use super::*;

    #[derive(Reflect, Default)]
    struct Many {
        f0: f32,
        f1: f64,
        f2: bool,
        f3: i8,
        f4: i16,
        f5: i32,
        f6: i64,
        f7: isize,
        f8: u8,
        f9: u16,
        f10: u32,
        f11: u64,
        f12: usize,
        f13: Vec2,
        f14: Vec3,
        f15: String,
        f16: f32,
        inner: Pair,
    }

    #[derive(Reflect, Default)]
    struct Pair(u8, Vec3);

    fn path(steps: &[usize]) -> FieldPath {
        let whole = FieldPath::default();
        steps.iter().fold(whole, |path, step| path.then(*step).expect("it is short"))
    }

    /// Writes to every scalar and reads it back, also by reflection.
    fn check(component: &mut dyn ScalarFields, paths: &[FieldPath]) -> usize {
        let mut scalars = 0;
        for path in paths {
            let field = reflect::at(component, path.steps()).expect("it has the field");
            let info = field.get_represented_type_info().expect("its type is known");
            let Some(kind) = ScalarType::of(info.type_id()) else {
                assert_eq!(component.scalar(path, ScalarType::Vec3), None);
                continue;
            };
            scalars += 1;
            let new =
                [Scalar::Number(7.0), Scalar::Vector(Vec3::new(7.0, 8.0, 0.0)), Scalar::Bool(true)];
            let new = new.into_iter().find(|new| kind.take(*new).is_some()).expect("it takes one");
            let value = kind.take(new).expect("it takes it");
            assert_eq!(component.set_scalar(path, value), Some(true), "{path:?}");
            assert_eq!(component.set_scalar(path, value), Some(false), "{path:?}");
            assert_eq!(component.scalar(path, kind), Some(new), "{path:?}");
            let field = reflect::at(component, path.steps()).expect("it has the field");
            assert_eq!(kind.read(field), Some(new), "{path:?}");
            let wrong = match kind {
                ScalarType::U8 => TypedScalar::I8(1),
                _ => TypedScalar::U8(1),
            };
            assert_eq!(component.set_scalar(path, wrong), None, "{path:?}");
        }
        scalars
    }

    #[test]
    fn all_scalars_are_reached_in_whatever_type_and_wherever_they_are() {
        let mut paths: Vec<_> = (0..17).map(|step| path(&[step])).collect();
        paths.extend([path(&[17, 0]), path(&[17, 1])]);
        assert_eq!(check(&mut Many::default(), &paths), 18);
        assert_eq!(check(&mut Pair::default(), &[path(&[0]), path(&[1])]), 2);
        assert_eq!(check(&mut Transform::default(), &[path(&[0]), path(&[1]), path(&[2])]), 2);
        let kind = ScalarType::of(TypeId::of::<f32>()).expect("it is a scalar");
        for nowhere in [path(&[]), path(&[2]), path(&[20]), path(&[0, 0])] {
            assert_eq!(Pair::default().scalar(&nowhere, kind), None);
            assert_eq!(Pair::default().set_scalar(&nowhere, TypedScalar::F32(1.0)), None);
        }
    }
}
