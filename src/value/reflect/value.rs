//! [`ScriptValue`] by reflection: an enum.

use bevy::prelude::{Entity, Vec3};
use bevy::reflect::enums::{
    Enum, EnumInfo, TupleVariantInfo, UnitVariantInfo, VariantFieldIter, VariantInfo, VariantType,
    enum_partial_cmp, enum_partial_eq,
};
use bevy::reflect::utility::NonGenericTypeInfoCell;
use bevy::reflect::{
    ApplyError, FromReflect, PartialReflect, ReflectDeserialize, ReflectSerialize, TypeInfo,
    TypePath, Typed, UnnamedField,
};

use super::implement::{reflect_as, reflect_registration, replacement};
use crate::value::types::{ScriptTable, ScriptValue};

/// Replaces the value.
fn apply_value(it: &mut ScriptValue, value: &dyn PartialReflect) -> Result<(), ApplyError> {
    value.reflect_ref().as_enum()?;
    *it = replacement(value)?;
    Ok(())
}

reflect_as!(Enum, ScriptValue, apply_value, enum_partial_eq, enum_partial_cmp);

/// Evaluates an expression with the content of the value bound to a name; another one for nil, which has none.
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

reflect_registration!(
    ScriptValue { bool, f64, String, Vec<u8>, Vec3, Entity, ScriptTable }
    ReflectSerialize, ReflectDeserialize
);
