//! [`TableBuilder`]: a table under construction.

use std::collections::BTreeMap;

use crate::value::types::{ScriptKey, ScriptTable, ScriptValue};

/// Builds a table from entries in any order.
#[derive(Default)]
pub(super) struct TableBuilder {
    array: Vec<ScriptValue>,
    /// A tree, because the order of untrusted input could make a sorted list quadratic.
    fields: BTreeMap<ScriptKey, ScriptValue>,
}

impl TableBuilder {
    /// The number of elements in the array.
    pub(super) fn array_len(&self) -> usize {
        self.array.len()
    }

    /// Adds an entry as Lua would: 0 and -0 are one key, and the number that continues the array goes to the array.
    pub(super) fn insert(&mut self, key: ScriptKey, value: ScriptValue) {
        match key {
            ScriptKey::Number(number) if number == (self.array.len() + 1) as f64 => {
                self.array.push(value);
                while let Some(next) = self.fields.remove(&self.next_element()) {
                    self.array.push(next);
                }
            }
            ScriptKey::Number(number) => {
                // Adding 0 makes 0 of -0.
                self.fields.insert(ScriptKey::Number(number + 0.0), value);
            }
            key => {
                self.fields.insert(key, value);
            }
        }
    }

    /// Appends an element to a list.
    ///
    /// # Errors
    /// If it is nil: a list has no gaps.
    pub(super) fn push(&mut self, value: ScriptValue) -> Result<(), String> {
        if value == ScriptValue::Nil {
            return Err("is nil, and a list can't hold nil; leave it out, or put another value \
                        such as false in its place"
                .to_owned());
        }
        self.array.push(value);
        Ok(())
    }

    pub(super) fn contains_key(&self, key: &ScriptKey) -> bool {
        match key {
            ScriptKey::Number(number) if *number >= 1.0 && number.fract() == 0.0 => {
                *number <= self.array.len() as f64 || self.fields.contains_key(key)
            }
            key => self.fields.contains_key(key),
        }
    }

    pub(super) fn finish(self) -> ScriptTable {
        ScriptTable { array: self.array, fields: self.fields.into_iter().collect() }
    }

    fn next_element(&self) -> ScriptKey {
        ScriptKey::Number((self.array.len() + 1) as f64)
    }
}
