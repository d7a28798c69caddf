//! Any serde type into a [`ScriptValue`].

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::problem::{Problem, Step};
use super::{Draft, MAX_DEPTH, too_deep};
use crate::value::convert::exact;
use crate::value::{ScriptKey, ScriptTable, ScriptValue};

/// Builds the value for one place.
#[derive(Clone, Copy)]
pub(super) struct ValueSerializer {
    depth: usize,
}

impl ValueSerializer {
    pub(super) const fn new() -> Self {
        Self { depth: 0 }
    }

    fn table(self, variant: Option<&'static str>) -> Result<TableBuilder, Problem> {
        // A variant's table is within another.
        let depth = self.depth + 1 + usize::from(variant.is_some());
        if depth > MAX_DEPTH {
            return Err(Problem::other(too_deep()));
        }
        let inner = Self { depth };
        Ok(TableBuilder { table: Draft::default(), inner, variant, key: None })
    }
}

/// `{Name = content}`; a variant that holds nil is its name alone.
fn variant(name: &str, content: ScriptValue) -> ScriptValue {
    match content {
        ScriptValue::Nil => name.into(),
        content => ScriptTable::from([(name, content)]).into(),
    }
}

macro_rules! whole_numbers {
    ($($method:ident $int:ty),*) => {$(
        fn $method(self, value: $int) -> Result<ScriptValue, Problem> {
            Ok(ScriptValue::Number(exact(value)?))
        }
    )*};
}

impl Serializer for ValueSerializer {
    type Ok = ScriptValue;
    type Error = Problem;
    type SerializeSeq = TableBuilder;
    type SerializeTuple = TableBuilder;
    type SerializeTupleStruct = TableBuilder;
    type SerializeTupleVariant = TableBuilder;
    type SerializeMap = TableBuilder;
    type SerializeStruct = TableBuilder;
    type SerializeStructVariant = TableBuilder;

    whole_numbers! {
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128
    }

    fn serialize_bool(self, value: bool) -> Result<ScriptValue, Problem> {
        Ok(value.into())
    }

    fn serialize_f32(self, value: f32) -> Result<ScriptValue, Problem> {
        Ok(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<ScriptValue, Problem> {
        Ok(value.into())
    }

    fn serialize_char(self, value: char) -> Result<ScriptValue, Problem> {
        Ok(value.to_string().into())
    }

    fn serialize_str(self, value: &str) -> Result<ScriptValue, Problem> {
        Ok(value.into())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<ScriptValue, Problem> {
        Ok(match str::from_utf8(value) {
            Ok(text) => text.into(),
            Err(_) => ScriptValue::Bytes(value.to_owned()),
        })
    }

    fn serialize_none(self) -> Result<ScriptValue, Problem> {
        Ok(ScriptValue::Nil)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<ScriptValue, Problem> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<ScriptValue, Problem> {
        Ok(ScriptValue::Nil)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<ScriptValue, Problem> {
        Ok(ScriptValue::Nil)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<ScriptValue, Problem> {
        Ok(name.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<ScriptValue, Problem> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<ScriptValue, Problem> {
        let inner = self.table(None)?.inner;
        let content = value.serialize(inner);
        let content = content.map_err(|problem| problem.inside(Step::Field(name.to_owned())))?;
        Ok(variant(name, content))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<TableBuilder, Problem> {
        self.table(None)
    }

    fn serialize_tuple(self, _: usize) -> Result<TableBuilder, Problem> {
        self.table(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<TableBuilder, Problem> {
        self.table(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<TableBuilder, Problem> {
        self.table(Some(name))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<TableBuilder, Problem> {
        self.table(None)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<TableBuilder, Problem> {
        self.table(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<TableBuilder, Problem> {
        self.table(Some(name))
    }
}

/// A table in the making.
pub(super) struct TableBuilder {
    table: Draft,
    /// For what is in the table.
    inner: ValueSerializer,
    /// The variant whose content it is.
    variant: Option<&'static str>,
    /// The key of the entry whose value comes next.
    key: Option<ScriptKey>,
}

impl TableBuilder {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        let step = Step::Element(self.table.array.len() + 1);
        let pushed = value
            .serialize(self.inner)
            .and_then(|value| self.table.push(value).map_err(Problem::other));
        pushed.map_err(|problem| self.locate(problem.inside(step)))
    }

    fn entry<T: Serialize + ?Sized>(&mut self, key: ScriptKey, value: &T) -> Result<(), Problem> {
        match value.serialize(self.inner) {
            Ok(ScriptValue::Nil) => {}
            Ok(value) => self.table.insert(key, value),
            Err(problem) => {
                return Err(self.locate(problem.inside(Step::Field(key.to_string()))));
            }
        }
        Ok(())
    }

    fn locate(&self, problem: Problem) -> Problem {
        match self.variant {
            Some(name) => problem.inside(Step::Field(name.to_owned())),
            None => problem,
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

fn key_of(value: ScriptValue) -> Result<ScriptKey, Problem> {
    match value {
        ScriptValue::Bool(value) => Ok(ScriptKey::Bool(value)),
        ScriptValue::Number(value) if !value.is_nan() => Ok(ScriptKey::Number(value)),
        ScriptValue::String(value) => Ok(value.into()),
        other => Err(Problem::other(format!(
            "has the key {other}; keys have to be strings, numbers or booleans"
        ))),
    }
}

macro_rules! elements {
    ($($kind:ident $method:ident),*) => {$(
        impl $kind for TableBuilder {
            type Ok = ScriptValue;
            type Error = Problem;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
                self.element(value)
            }

            fn end(self) -> Result<ScriptValue, Problem> {
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
        impl $kind for TableBuilder {
            type Ok = ScriptValue;
            type Error = Problem;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Problem> {
                self.entry(name.into(), value)
            }

            fn end(self) -> Result<ScriptValue, Problem> {
                Ok(self.finish())
            }
        }
    )*};
}
fields!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for TableBuilder {
    type Ok = ScriptValue;
    type Error = Problem;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Problem> {
        self.key = Some(key_of(key.serialize(self.inner)?)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        match self.key.take() {
            Some(key) => self.entry(key, value),
            None => Err(Problem::other("has a value without a key")),
        }
    }

    fn end(self) -> Result<ScriptValue, Problem> {
        Ok(self.finish())
    }
}
