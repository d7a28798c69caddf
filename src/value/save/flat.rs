//! A table as a list of tokens: one for the table with the number of its elements and fields, then those of its
//! elements, then those of its fields, the key before the value.

use serde::de::{Error as _, SeqAccess};
use serde::ser::{Error as _, Serialize, SerializeSeq, Serializer};

use super::read::{At, Reading, ValueSeed};
use super::tag::Tag;
use super::write::leaf;
use crate::value::plain::{MAX_DEPTH, Step, too_deep};
use crate::value::{ScriptFields, ScriptKey, ScriptTable, ScriptValue};

/// A table that is written as a list of tokens.
pub(super) struct Flat<'v> {
    array: &'v [ScriptValue],
    fields: &'v ScriptFields,
    /// The tables around it.
    depth: usize,
}

impl<'v> Flat<'v> {
    pub(super) const fn of(
        array: &'v [ScriptValue],
        fields: &'v ScriptFields,
        depth: usize,
    ) -> Self {
        Self { array, fields, depth }
    }

    fn values(&self) -> impl Iterator<Item = &'v ScriptValue> {
        self.array.iter().chain(self.fields.values())
    }

    fn within(&self, table: &'v ScriptTable) -> Self {
        Self::of(&table.array, &table.fields, self.depth + 1)
    }

    /// How many tokens it takes; `None` if it nests too deep.
    fn tokens(&self) -> Option<usize> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let mut tokens = 1 + self.fields.len();
        for value in self.values() {
            tokens += match value {
                ScriptValue::Table(table) => self.within(table).tokens()?,
                _ => 1,
            };
        }
        Some(tokens)
    }

    fn write<S: SerializeSeq>(&self, to: &mut S) -> Result<(), S::Error> {
        to.serialize_element(&Token::Table(self.array.len() as u64, self.fields.len() as u64))?;
        for value in self.array {
            self.value(value, to)?;
        }
        for (key, value) in self.fields {
            to.serialize_element(&Token::Key(key))?;
            self.value(value, to)?;
        }
        Ok(())
    }

    fn value<S: SerializeSeq>(&self, value: &'v ScriptValue, to: &mut S) -> Result<(), S::Error> {
        match value {
            ScriptValue::Table(table) => self.within(table).write(to),
            leaf => to.serialize_element(&Token::Leaf(leaf)),
        }
    }
}

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let tokens =
            self.tokens().ok_or_else(|| S::Error::custom(format!("a table {}", too_deep())))?;
        let mut list = to.serialize_seq(Some(tokens))?;
        self.write(&mut list)?;
        list.end()
    }
}

enum Token<'v> {
    Table(u64, u64),
    Key(&'v ScriptKey),
    Leaf(&'v ScriptValue),
}

impl Serialize for Token<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Table(array, fields) => to.serialize_newtype_variant(
                "ScriptValue",
                Tag::Table.number(),
                Tag::Table.name(),
                &(array, fields),
            ),
            // A key is written as the value that it is.
            Self::Key(key) => leaf(&(*key).clone().into(), to),
            Self::Leaf(value) => leaf(value, to),
        }
    }
}

/// What is read of one token.
pub(super) enum Read {
    /// A table with so many elements and fields begins.
    Table(u64, u64),
    Leaf(ScriptValue),
}

/// A table of which not everything has come yet.
struct Open {
    table: ScriptTable,
    fields: Vec<(ScriptKey, ScriptValue)>,
    /// Elements and fields that are still to come. Nobody has checked these numbers.
    left: (u64, u64),
    /// The key whose value comes next.
    key: Option<ScriptKey>,
}

impl Open {
    fn new(elements: u64, fields: u64) -> Self {
        Self {
            table: ScriptTable::default(),
            fields: Vec::new(),
            left: (elements, fields),
            key: None,
        }
    }

    /// The place of what comes next, if it has one: a key has none.
    fn step(&self) -> Option<Step> {
        match &self.key {
            Some(key) => Some(Step::of_key(key)),
            None => (self.left.0 > 0).then(|| Step::Element(self.table.array.len() + 1)),
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

/// The tables that are being read, outermost first.
struct Tables {
    open: Vec<Open>,
    /// The outermost one, once all of it has come.
    whole: Option<ScriptTable>,
    /// The tables around it.
    depth: usize,
}

impl Tables {
    /// Takes what comes next.
    ///
    /// # Errors
    /// If it can't come there.
    fn take(&mut self, token: Read) -> Result<(), String> {
        if self.whole.is_some() {
            return Err("more comes than belongs to the table".to_owned());
        }
        match (token, self.open.last_mut()) {
            (Read::Leaf(_), None) => return Err("no table comes".to_owned()),
            (Read::Leaf(value), Some(around)) if around.wants_key() => {
                let key = ScriptKey::try_from(value);
                around.key = Some(key.map_err(|value| no_key(value.type_name()))?);
            }
            (Read::Leaf(value), Some(around)) => around.take(value),
            (Read::Table(..), Some(around)) if around.wants_key() => return Err(no_key("table")),
            (Read::Table(elements, fields), _) => {
                if self.depth + self.open.len() >= MAX_DEPTH {
                    return Err(too_deep());
                }
                self.open.push(Open::new(elements, fields));
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

    /// The place of what comes next.
    fn place(&self) -> Vec<Step> {
        self.open.iter().filter_map(Open::step).collect()
    }
}

fn no_key(kind: &str) -> String {
    format!("a {kind} is no key")
}

/// Reads a table from tokens.
pub(super) fn read<'de, A: SeqAccess<'de>>(
    mut from: A,
    at: At<'_>,
    reading: &Reading,
    depth: usize,
) -> Result<ScriptTable, A::Error> {
    let mut tables = Tables { open: Vec::new(), whole: None, depth };
    loop {
        let token = from.next_element_seed(ValueSeed::token(reading));
        let taken = token.and_then(|token| match token {
            Some(token) => tables.take(token).map(|()| None).map_err(A::Error::custom),
            None => match tables.whole.take() {
                Some(table) => Ok(Some(table)),
                None => Err(A::Error::custom("the table ends before all of it has come")),
            },
        });
        match taken {
            Ok(Some(table)) => return Ok(table),
            Ok(None) => {}
            Err(error) => return Err(reading.tell(at, &tables.place(), error)),
        }
    }
}
