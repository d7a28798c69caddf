//! [`Fingerprint`]: whether what all scripts share on a VM is still as it was made.
//!
//! It is frozen, so nothing a script does can change it. This is the second lock on that door: should
//! there ever be a way around the first, the VM is found out and destroyed before many have met it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use mlua::{Lua, Table, Value};

use super::{Vm, sandbox};

/// The shared tables of a VM, as they were when it was made.
#[derive(Debug)]
pub(super) struct Fingerprint {
    tables: Vec<Shared>,
}

/// A table that all scripts share.
#[derive(Debug)]
struct Shared {
    /// How a script reaches it, such as `string` or `metatable of string`.
    name: String,
    table: Table,
    metatable: Option<usize>,
    /// What each key holds: a number that tells values apart as `rawequal` does.
    entries: BTreeMap<String, (&'static str, u64)>,
}

/// What differs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("what all scripts share was changed: {0}")]
pub(super) struct Changed(String);

/// What differs, and which programs may have done it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{changed}; since it was last found sound, {suspects}")]
pub(super) struct Found {
    changed: Changed,
    suspects: String,
}

/// The programs that ran on a VM since all of it was last found as it was made: one of them did it, if
/// it isn't any more.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    /// The last one at the end.
    names: Vec<Arc<str>>,
    /// Whether there were more before them.
    more: bool,
}

impl Suspects {
    /// The names that are kept.
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

/// `these ran: a.luau, b.luau`, the last one first.
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

impl Vm {
    /// Whether all that scripts share is read-only. If not, also says whose doing it may be.
    pub(super) fn check_frozen(&self) -> Result<(), Found> {
        self.fingerprint.check_frozen().map_err(|changed| self.found(changed))
    }

    /// Whether all that scripts share is as it was made.
    pub(super) fn check_all(&mut self) -> Result<(), Found> {
        self.fingerprint.check_all().map_err(|changed| self.found(changed))?;
        self.suspects.clear();
        Ok(())
    }

    fn found(&self, changed: Changed) -> Found {
        Found { changed, suspects: self.suspects.to_string() }
    }
}

impl Fingerprint {
    /// Looks at all tables that lead from the globals, and at the metatables of Luau's types.
    pub(super) fn take(lua: &Lua, globals: &Table) -> mlua::Result<Self> {
        let mut finder = Finder::default();
        finder.add("_G".to_owned(), globals)?;
        for (name, metatable) in sandbox::type_metatables(lua) {
            finder.add(format!("metatable of every {name}"), &metatable)?;
        }
        Ok(Self { tables: finder.tables })
    }

    /// Whether all of it is read-only still. Some ten nanoseconds for each table.
    pub(super) fn check_frozen(&self) -> Result<(), Changed> {
        match self.tables.iter().find(|shared| !shared.table.is_readonly()) {
            Some(shared) => Err(Changed(format!("`{}` can be written to", shared.name))),
            None => Ok(()),
        }
    }

