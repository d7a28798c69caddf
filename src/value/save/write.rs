//! Writing values to a save.

use serde::ser::{Error, Serialize, SerializeStruct, Serializer};

use super::flat::FlatTable;
use super::leaf::write_leaf;
use super::tag::Tag;
use crate::value::depth::{MAX_DEPTH, too_deep};
use crate::value::types::{ScriptFields, ScriptTable, ScriptValue};

/// Levels of tables that are nested in human-readable formats. Deeper ones are lists of tokens.
const MAX_NESTED: usize = 8;

impl Serialize for ScriptValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        AtDepth { it: self, depth: 0 }.serialize(to)
    }
}

impl Serialize for ScriptTable {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        AtDepth { it: self, depth: 0 }.serialize(to)
    }
}

/// Writes pairs instead of a map: some formats allow only strings as keys of a map.
impl Serialize for ScriptFields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return AtDepth { it: self, depth: 1 }.serialize(to);
        }
        FlatTable::new(&[], self, 0).serialize(to)
    }
}

/// A part of a value, with the number of tables around it.
struct AtDepth<'v, T> {
    it: &'v T,
    depth: usize,
}

impl Serialize for AtDepth<'_, ScriptValue> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.it {
            ScriptValue::Table(table) if !to.is_human_readable() || self.depth >= MAX_NESTED => {
                let flat = FlatTable::new(&table.array, &table.fields, self.depth);
                // Binary formats always use the list, so the tag needn't say so.
                let tag = if to.is_human_readable() { Tag::Flat } else { Tag::Table };
                tag.write(to, &flat)
            }
            ScriptValue::Table(table) => {
                Tag::Table.write(to, &AtDepth { it: table, depth: self.depth })
            }
            value => write_leaf(value, to),
        }
    }
}

impl Serialize for AtDepth<'_, ScriptTable> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let ScriptTable { array, fields } = self.it;
        if !to.is_human_readable() {
            return FlatTable::new(array, fields, self.depth).serialize(to);
        }
        if self.depth >= MAX_DEPTH {
            return Err(S::Error::custom(format!("a table {}", too_deep())));
        }
        let depth = self.depth + 1;
        let parts = usize::from(!array.is_empty()) + usize::from(!fields.is_empty());
        let mut table = to.serialize_struct("ScriptTable", parts)?;
        if array.is_empty() {
            table.skip_field("array")?;
        } else {
            table.serialize_field("array", &AtDepth { it: array, depth })?;
        }
        if fields.is_empty() {
            table.skip_field("fields")?;
        } else {
            table.serialize_field("fields", &AtDepth { it: fields, depth })?;
        }
        table.end()
    }
}

impl Serialize for AtDepth<'_, Vec<ScriptValue>> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.it.iter().map(|value| AtDepth { it: value, depth: self.depth }))
    }
}

impl Serialize for AtDepth<'_, ScriptFields> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let pair = |(key, value)| (key, AtDepth { it: value, depth: self.depth });
        to.collect_seq(self.it.iter().map(pair))
    }
}
