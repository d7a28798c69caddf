//! Values by reflection: applied, one becomes what the other is.
//!
//! Bevy's own lists keep what they have beyond the end of the list that is applied to them, and what could not
//! be applied stays half done. A state that is loaded into one that has gone on must become the loaded one,
//! or stay what it is.

use bevy::prelude::{Entity, Vec3};
use bevy::reflect::enums::{
    Enum, EnumInfo, TupleVariantInfo, UnitVariantInfo, VariantFieldIter, VariantInfo, VariantType,
    enum_partial_cmp, enum_partial_eq,
};
use bevy::reflect::utility::NonGenericTypeInfoCell;
use bevy::reflect::{
    ApplyError, FromReflect, FromType, GetTypeRegistration, PartialReflect, ReflectDeserialize,
    ReflectFromPtr, ReflectFromReflect, ReflectSerialize, TypeInfo, TypePath, TypeRegistration,
    TypeRegistry, Typed, UnnamedField,
};

use super::{ScriptFields, ScriptTable, ScriptValue};

/// The value of this type that another one is, or stands for.
///
/// # Errors
/// If it is none.
pub(crate) fn replacement<T: FromReflect + TypePath>(
    value: &dyn PartialReflect,
) -> Result<T, ApplyError> {
    T::from_reflect(value).ok_or_else(|| ApplyError::MismatchedTypes {
        from_type: value.reflect_type_path().into(),
        to_type: T::type_path().into(),
    })
}

/// Implements what every type of a kind has, and `try_apply` by the given function: it must change nothing if
/// it fails.
macro_rules! reflect_as {
    ($kind:ident, $type:ty, $apply:path, $partial_eq:path, $partial_cmp:path) => {
        impl bevy::reflect::PartialReflect for $type {
            fn get_represented_type_info(&self) -> Option<&'static bevy::reflect::TypeInfo> {
                Some(<Self as bevy::reflect::Typed>::type_info())
            }

            fn into_partial_reflect(self: Box<Self>) -> Box<dyn bevy::reflect::PartialReflect> {
                self
            }

            fn as_partial_reflect(&self) -> &dyn bevy::reflect::PartialReflect {
                self
            }

            fn as_partial_reflect_mut(&mut self) -> &mut dyn bevy::reflect::PartialReflect {
                self
            }

            fn try_into_reflect(
                self: Box<Self>,
            ) -> Result<Box<dyn bevy::reflect::Reflect>, Box<dyn bevy::reflect::PartialReflect>>
            {
                Ok(self)
            }

            fn try_as_reflect(&self) -> Option<&dyn bevy::reflect::Reflect> {
                Some(self)
            }

            fn try_as_reflect_mut(&mut self) -> Option<&mut dyn bevy::reflect::Reflect> {
                Some(self)
            }

            fn try_apply(
                &mut self,
                value: &dyn bevy::reflect::PartialReflect,
            ) -> Result<(), bevy::reflect::ApplyError> {
                $apply(self, value)
            }

            fn reflect_kind(&self) -> bevy::reflect::ReflectKind {
                bevy::reflect::ReflectKind::$kind
            }

            fn reflect_ref(&self) -> bevy::reflect::ReflectRef<'_> {
                bevy::reflect::ReflectRef::$kind(self)
            }

            fn reflect_mut(&mut self) -> bevy::reflect::ReflectMut<'_> {
                bevy::reflect::ReflectMut::$kind(self)
            }

            fn reflect_owned(self: Box<Self>) -> bevy::reflect::ReflectOwned {
                bevy::reflect::ReflectOwned::$kind(self)
            }

            fn reflect_clone(
                &self,
            ) -> Result<Box<dyn bevy::reflect::Reflect>, bevy::reflect::ReflectCloneError> {
                Ok(Box::new(self.clone()))
            }

            fn reflect_partial_eq(
                &self,
                value: &dyn bevy::reflect::PartialReflect,
            ) -> Option<bool> {
                $partial_eq(self, value)
            }

            fn reflect_partial_cmp(
                &self,
                value: &dyn bevy::reflect::PartialReflect,
            ) -> Option<std::cmp::Ordering> {
                $partial_cmp(self, value)
            }
        }

        impl bevy::reflect::Reflect for $type {
            fn into_any(self: Box<Self>) -> Box<dyn std::any::Any> {
                self
            }

            fn as_any(&self) -> &dyn std::any::Any {
                self
            }

            fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
                self
            }

            fn into_reflect(self: Box<Self>) -> Box<dyn bevy::reflect::Reflect> {
                self
            }

            fn as_reflect(&self) -> &dyn bevy::reflect::Reflect {
                self
            }

            fn as_reflect_mut(&mut self) -> &mut dyn bevy::reflect::Reflect {
                self
            }

            fn set(
                &mut self,
                value: Box<dyn bevy::reflect::Reflect>,
            ) -> Result<(), Box<dyn bevy::reflect::Reflect>> {
                *self = value.take()?;
                Ok(())
            }
        }
    };
}