    /// Whether each key of each table holds what it held.
    pub(super) fn check_all(&self) -> Result<(), Changed> {
        self.check_frozen()?;
        self.tables.iter().try_for_each(Shared::check)
    }
}

impl Shared {
    fn check(&self) -> Result<(), Changed> {
        let name = &self.name;
        if metatable_of(&self.table) != self.metatable {
            return Err(Changed(format!("`{name}` has another metatable")));
        }
        let now = entries_of(&self.table)
            .map_err(|error| Changed(format!("`{name}` can't be read: {error}")))?;
        for (key, value) in &now {
            match self.entries.get(key) {
                None => return Err(Changed(format!("`{name}` has a new key, `{key}`"))),
                Some(before) if before != value => {
                    return Err(Changed(format!("`{key}` in `{name}` is another {}", value.0)));
                }
                Some(_) => {}
            }
        }
        match self.entries.keys().find(|key| !now.contains_key(*key)) {
            Some(key) => Err(Changed(format!("`{key}` is gone from `{name}`"))),
            None => Ok(()),
        }
    }
}

/// Follows tables to all the tables that they hold.
#[derive(Default)]
struct Finder {
    tables: Vec<Shared>,
    seen: HashSet<usize>,
}

impl Finder {
    fn add(&mut self, name: String, table: &Table) -> mlua::Result<()> {
        if !self.seen.insert(table.to_pointer() as usize) {
            return Ok(());
        }
        let (metatable, entries) = (metatable_of(table), entries_of(table)?);
        self.tables.push(Shared { name: name.clone(), table: table.clone(), metatable, entries });
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
        // Sorted, so that a table with two ways to it has the same name on every VM.
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

/// Tells values of one type apart.
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

#[cfg(test)]
impl Vm {
    /// Does what no script can: makes a library writable.
    pub(crate) fn thaw(&self, library: &str) -> Table {
        let shared = self.fingerprint.tables.iter().find(|shared| shared.name == library);
        let table = shared.expect("it is shared").table.clone();
        table.set_readonly(false);
        table
    }

    /// All that scripts share, by name.
    pub(crate) fn shared_tables(&self) -> Vec<(String, Table)> {
        let tables = self.fingerprint.tables.iter();
        tables.map(|shared| (shared.name.clone(), shared.table.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::Api;

    fn vm() -> Vm {
        Vm::new(&Api::default(), 16 * 1024 * 1024).expect("it can be made")
    }

    #[test]
    fn a_new_vm_is_sound_and_all_that_is_shared_is_watched() {
        let vm = vm();
        assert_eq!(vm.fingerprint.check_frozen(), Ok(()));
        assert_eq!(vm.fingerprint.check_all(), Ok(()));
        let names: Vec<&str> =
            vm.fingerprint.tables.iter().map(|shared| shared.name.as_str()).collect();
        for name in ["_G", "math", "string", "table", "log", "metatable of every string"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }

    #[test]
    fn a_table_that_can_be_written_to_is_named() {
        let vm = vm();
        vm.thaw("math");
        let changed = vm.fingerprint.check_frozen().expect_err("it is thawed");
        assert_eq!(changed.0, "`math` can be written to");
    }

    #[test]
    fn every_kind_of_change_is_named_with_its_key() {
        type Change = fn(&Table) -> mlua::Result<()>;
        let cases: [(Change, &str); 4] = [
            (|math| math.raw_set("tau", 6.5), "`tau` in `math` is another number"),
            (|math| math.raw_set("stash", "secret"), "`math` has a new key, `stash`"),
            (|math| math.raw_set("sin", Value::Nil), "`sin` is gone from `math`"),
            (
                |math| {
                    let sin = math.raw_get::<Value>("sin")?;
                    math.raw_set("cos", sin)
                },
                "`cos` in `math` is another function",
            ),
        ];
        for (change, says) in cases {
            let vm = vm();
            let math = vm.thaw("math");
            change(&math).expect("it is thawed");
            math.set_readonly(true);
            assert_eq!(vm.fingerprint.check_frozen(), Ok(()), "too cheap to see it");
            let changed = vm.fingerprint.check_all().expect_err(says);
            assert_eq!(changed.0, says);
        }
    }

    #[test]
    fn another_metatable_is_found() {
        let vm = vm();
        let math = vm.thaw("math");
        let metatable = vm.lua.create_table().expect("memory");
        math.set_metatable(Some(metatable)).expect("it is thawed");
        math.set_readonly(true);
        let changed = vm.fingerprint.check_all().expect_err("it has one");
        assert_eq!(changed.0, "`math` has another metatable");
    }

    #[test]
    fn those_that_may_have_done_it_are_named() {
        let mut vm = vm();
        let names = ["a.luau", "b.luau", "a.luau"].map(Arc::<str>::from);
        vm.suspects.add(&names[0]);
        assert_eq!(vm.check_all(), Ok(()));
        for name in [&names[1], &names[2], &names[1]] {
            vm.suspects.add(name);
        }
        let thawed = vm.thaw("math");
        let says = "what all scripts share was changed: `math` can be written to; since it was last \
                    found sound, these ran: b.luau, a.luau";
        for found in [vm.check_frozen(), vm.check_all()] {
            assert_eq!(found.expect_err("it is thawed").to_string(), says);
        }
        thawed.set_readonly(true);
        assert_eq!(vm.check_all(), Ok(()));
        assert_eq!(vm.suspects.to_string(), "nothing ran");
        for number in 0..20 {
            vm.suspects.add(&format!("{number}").into());
        }
        let says = "these ran: 19, 18, 17, 16, 15, 14, 13, 12, and others";
        assert_eq!(vm.suspects.to_string(), says);
    }
}
