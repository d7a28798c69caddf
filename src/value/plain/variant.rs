//! Variants of enums, for the deserializer of values.

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess,
    Visitor,
};

use super::error::PlainError;
use crate::value::trail::PathStep;

/// A variant of an enum, with the deserializer of its content.
pub(super) struct EnumVariant<D> {
    pub(super) name: String,
    pub(super) content: D,
}

impl<'de, D: Deserializer<'de, Error = PlainError>> EnumAccess<'de> for EnumVariant<D> {
    type Error = PlainError;
    type Variant = VariantContent<D>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, VariantContent<D>), PlainError> {
        let name: StrDeserializer<'_, PlainError> = self.name.as_str().into_deserializer();
        let variant = seed.deserialize(name)?;
        Ok((variant, VariantContent { name: self.name, content: self.content }))
    }
}

/// The content of a variant. Errors name the variant as a step of the path.
pub(super) struct VariantContent<D> {
    name: String,
    content: D,
}

impl<D> VariantContent<D> {
    fn read<T>(self, read: impl FnOnce(D) -> Result<T, PlainError>) -> Result<T, PlainError> {
        let Self { name, content } = self;
        read(content).map_err(|error| error.inside(PathStep::Field(name.into())))
    }
}

impl<'de, D: Deserializer<'de, Error = PlainError>> VariantAccess<'de> for VariantContent<D> {
    type Error = PlainError;

    fn unit_variant(self) -> Result<(), PlainError> {
        self.read(<()>::deserialize)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, PlainError> {
        self.read(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        self.read(|content| content.deserialize_tuple(length, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, PlainError> {
        self.read(|content| content.deserialize_struct("", fields, visitor))
    }
}
