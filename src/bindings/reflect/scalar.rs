//! [`TypedScalar`]: the commonest leaves, held without an allocation.

use std::any::TypeId;

use bevy::prelude::{Vec2, Vec3};
use bevy::reflect::PartialReflect;

use crate::value::{FromScript, ScriptValue, exact};
use crate::vm::Scalar;

macro_rules! small_leaves {
    ($($variant:ident($ty:ty)),* $(,)?) => {
        /// A value that a script wrote to a leaf, of the leaf's own type.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) enum TypedScalar {
            $(#[allow(missing_docs)] $variant($ty),)*
        }

        /// The type of such a leaf.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ScalarType {
            $($variant,)*
        }

        impl ScalarType {
            pub(crate) fn of(id: TypeId) -> Option<Self> {
                $(if id == TypeId::of::<$ty>() {
                    return Some(Self::$variant);
                })*
                None
            }

            /// Reads a leaf of this type; `None` if it is of another.
            pub(crate) fn read(self, leaf: &dyn PartialReflect) -> Option<Scalar> {
                let leaf = leaf.try_as_reflect()?.as_any();
                match self {
                    $(Self::$variant => leaf.downcast_ref::<$ty>()?.as_leaf(),)*
                }
            }

            /// Converts what a script wrote to such a leaf; `None` if that doesn't take it.
            pub(crate) fn take(self, value: Scalar) -> Option<TypedScalar> {
                // The commonest, without a detour.
                if let (Self::Vec3, Scalar::Vector(value)) = (self, value) {
                    return Some(TypedScalar::Vec3(value));
                }
                match self {
                    $(Self::$variant => <$ty>::from_script(value.into()).ok().map(TypedScalar::$variant),)*
                }
            }
        }

        impl TypedScalar {
            /// As Lua has it.
            pub(crate) fn read(self) -> Option<Scalar> {
                match self {
                    $(Self::$variant(leaf) => leaf.as_leaf(),)*
                }
            }

            /// Converts what a script wrote to `target`; `None` if it isn't such a leaf or doesn't take
            /// the value.
            pub(crate) fn new(target: &dyn PartialReflect, value: &ScriptValue) -> Option<Self> {
                let id = target.try_as_reflect()?.as_any().type_id();
                $(if id == TypeId::of::<$ty>() {
                    return <$ty>::from_script(plain(value)?).ok().map(Self::$variant);
                })*
                None
            }

            /// Writes another value to the same leaf; gives whether it takes it.
            pub(crate) fn set(&mut self, value: &ScriptValue) -> bool {
                let Some(value) = plain(value) else { return false };
                match self {
                    $(Self::$variant(leaf) => <$ty>::from_script(value).map(|new| *leaf = new).is_ok(),)*
                }
            }

            /// As reflection sees it.
            pub(crate) fn as_partial_reflect(&self) -> &dyn PartialReflect {
                match self {
                    $(Self::$variant(leaf) => leaf,)*
                }
            }

            /// Writes it to where it belongs if that differs; `None` if that is of another type.
            pub(crate) fn write_to(&self, target: &mut dyn PartialReflect) -> Option<bool> {
                match self {
                    $(Self::$variant(leaf) => {
                        let target = target.try_downcast_mut::<$ty>()?;
                        let differs = target != leaf;
                        if differs {
                            *target = *leaf;
                        }
                        Some(differs)
                    })*
                }
            }
        }
    };
}
small_leaves!(
    Vec3(Vec3),
    F32(f32),
    Bool(bool),
    F64(f64),
    Vec2(Vec2),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    Isize(isize),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    Usize(usize)
);

/// As Lua has it; `None` for whole numbers that Lua can't hold.
trait AsScalar {
    fn as_leaf(&self) -> Option<Scalar>;
}

macro_rules! as_leaf {
    ($($ty:ty: |$value:ident| $leaf:expr;)*) => {$(
        impl AsScalar for $ty {
            fn as_leaf(&self) -> Option<Scalar> {
                let $value = *self;
                $leaf
            }
        }
    )*};
}
as_leaf! {
    Vec3: |value| Some(Scalar::Vector(value));
    Vec2: |value| Some(Scalar::Vector(value.extend(0.0)));
    bool: |value| Some(Scalar::Bool(value));
    f32: |value| Some(Scalar::Number(value.into()));
    f64: |value| Some(Scalar::Number(value));
    i8: |value| Some(Scalar::Number(value.into()));
    i16: |value| Some(Scalar::Number(value.into()));
    i32: |value| Some(Scalar::Number(value.into()));
    i64: |value| exact(value).ok().map(Scalar::Number);
    isize: |value| exact(value).ok().map(Scalar::Number);
    u8: |value| Some(Scalar::Number(value.into()));
    u16: |value| Some(Scalar::Number(value.into()));
    u32: |value| Some(Scalar::Number(value.into()));
    u64: |value| exact(value).ok().map(Scalar::Number);
    usize: |value| exact(value).ok().map(Scalar::Number);
}

impl TypedScalar {
    /// Whether all numbers in it are finite.
    #[inline]
    pub(crate) fn is_finite(self) -> bool {
        match self {
            Self::Vec3(value) => value.is_finite(),
            Self::F32(value) => value.is_finite(),
            Self::F64(value) => value.is_finite(),
            Self::Vec2(value) => value.is_finite(),
            _ => true,
        }
    }
}

/// Copies a value that needs no allocation.
fn plain(value: &ScriptValue) -> Option<ScriptValue> {
    match value {
        ScriptValue::Number(number) => Some(ScriptValue::Number(*number)),
        ScriptValue::Vector(vector) => Some(ScriptValue::Vector(*vector)),
        ScriptValue::Bool(value) => Some(ScriptValue::Bool(*value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_takes_what_its_type_takes() {
        let mut health = 3_u32;
        let mut leaf = TypedScalar::new(&health, &5.0.into()).expect("a whole number");
        assert_eq!(leaf.write_to(&mut health), Some(true));
        assert_eq!(leaf.write_to(&mut health), Some(false), "nothing differs any more");
        assert_eq!(health, 5);
        assert!(!leaf.set(&(-1.0).into()), "out of range");
        assert!(!leaf.set(&"6".into()), "no number");
        assert!(leaf.set(&7.0.into()));
        assert_eq!(leaf, TypedScalar::U32(7));
        assert_eq!(leaf.write_to(&mut 1.0_f32), None, "another type");
        assert_eq!(TypedScalar::new(&String::new(), &"x".into()), None, "not small");
    }
}
