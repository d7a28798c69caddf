//! [`Fingerprint`]: whether the tables that all scripts of a VM share are unchanged.
//!
//! They are frozen, so no script can change them. This is a second defence: if there is ever a way around the first,
//! the VM is detected and destroyed.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use mlua::{Lua, Table, Value};

use super::sandbox;

/// The shared tables of a VM, as they were when it was made.
#[derive(Debug)]
pub(super) struct Fingerprint {
    pub(super) tables: Vec<SharedTable>,
}

/// A table that all scripts share.
#[derive(Debug)]
pub(super) struct SharedTable {
    /// How a script reaches it, such as `string` or `metatable of string`.
    pub(super) name: String,
    pub(super) table: Table,
    metatable: Option<usize>,
    /// The type and [identity] of the value of each key.
    entries: BTreeMap<String, (&'static str, u64)>,
}

/// What has changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("what all scripts share was changed: {0}")]
pub(super) struct SharedChange(pub(super) String);

/// What has changed, and which programs may have done it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{changed}; since it was last found sound, {suspects}")]
pub(super) struct UnsoundVm {
    pub(super) changed: SharedChange,
    pub(super) suspects: String,
}

/// The programs that ran on a VM since its last successful check. If a check fails, one of them did it.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// The most recent one last.
    names: Vec<Arc<str>>,
    /// Whether older names were dropped.
    more: bool,
}

impl Suspects {
    /// How many names are kept.
    const KEPT: usize = 8;

    pub(super) fn add(&mut self, name: &Arc<str>) {
        if let Some(known) = self.names.iter().position(|known| Arc::ptr_eq(known, name)) {
            self.names[known..].rotate_left(1);
            return;
        }
        if self.names.len() == Self::KEPT {
            self.names.remove(0);
            self.more = true;
        }
        self.names.push(Arc::clone(name));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// `these ran: a.luau, b.luau`, the most recent one first.
impl fmt::Display for Suspects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.names.is_empty() { "nothing ran" } else { "these ran: " })?;
        for (index, name) in self.names.iter().rev().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        f.write_str(if self.more { ", and others" } else { "" })
    }
}

impl Fingerprint {
    /// Takes all tables that can be reached from the globals and from the metatables of Luau's types.
    pub(super) fn take(lua: &Lua, globals: &Table) -> mlua::Result<Self> {
        let mut finder = Finder::default();
        finder.add("_G".to_owned(), globals)?;
        for (name, metatable) in sandbox::type_metatables(lua) {
            finder.add(format!("metatable of every {name}"), &metatable)?;
        }
        Ok(Self { tables: finder.tables })
    }

    /// Checks that all tables are read-only. Takes some ten nanoseconds for each.
    pub(super) fn check_frozen(&self) -> Result<(), SharedChange> {
        match self.tables.iter().find(|shared| !shared.table.is_readonly()) {
            Some(shared) => Err(SharedChange(format!("`{}` can be written to", shared.name))),
            None => Ok(()),
        }
    }

    /// Checks also that each key of each table has the same value.
    pub(super) fn check_all(&self) -> Result<(), SharedChange> {
        self.check_frozen()?;
        self.tables.iter().try_for_each(SharedTable::check)
    }
}

impl SharedTable {
    fn check(&self) -> Result<(), SharedChange> {
        let name = &self.name;
        if metatable_of(&self.table) != self.metatable {
            return Err(SharedChange(format!("`{name}` has another metatable")));
        }
        let now = entries_of(&self.table)
            .map_err(|error| SharedChange(format!("`{name}` can't be read: {error}")))?;
        for (key, value) in &now {
            match self.entries.get(key) {
                None => return Err(SharedChange(format!("`{name}` has a new key, `{key}`"))),
                Some(before) if before != value => {
                    return Err(SharedChange(format!(
                        "`{key}` in `{name}` is another {}",
                        value.0
                    )));
                }
                Some(_) => {}
            }
        }
        match self.entries.keys().find(|key| !now.contains_key(*key)) {
            Some(key) => Err(SharedChange(format!("`{key}` is gone from `{name}`"))),
            None => Ok(()),
        }
    }
}

/// Finds all tables that can be reached from a table.
#[derive(Default)]
struct Finder {
    tables: Vec<SharedTable>,
    seen: HashSet<usize>,
}

impl Finder {
    fn add(&mut self, name: String, table: &Table) -> mlua::Result<()> {
        if !self.seen.insert(table.to_pointer() as usize) {
            return Ok(());
        }
        let (metatable, entries) = (metatable_of(table), entries_of(table)?);
        self.tables.push(SharedTable {
            name: name.clone(),
            table: table.clone(),
            metatable,
            entries,
        });
        if let Some(metatable) = table.metatable() {
            self.add(format!("metatable of {name}"), &metatable)?;
        }
        let mut inner = Vec::new();
        table.for_each(|key: Value, value: Value| {
            if let Value::Table(table) = value {
                inner.push((key_name(&key), table));
            }
            Ok(())
        })?;
        // Sorted, so that a table that is reached in two ways has the same name in every VM.
        inner.sort_by(|a, b| a.0.cmp(&b.0));
        let prefix = if name == "_G" { String::new() } else { format!("{name}.") };
        inner.iter().try_for_each(|(key, table)| self.add(format!("{prefix}{key}"), table))
    }
}

fn metatable_of(table: &Table) -> Option<usize> {
    table.metatable().map(|metatable| metatable.to_pointer() as usize)
}

fn entries_of(table: &Table) -> mlua::Result<BTreeMap<String, (&'static str, u64)>> {
    let mut entries = BTreeMap::new();
    table.for_each(|key: Value, value: Value| {
        entries.insert(key_name(&key), (value.type_name(), identity(&value)));
        Ok(())
    })?;
    Ok(entries)
}

fn key_name(key: &Value) -> String {
    match key {
        Value::String(text) => text.to_string_lossy(),
        other => format!("{} {:x}", other.type_name(), identity(other)),
    }
}

/// A number that tells values of one type apart, as `rawequal` does.
fn identity(value: &Value) -> u64 {
    match value {
        Value::Nil => 0,
        Value::Boolean(value) => u64::from(*value),
        Value::Integer(value) => value.cast_unsigned(),
        Value::Number(value) => value.to_bits(),
        Value::Vector(vector) => {
            let [x, y, z] = [vector.x(), vector.y(), vector.z()].map(|it| u64::from(it.to_bits()));
            x ^ y.rotate_left(21) ^ z.rotate_left(42)
        }
        other => other.to_pointer() as u64,
    }
}
