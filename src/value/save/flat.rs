//! A table as a list of tokens: one for the table with the number of its elements and fields, then those of its
//! elements, then those of its fields, each key before its value.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, SeqAccess, VariantAccess, Visitor,
};
use serde::ser::{Error as _, Serialize, SerializeSeq, Serializer};

use super::context::ReadPosition;
use super::leaf::{read_leaf, write_leaf};
use super::tag::{Tag, VALUE};
use crate::value::depth::{MAX_DEPTH, too_deep};
use crate::value::trail::PathStep;
use crate::value::types::{ScriptFields, ScriptKey, ScriptTable, ScriptValue};

/// A table that is written as a list of tokens.
pub(super) struct FlatTable<'v> {
    array: &'v [ScriptValue],
    fields: &'v ScriptFields,
    /// The number of tables around it.
    depth: usize,
}

impl<'v> FlatTable<'v> {
    pub(super) const fn new(
        array: &'v [ScriptValue],
        fields: &'v ScriptFields,
        depth: usize,
    ) -> Self {
        Self { array, fields, depth }
    }

    fn values(&self) -> impl Iterator<Item = &'v ScriptValue> {
        self.array.iter().chain(self.fields.values())
    }

    fn nested(&self, table: &'v ScriptTable) -> Self {
        Self::new(&table.array, &table.fields, self.depth + 1)
    }

    /// The number of its tokens; `None` if it nests too deep.
    fn token_count(&self) -> Option<usize> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let mut count = 1 + self.fields.len();
        for value in self.values() {
            count += match value {
                ScriptValue::Table(table) => self.nested(table).token_count()?,
                _ => 1,
            };
        }
        Some(count)
    }

    fn write<S: SerializeSeq>(&self, to: &mut S) -> Result<(), S::Error> {
        to.serialize_element(&Token::Table(self.array.len() as u64, self.fields.len() as u64))?;
        for value in self.array {
            self.write_value(value, to)?;
        }
        for (key, value) in self.fields {
            to.serialize_element(&Token::Key(key))?;
            self.write_value(value, to)?;
        }
        Ok(())
    }

    fn write_value<S: SerializeSeq>(
        &self,
        value: &'v ScriptValue,
        to: &mut S,
    ) -> Result<(), S::Error> {
        match value {
            ScriptValue::Table(table) => self.nested(table).write(to),
            leaf => to.serialize_element(&Token::Leaf(leaf)),
        }
    }
}

impl Serialize for FlatTable<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let deep = || S::Error::custom(format!("a table {}", too_deep()));
        let count = self.token_count().ok_or_else(deep)?;
        let mut list = to.serialize_seq(Some(count))?;
        self.write(&mut list)?;
        list.end()
    }
}

/// A token to be written.
enum Token<'v> {
    /// A table begins, with this number of elements and fields.
    Table(u64, u64),
    Key(&'v ScriptKey),
    Leaf(&'v ScriptValue),
}

impl Serialize for Token<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Table(array, fields) => Tag::Table.write(to, &(array, fields)),
            // A key is written as a value.
            Self::Key(key) => write_leaf(&(*key).clone().into(), to),
            Self::Leaf(value) => write_leaf(value, to),
        }
    }
}

/// Reads a table from its tokens.
pub(super) struct FlatTableSeed<'p>(pub(super) ReadPosition<'p>);

impl<'de> DeserializeSeed<'de> for FlatTableSeed<'_> {
    type Value = ScriptTable;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ScriptTable, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for FlatTableSeed<'_> {
    type Value = ScriptTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table as a list of what is in it")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<ScriptTable, A::Error> {
        let ReadPosition { context, depth, .. } = self.0;
        let mut tables = OpenTables { open: Vec::new(), whole: None, depth };
        loop {
            let token =
                from.next_element_seed(TokenSeed { human_readable: context.human_readable });
            let finished = token.and_then(|token| match token {
                Some(token) => tables.take(token).map(|()| None).map_err(A::Error::custom),
                None => match tables.whole.take() {
                    Some(table) => Ok(Some(table)),
                    None => Err(A::Error::custom("the table ends before all of it has come")),
                },
            });
            match finished {
                Ok(Some(table)) => return Ok(table),
                Ok(None) => {}
                Err(error) => return Err(self.0.locate_inside(&tables.path(), error)),
            }
        }
    }
}

