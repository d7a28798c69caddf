//! Checks that the tables that all scripts of this VM share are unchanged.

#[cfg(test)]
use mlua::Table;

use super::Vm;
use crate::vm::fingerprint::{SharedChange, UnsoundVm};

impl Vm {
    /// Checks that all shared tables are read-only.
    pub(in crate::vm) fn check_frozen(&self) -> Result<(), UnsoundVm> {
        self.fingerprint.check_frozen().map_err(|changed| self.unsound(changed))
    }

    /// Checks that all shared tables are unchanged.
    pub(in crate::vm) fn check_all(&mut self) -> Result<(), UnsoundVm> {
        self.fingerprint.check_all().map_err(|changed| self.unsound(changed))?;
        self.suspects.clear();
        Ok(())
    }

    fn unsound(&self, changed: SharedChange) -> UnsoundVm {
        UnsoundVm { changed, suspects: self.suspects.to_string() }
    }
}

#[cfg(test)]
impl Vm {
    /// Makes a library writable, which no script can do.
    pub(crate) fn thaw(&self, library: &str) -> Table {
        let shared = self.fingerprint.tables.iter().find(|shared| shared.name == library);
        let table = shared.expect("it is shared").table.clone();
        table.set_readonly(false);
        table
    }

    /// All shared tables, by name.
    pub(crate) fn shared_tables(&self) -> Vec<(String, Table)> {
        let tables = self.fingerprint.tables.iter();
        tables.map(|shared| (shared.name.clone(), shared.table.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mlua::Value;

    use super::*;
    use crate::vm::api::Api;

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
        type Alteration = fn(&Table) -> mlua::Result<()>;
        let cases: [(Alteration, &str); 4] = [
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
