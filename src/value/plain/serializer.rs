//! [`ValueSerializer`]: any serde type to a [`ScriptValue`].

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::error::PlainError;
use super::table::TableBuilder;
use crate::value::convert::exact;
use crate::value::depth::{MAX_DEPTH, too_deep};
use crate::value::trail::PathStep;
use crate::value::types::{ScriptKey, ScriptTable, ScriptValue};

/// Serializes one value.
#[derive(Clone, Copy)]
pub(super) struct ValueSerializer {
    depth: usize,
}

impl ValueSerializer {
    pub(super) const fn new() -> Self {
        Self { depth: 0 }
    }

    fn table(self, variant: Option<&'static str>) -> Result<TableSerializer, PlainError> {
        // The table of a variant is inside the table `{Name = …}`.
        let depth = self.depth + 1 + usize::from(variant.is_some());
        if depth > MAX_DEPTH {
            return Err(PlainError::other(too_deep()));
        }
        let inner = Self { depth };
        Ok(TableSerializer { table: TableBuilder::default(), inner, variant, key: None })
    }
}

/// `{Name = content}`, or the name alone if the content is nil.
fn variant(name: &str, content: ScriptValue) -> ScriptValue {
    match content {
        ScriptValue::Nil => name.into(),
        content => ScriptTable::from([(name, content)]).into(),
    }
}

macro_rules! whole_numbers {
    ($($method:ident $int:ty),*) => {$(
        fn $method(self, value: $int) -> Result<ScriptValue, PlainError> {
            Ok(ScriptValue::Number(exact(value)?))
        }
    )*};
}

impl Serializer for ValueSerializer {
    type Ok = ScriptValue;
    type Error = PlainError;
    type SerializeSeq = TableSerializer;
    type SerializeTuple = TableSerializer;
    type SerializeTupleStruct = TableSerializer;
    type SerializeTupleVariant = TableSerializer;
    type SerializeMap = TableSerializer;
    type SerializeStruct = TableSerializer;
    type SerializeStructVariant = TableSerializer;

    whole_numbers! {
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128
    }

    fn serialize_bool(self, value: bool) -> Result<ScriptValue, PlainError> {
        Ok(value.into())
    }

    fn serialize_f32(self, value: f32) -> Result<ScriptValue, PlainError> {
        Ok(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<ScriptValue, PlainError> {
        Ok(value.into())
    }

    fn serialize_char(self, value: char) -> Result<ScriptValue, PlainError> {
        Ok(value.to_string().into())
    }

    fn serialize_str(self, value: &str) -> Result<ScriptValue, PlainError> {
        Ok(value.into())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<ScriptValue, PlainError> {
        Ok(match str::from_utf8(value) {
            Ok(text) => text.into(),
            Err(_) => ScriptValue::Bytes(value.to_owned()),
        })
    }

    fn serialize_none(self) -> Result<ScriptValue, PlainError> {
        Ok(ScriptValue::Nil)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<ScriptValue, PlainError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<ScriptValue, PlainError> {
        Ok(ScriptValue::Nil)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<ScriptValue, PlainError> {
        Ok(ScriptValue::Nil)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<ScriptValue, PlainError> {
        Ok(name.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<ScriptValue, PlainError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<ScriptValue, PlainError> {
        let inner = self.table(None)?.inner;
        let content = value.serialize(inner);
        let content = content.map_err(|error| error.inside(PathStep::Field(name.into())))?;
        Ok(variant(name, content))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<TableSerializer, PlainError> {
        self.table(None)
    }

    fn serialize_tuple(self, _: usize) -> Result<TableSerializer, PlainError> {
        self.table(None)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<TableSerializer, PlainError> {
        self.table(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<TableSerializer, PlainError> {
        self.table(Some(name))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<TableSerializer, PlainError> {
        self.table(None)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<TableSerializer, PlainError> {
        self.table(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<TableSerializer, PlainError> {
        self.table(Some(name))
    }
}

/// Serializes a list, a map, a struct, or the content of a variant.
pub(super) struct TableSerializer {
    table: TableBuilder,
    /// Serializes what is in the table.
    inner: ValueSerializer,
    /// The variant, if the table is its content.
    variant: Option<&'static str>,
    /// The key of the value that comes next.
    key: Option<ScriptKey>,
}

impl TableSerializer {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PlainError> {
        let step = PathStep::Element(self.table.array_len() + 1);
        let pushed = value
            .serialize(self.inner)
            .and_then(|value| self.table.push(value).map_err(PlainError::other));
        pushed.map_err(|error| self.locate(error.inside(step)))
    }

    fn entry<T: Serialize + ?Sized>(
        &mut self,
        key: ScriptKey,
        value: &T,
    ) -> Result<(), PlainError> {
        match value.serialize(self.inner) {
            Ok(ScriptValue::Nil) => {}
            Ok(value) => self.table.insert(key, value),
            Err(error) => {
                return Err(self.locate(error.inside(PathStep::Field(key.to_string().into()))));
            }
        }
        Ok(())
    }

    /// Adds the variant to the place of an error.
    fn locate(&self, error: PlainError) -> PlainError {
        match self.variant {
            Some(name) => error.inside(PathStep::Field(name.into())),
            None => error,
        }
    }

    fn finish(self) -> ScriptValue {
        let table = ScriptValue::Table(self.table.finish());
        match self.variant {
            Some(name) => variant(name, table),
            None => table,
        }
    }
}

fn key_of(value: ScriptValue) -> Result<ScriptKey, PlainError> {
    match value {
        ScriptValue::Bool(value) => Ok(ScriptKey::Bool(value)),
        ScriptValue::Number(value) if !value.is_nan() => Ok(ScriptKey::Number(value)),
        ScriptValue::String(value) => Ok(value.into()),
        other => Err(PlainError::other(format!(
            "has the key {other}; keys have to be strings, numbers or booleans"
        ))),
    }
}

macro_rules! elements {
    ($($kind:ident $method:ident),*) => {$(
        impl $kind for TableSerializer {
            type Ok = ScriptValue;
            type Error = PlainError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PlainError> {
                self.element(value)
            }

            fn end(self) -> Result<ScriptValue, PlainError> {
                Ok(self.finish())
            }
        }
    )*};
}
elements! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
}

macro_rules! fields {
    ($($kind:ident),*) => {$(
        impl $kind for TableSerializer {
            type Ok = ScriptValue;
            type Error = PlainError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), PlainError> {
                self.entry(name.into(), value)
            }

            fn end(self) -> Result<ScriptValue, PlainError> {
                Ok(self.finish())
            }
        }
    )*};
}
fields!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for TableSerializer {
    type Ok = ScriptValue;
    type Error = PlainError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), PlainError> {
        self.key = Some(key_of(key.serialize(self.inner)?)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PlainError> {
        match self.key.take() {
            Some(key) => self.entry(key, value),
            None => Err(PlainError::other("has a value without a key")),
        }
    }

    fn end(self) -> Result<ScriptValue, PlainError> {
        Ok(self.finish())
    }
}