/// Implements reflection for a struct with these fields. What is applied names some of them, and they become
/// what it has for them, or none changes. The others, and fields that aren't listed, stay.
macro_rules! reflect_struct {
    ($type:ty { $($field:ident: $field_type:ty),+ $(,)? } $($data:ty),*) => {
        const _: () = {
            use bevy::reflect::structs::{
                FieldIter, Struct, StructInfo, struct_partial_cmp, struct_partial_eq,
            };
            use bevy::reflect::{
                ApplyError, FromReflect, FromType, GetTypeRegistration, NamedField,
                PartialReflect, ReflectFromPtr, ReflectFromReflect, TypeInfo, TypeRegistration,
                TypeRegistry, Typed,
            };

            const NAMES: &[&str] = &[$(stringify!($field)),+];

            fn try_apply(it: &mut $type, value: &dyn PartialReflect) -> Result<(), ApplyError> {
                let from = value.reflect_ref().as_struct()?;
                $(
                    let $field = from.field(stringify!($field));
                    let $field = $field.map($crate::value::replacement::<$field_type>);
                    let $field = $field.transpose()?;
                )+
                $(
                    if let Some(field) = $field {
                        it.$field = field;
                    }
                )+
                Ok(())
            }

            $crate::value::reflect_as!(
                Struct,
                $type,
                try_apply,
                struct_partial_eq,
                struct_partial_cmp
            );

            impl Struct for $type {
                fn field(&self, name: &str) -> Option<&dyn PartialReflect> {
                    match name {
                        $(stringify!($field) => Some(&self.$field),)+
                        _ => None,
                    }
                }

                fn field_mut(&mut self, name: &str) -> Option<&mut dyn PartialReflect> {
                    match name {
                        $(stringify!($field) => Some(&mut self.$field),)+
                        _ => None,
                    }
                }

                fn field_at(&self, index: usize) -> Option<&dyn PartialReflect> {
                    Struct::field(self, NAMES.get(index)?)
                }

                fn field_at_mut(&mut self, index: usize) -> Option<&mut dyn PartialReflect> {
                    Struct::field_mut(self, NAMES.get(index)?)
                }

                fn name_at(&self, index: usize) -> Option<&str> {
                    NAMES.get(index).copied()
                }

                fn index_of_name(&self, name: &str) -> Option<usize> {
                    NAMES.iter().position(|known| *known == name)
                }

                fn field_len(&self) -> usize {
                    NAMES.len()
                }

                fn iter_fields(&self) -> FieldIter<'_> {
                    FieldIter::new(self)
                }
            }

            impl Typed for $type {
                fn type_info() -> &'static TypeInfo {
                    use bevy::reflect::utility::NonGenericTypeInfoCell;
                    static CELL: NonGenericTypeInfoCell = NonGenericTypeInfoCell::new();
                    CELL.get_or_set(|| {
                        let fields =
                            [$(NamedField::new::<$field_type>(stringify!($field))),+];
                        TypeInfo::Struct(StructInfo::new::<Self>(&fields))
                    })
                }
            }

            impl FromReflect for $type {
                fn from_reflect(value: &dyn PartialReflect) -> Option<Self> {
                    if let Some(it) = value.try_downcast_ref::<Self>() {
                        return Some(it.clone());
                    }
                    let mut it = Self::default();
                    try_apply(&mut it, value).ok()?;
                    Some(it)
                }
            }

            impl GetTypeRegistration for $type {
                fn get_type_registration() -> TypeRegistration {
                    let mut registration = TypeRegistration::of::<Self>();
                    registration.insert::<ReflectFromPtr>(FromType::<Self>::from_type());
                    registration.insert::<ReflectFromReflect>(FromType::<Self>::from_type());
                    $(registration.insert::<$data>(FromType::<Self>::from_type());)*
                    registration
                }

                fn register_type_dependencies(registry: &mut TypeRegistry) {
                    $(registry.register::<$field_type>();)+
                }
            }
        };
    };
}

pub(crate) use {reflect_as, reflect_struct};

reflect_struct!(ScriptTable { array: Vec<ScriptValue>, fields: ScriptFields }
    ReflectSerialize, ReflectDeserialize);

/// Becomes what the other one is.
fn become_value(it: &mut ScriptValue, value: &dyn PartialReflect) -> Result<(), ApplyError> {
    value.reflect_ref().as_enum()?;
    *it = replacement(value)?;
    Ok(())
}

reflect_as!(Enum, ScriptValue, become_value, enum_partial_eq, enum_partial_cmp);

