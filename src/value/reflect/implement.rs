//! Macros that implement reflection by hand, and [`replacement`].
//!
//! Bevy's derived `try_apply` isn't atomic: if a field can't be applied, those before it have changed already.

use bevy::reflect::{ApplyError, FromReflect, PartialReflect, TypePath};

/// Converts `value` to the type that it is to replace.
///
/// # Errors
/// If it has another type.
pub(crate) fn replacement<T: FromReflect + TypePath>(
    value: &dyn PartialReflect,
) -> Result<T, ApplyError> {
    T::from_reflect(value).ok_or_else(|| ApplyError::MismatchedTypes {
        from_type: value.reflect_type_path().into(),
        to_type: T::type_path().into(),
    })
}

/// Implements [`PartialReflect`] and [`Reflect`](bevy::reflect::Reflect) for a type of a reflection kind. The given
/// function is its `try_apply`, which must change nothing if it fails.
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

/// Implements [`GetTypeRegistration`](bevy::reflect::GetTypeRegistration) for a type with the given dependencies and
/// type data.
macro_rules! reflect_registration {
    ($type:ty { $($dependency:ty),+ } $($data:ty),*) => {
        impl bevy::reflect::GetTypeRegistration for $type {
            fn get_type_registration() -> bevy::reflect::TypeRegistration {
                use bevy::reflect::{FromType, ReflectFromPtr, ReflectFromReflect};
                let mut registration = bevy::reflect::TypeRegistration::of::<Self>();
                registration.insert::<ReflectFromPtr>(FromType::<Self>::from_type());
                registration.insert::<ReflectFromReflect>(FromType::<Self>::from_type());
                $(registration.insert::<$data>(FromType::<Self>::from_type());)*
                registration
            }

            fn register_type_dependencies(registry: &mut bevy::reflect::TypeRegistry) {
                $(registry.register::<$dependency>();)+
            }
        }
    };
}

/// Implements reflection for a struct with the given fields. `try_apply` replaces the fields that the applied value
/// has, or changes nothing; other fields keep their values, and so do fields that aren't listed here.
macro_rules! reflect_struct {
    ($type:ty { $($field:ident: $field_type:ty),+ $(,)? } $($data:ty),*) => {
        const _: () = {
            use bevy::reflect::structs::{
                FieldIter, Struct, StructInfo, struct_partial_cmp, struct_partial_eq,
            };
            use bevy::reflect::{
                ApplyError, FromReflect, NamedField, PartialReflect, TypeInfo, Typed,
            };

            const NAMES: &[&str] = &[$(stringify!($field)),+];

            fn try_apply(it: &mut $type, value: &dyn PartialReflect) -> Result<(), ApplyError> {
                let from = value.reflect_ref().as_struct()?;
                $(
                    let $field = from.field(stringify!($field));
                    let $field = $field.map($crate::value::reflect::implement::replacement::<$field_type>);
                    let $field = $field.transpose()?;
                )+
                $(
                    if let Some(field) = $field {
                        it.$field = field;
                    }
                )+
                Ok(())
            }

            $crate::value::reflect::implement::reflect_as!(
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

            $crate::value::reflect::implement::reflect_registration!(
                $type { $($field_type),+ } $($data),*
            );
        };
    };
}

pub(crate) use {reflect_as, reflect_registration, reflect_struct};
