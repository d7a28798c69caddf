//! [`TypedScalar`]: a number, vector or boolean of a field's own type.

use std::any::{Any, TypeId};

use bevy::prelude::{Vec2, Vec3};
use bevy::reflect::PartialReflect;

use crate::value::{FromScript, ScriptValue, exact};
use crate::vm::Scalar;

macro_rules! scalars {
    ($($variant:ident($ty:ty)),* $(,)?) => {
        /// A number, vector or boolean of a field's own type.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) enum TypedScalar {
            $($variant($ty),)*
        }

        /// The type of a [`TypedScalar`].
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

            /// Reads a scalar of this type; `None` if it is of another.
            pub(crate) fn read(self, value: &dyn PartialReflect) -> Option<Scalar> {
                let value = value.try_as_reflect()?.as_any();
                match self {
                    $(Self::$variant => value.downcast_ref::<$ty>()?.to_scalar(),)*
                }
            }

            /// Copies a scalar of this type; `None` if it is of another.
            pub(crate) fn copy(self, value: &dyn PartialReflect) -> Option<TypedScalar> {
                match self {
                    $(Self::$variant => value.try_downcast_ref().copied().map(TypedScalar::$variant),)*
                }
            }

            /// Converts what a script wrote; `None` if this type can't hold it.
            #[inline]
            pub(crate) fn take(self, value: Scalar) -> Option<TypedScalar> {
                // The most frequent case, without the conversion to a `ScriptValue`.
                if let (Self::Vec3, Scalar::Vector(value)) = (self, value) {
                    return Some(TypedScalar::Vec3(value));
                }
                self.convert(value)
            }

            #[inline(never)]
            fn convert(self, value: Scalar) -> Option<TypedScalar> {
                match self {
                    $(Self::$variant => <$ty>::from_script(value.into()).ok().map(TypedScalar::$variant),)*
                }
            }
        }

        /// Reads a scalar of any of the types; `None` if it is none.
        ///
        /// Inlined where the compiler knows the type of the field, this becomes a single load.
        #[cfg_attr(not(debug_assertions), inline(always))]
        pub(crate) fn read_scalar(field: &dyn PartialReflect) -> Option<Scalar> {
            let field: &dyn Any = field.try_as_reflect()?;
            let id = field.type_id();
            $(if id == TypeId::of::<$ty>() {
                return field.downcast_ref::<$ty>()?.to_scalar();
            })*
            None
        }

        impl TypedScalar {
            /// Converts it for Lua; `None` for whole numbers that Lua can't hold.
            pub(crate) fn read(self) -> Option<Scalar> {
                match self {
                    $(Self::$variant(scalar) => scalar.to_scalar(),)*
                }
            }

            /// The value by reflection.
            pub(crate) fn as_partial_reflect(&self) -> &dyn PartialReflect {
                match self {
                    $(Self::$variant(scalar) => scalar,)*
                }
            }

            /// Writes it to `target` if it differs and returns whether it did; `None` if `target` is of another type.
            #[cfg_attr(not(debug_assertions), inline(always))]
            pub(crate) fn write_to(&self, target: &mut dyn PartialReflect) -> Option<bool> {
                match self {
                    $(Self::$variant(scalar) => {
                        let target = target.try_downcast_mut::<$ty>()?;
                        let differs = target != scalar;
                        if differs {
                            *target = *scalar;
                        }
                        Some(differs)
                    })*
                }
            }
        }
    };
}
scalars!(
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

/// Converts a scalar for Lua; `None` for whole numbers that Lua can't hold.
trait ReadScalar {
    fn to_scalar(&self) -> Option<Scalar>;
}

macro_rules! read_scalar {
    ($($ty:ty: |$value:ident| $scalar:expr;)*) => {$(
        impl ReadScalar for $ty {
            fn to_scalar(&self) -> Option<Scalar> {
                let $value = *self;
                $scalar
            }
        }
    )*};
}
read_scalar! {
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

/// A script's value as a [`Scalar`], if it is one.
pub(crate) fn as_scalar(value: &ScriptValue) -> Option<Scalar> {
    match value {
        ScriptValue::Number(number) => Some(Scalar::Number(*number)),
        ScriptValue::Vector(vector) => Some(Scalar::Vector(*vector)),
        ScriptValue::Bool(value) => Some(Scalar::Bool(*value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_takes_what_its_type_takes() {
        let mut health = 3_u32;
        let kind = ScalarType::of(TypeId::of::<u32>()).expect("it is a scalar");
        let scalar = kind.take(Scalar::Number(5.0)).expect("a whole number");
        assert_eq!(scalar.write_to(&mut health), Some(true));
        assert_eq!(scalar.write_to(&mut health), Some(false), "nothing differs any more");
        assert_eq!(health, 5);
        assert_eq!(kind.copy(&health), Some(scalar));
        assert_eq!(kind.read(&health), Some(Scalar::Number(5.0)));
        assert_eq!(kind.take(Scalar::Number(-1.0)), None, "out of range");
        assert_eq!(as_scalar(&"6".into()), None, "no number");
        assert_eq!(kind.take(Scalar::Number(7.0)), Some(TypedScalar::U32(7)));
        assert_eq!(scalar.write_to(&mut 1.0_f32), None, "another type");
        assert_eq!(ScalarType::of(TypeId::of::<String>()), None, "not a scalar");
    }
}