/// Does the same with what each kind of value holds.
macro_rules! content {
    ($value:expr, $content:ident => $do:expr, $nil:expr) => {
        match $value {
            ScriptValue::Nil => $nil,
            ScriptValue::Bool($content) => $do,
            ScriptValue::Number($content) => $do,
            ScriptValue::String($content) => $do,
            ScriptValue::Bytes($content) => $do,
            ScriptValue::Vector($content) => $do,
            ScriptValue::Entity($content) => $do,
            ScriptValue::Table($content) => $do,
        }
    };
}

impl Enum for ScriptValue {
    fn field(&self, _: &str) -> Option<&dyn PartialReflect> {
        None
    }

    fn field_at(&self, index: usize) -> Option<&dyn PartialReflect> {
        content!(self, content => (index == 0).then_some(content), None)
    }

    fn field_mut(&mut self, _: &str) -> Option<&mut dyn PartialReflect> {
        None
    }

    fn field_at_mut(&mut self, index: usize) -> Option<&mut dyn PartialReflect> {
        content!(self, content => (index == 0).then_some(content), None)
    }

    fn index_of(&self, _: &str) -> Option<usize> {
        None
    }

    fn name_at(&self, _: usize) -> Option<&str> {
        None
    }

    fn iter_fields(&self) -> VariantFieldIter<'_> {
        VariantFieldIter::new(self)
    }

    fn field_len(&self) -> usize {
        usize::from(*self != Self::Nil)
    }

    fn variant_name(&self) -> &str {
        VARIANTS[self.variant_index()]
    }

    fn variant_index(&self) -> usize {
        match self {
            Self::Nil => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::String(_) => 3,
            Self::Bytes(_) => 4,
            Self::Vector(_) => 5,
            Self::Entity(_) => 6,
            Self::Table(_) => 7,
        }
    }

    fn variant_type(&self) -> VariantType {
        if *self == Self::Nil { VariantType::Unit } else { VariantType::Tuple }
    }
}

const VARIANTS: [&str; 8] =
    ["Nil", "Bool", "Number", "String", "Bytes", "Vector", "Entity", "Table"];

impl Typed for ScriptValue {
    fn type_info() -> &'static TypeInfo {
        fn holds<T: PartialReflect + Typed + TypePath>(index: usize) -> VariantInfo {
            let field = UnnamedField::new::<T>(0);
            VariantInfo::Tuple(TupleVariantInfo::new(VARIANTS[index], &[field]))
        }
        static CELL: NonGenericTypeInfoCell = NonGenericTypeInfoCell::new();
        CELL.get_or_set(|| {
            TypeInfo::Enum(EnumInfo::new::<Self>(&[
                VariantInfo::Unit(UnitVariantInfo::new(VARIANTS[0])),
                holds::<bool>(1),
                holds::<f64>(2),
                holds::<String>(3),
                holds::<Vec<u8>>(4),
                holds::<Vec3>(5),
                holds::<Entity>(6),
                holds::<ScriptTable>(7),
            ]))
        })
    }
}

impl FromReflect for ScriptValue {
    fn from_reflect(value: &dyn PartialReflect) -> Option<Self> {
        fn content<T: FromReflect>(value: &dyn Enum) -> Option<T> {
            T::from_reflect(value.field_at(0)?)
        }
        if let Some(it) = value.try_downcast_ref::<Self>() {
            return Some(it.clone());
        }
        let value = value.reflect_ref().as_enum().ok()?;
        Some(match value.variant_name() {
            "Nil" => Self::Nil,
            "Bool" => Self::Bool(content(value)?),
            "Number" => Self::Number(content(value)?),
            "String" => Self::String(content(value)?),
            "Bytes" => Self::Bytes(content(value)?),
            "Vector" => Self::Vector(content(value)?),
            "Entity" => Self::Entity(content(value)?),
            "Table" => Self::Table(content(value)?),
            _ => return None,
        })
    }
}

impl GetTypeRegistration for ScriptValue {
    fn get_type_registration() -> TypeRegistration {
        let mut registration = TypeRegistration::of::<Self>();
        registration.insert::<ReflectFromPtr>(FromType::<Self>::from_type());
        registration.insert::<ReflectFromReflect>(FromType::<Self>::from_type());
        registration.insert::<ReflectSerialize>(FromType::<Self>::from_type());
        registration.insert::<ReflectDeserialize>(FromType::<Self>::from_type());
        registration
    }

    fn register_type_dependencies(registry: &mut TypeRegistry) {
        registry.register::<bool>();
        registry.register::<f64>();
        registry.register::<String>();
        registry.register::<Vec<u8>>();
        registry.register::<Vec3>();
        registry.register::<Entity>();
        registry.register::<ScriptTable>();
    }
}