/// Reads one token.
struct TokenSeed {
    human_readable: bool,
}

/// A token that was read. A key is read as a leaf.
enum ReadToken {
    /// A table begins, with this number of elements and fields.
    Table(u64, u64),
    Leaf(ScriptValue),
}

impl<'de> DeserializeSeed<'de> for TokenSeed {
    type Value = ReadToken;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<ReadToken, D::Error> {
        from.deserialize_enum(VALUE, Tag::NAMES, self)
    }
}

impl<'de> Visitor<'de> for TokenSeed {
    type Value = ReadToken;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a script")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<ReadToken, A::Error> {
        let (tag, content) = from.variant::<Tag>()?;
        match tag {
            Tag::Table => {
                let (elements, fields) = content.newtype_variant()?;
                Ok(ReadToken::Table(elements, fields))
            }
            Tag::Flat => Err(A::Error::custom("a list of tokens is no token")),
            tag => read_leaf(tag, content, self.human_readable).map(ReadToken::Leaf),
        }
    }
}

/// A table that is not complete yet.
struct OpenTable {
    table: ScriptTable,
    fields: Vec<(ScriptKey, ScriptValue)>,
    /// Elements and fields still to come, as the save announced: untrusted numbers.
    left: (u64, u64),
    /// The key of the value that comes next.
    key: Option<ScriptKey>,
}

impl OpenTable {
    fn new(elements: u64, fields: u64) -> Self {
        Self {
            table: ScriptTable::default(),
            fields: Vec::new(),
            left: (elements, fields),
            key: None,
        }
    }

    /// The step to the value that comes next; `None` before a key.
    fn step(&self) -> Option<PathStep<'_>> {
        match &self.key {
            Some(key) => Some(PathStep::Key(key)),
            None => (self.left.0 > 0).then(|| PathStep::Element(self.table.array.len() + 1)),
        }
    }

    fn wants_key(&self) -> bool {
        self.left.0 == 0 && self.key.is_none()
    }

    fn is_full(&self) -> bool {
        self.left == (0, 0)
    }

    fn take(&mut self, value: ScriptValue) {
        match self.key.take() {
            Some(key) => {
                self.fields.push((key, value));
                self.left.1 -= 1;
            }
            None => {
                self.table.array.push(value);
                self.left.0 -= 1;
            }
        }
    }

    fn finish(mut self) -> Result<ScriptTable, String> {
        self.table.fields = ScriptFields::distinct(self.fields)?;
        Ok(self.table)
    }
}

/// The tables that are being read, the outermost one first.
struct OpenTables {
    open: Vec<OpenTable>,
    /// The outermost table, once it is complete.
    whole: Option<ScriptTable>,
    /// The number of tables around the outermost one.
    depth: usize,
}

impl OpenTables {
    /// Takes the next token.
    ///
    /// # Errors
    /// If it is out of place.
    fn take(&mut self, token: ReadToken) -> Result<(), String> {
        if self.whole.is_some() {
            return Err("more comes than belongs to the table".to_owned());
        }
        match (token, self.open.last_mut()) {
            (ReadToken::Leaf(_), None) => return Err("no table comes".to_owned()),
            (ReadToken::Leaf(value), Some(around)) if around.wants_key() => {
                let key = ScriptKey::try_from(value);
                around.key = Some(key.map_err(|value| no_key(value.type_name()))?);
            }
            (ReadToken::Leaf(value), Some(around)) => around.take(value),
            (ReadToken::Table(..), Some(around)) if around.wants_key() => {
                return Err(no_key("table"));
            }
            (ReadToken::Table(elements, fields), _) => {
                if self.depth + self.open.len() >= MAX_DEPTH {
                    return Err(too_deep());
                }
                self.open.push(OpenTable::new(elements, fields));
            }
        }
        while let Some(table) = self.open.pop_if(|table| table.is_full()) {
            let table = table.finish()?;
            match self.open.last_mut() {
                Some(around) => around.take(table.into()),
                None => self.whole = Some(table),
            }
        }
        Ok(())
    }

    /// The path to what comes next, from the outermost table.
    fn path(&self) -> Vec<PathStep<'_>> {
        self.open.iter().filter_map(OpenTable::step).collect()
    }
}

fn no_key(kind: &str) -> String {
    format!("a {kind} is no key")
}
