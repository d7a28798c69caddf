//! [`StackReader`]: reads plain data off the stack.
//!
//! It is bounded in bytes, in depth and in time: a few tables that refer to one another many times
//! are much data. It reaches no safepoint and runs no metamethod.
//!
//! # Safety
//!
//! The methods here ask for a protected call and a valid positive index. `table` asks for a table
//! there, and `entry` for a key and its value in the two topmost slots. They leave the stack as
//! they found it.

use std::ffi::{CStr, c_int};

use bevy::prelude::Vec3;
use mlua::ffi;
use mlua::ffi::lua_State;

use crate::value::{ScriptKey, ScriptTable, ScriptValue};
use crate::vm::deadline::RunDeadline;
use crate::vm::host::Host;
use crate::vm::raw::data::changes::{FieldChanges, same};
use crate::vm::raw::data::entity::entity_at;
use crate::vm::raw::data::problem::{ReadProblem, ReadProblemKind};
use crate::vm::raw::data::push::MAX_DEPTH;
use crate::vm::raw::handles::handle_at;
use crate::vm::raw::run::current::catch_host_panic;
use crate::vm::raw::stack::{StackCheck, TOO_DEEP};
use crate::vm::raw::strings::{short, text_bytes};

/// Reads plain data, within a budget of bytes.
pub(in crate::vm::raw) struct StackReader<'r, 'w> {
    pub(in crate::vm::raw) budget: usize,
    /// Where handles to components are read from; without a host they are not data.
    host: Option<&'r mut dyn Host>,
    /// When to give up.
    deadline: &'r mut RunDeadline<'w>,
    /// Values read so far.
    steps: u32,
}

impl<'r, 'w> StackReader<'r, 'w> {
    /// Values read between two looks at the deadline.
    const STEPS: u32 = 64;

    #[inline]
    pub(in crate::vm::raw) fn new(
        budget: usize,
        host: Option<&'r mut dyn Host>,
        deadline: &'r mut RunDeadline<'w>,
    ) -> Self {
        Self { budget, host, deadline, steps: 0 }
    }

    /// Gives up if the run must end.
    #[inline]
    pub(in crate::vm::raw) fn look(&mut self) -> Result<(), ReadProblem> {
        if self.deadline.has_passed() {
            let error = self.deadline.error();
            return Err(ReadProblem { what: ReadProblemKind::Host(error), keys: Vec::new() });
        }
        Ok(())
    }

    #[inline]
    fn spend(&mut self, bytes: usize) -> Result<(), ReadProblem> {
        self.steps += 1;
        if self.steps.is_multiple_of(Self::STEPS) {
            self.look()?;
        }
        match self.budget.checked_sub(bytes) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(ReadProblem { what: ReadProblemKind::TooLarge, keys: Vec::new() }),
        }
    }

    /// Counts the copy of a component as if the script had built it. Otherwise a component that
    /// takes copies of itself could become ever deeper and larger.
    fn take_copy(&mut self, value: &ScriptValue, depth: u32) -> Result<(), ReadProblem> {
        fn levels(value: &ScriptValue) -> u32 {
            match value {
                ScriptValue::Table(table) => {
                    table.array.iter().chain(table.fields.values()).map(levels).max().unwrap_or(0)
                        + 1
                }
                _ => 0,
            }
        }
        self.spend(value.size())?;
        if depth + levels(value) > MAX_DEPTH {
            return Err(ReadProblem::new(format!(
                "a component that is nested deeper than {MAX_DEPTH} levels, with the tables around it"
            )));
        }
        Ok(())
    }

    /// Records the field on top if its value has changed. The least that a value costs was spent
    /// before.
    pub(in crate::vm::raw) unsafe fn field(
        &mut self,
        state: *mut lua_State,
        top: c_int,
        key: &str,
        (number, old): (u16, &ScriptValue),
        changes: &mut FieldChanges,
    ) -> Result<(), ReadProblem> {
        // SAFETY: in a protected call; `top` is the top of the stack, so it is a valid positive
        // index.
        unsafe {
            if same(state, top, old) {
                return self.spend(if let ScriptValue::String(old) = old { old.len() } else { 0 });
            }
            self.budget += size_of::<f64>();
            let value = self.value_at(state, top, 1).map_err(|mut problem| {
                problem.keys.push(format!(".{}", short(key)));
                problem
            })?;
            if !value.is_identical(old) {
                changes.add(number, value);
            }
        }
        Ok(())
    }

    /// Reads a value.
    pub(in crate::vm::raw) unsafe fn value(
        &mut self,
        state: *mut lua_State,
        index: c_int,
    ) -> Result<ScriptValue, ReadProblem> {
        // SAFETY: in a protected call, with a valid positive index.
        unsafe {
            let check = StackCheck::begin(state);
            let value = self.value_at(state, index, 0);
            check.end(state, 0);
            value
        }
    }

    /// Reads a table.
    pub(in crate::vm::raw) unsafe fn table(
        &mut self,
        state: *mut lua_State,
        index: c_int,
    ) -> Result<ScriptTable, ReadProblem> {
        // SAFETY: in a protected call, with a table at the positive index.
        unsafe {
            let check = StackCheck::begin(state);
            let table = self.table_at(state, index, 0);
            check.end(state, 0);
            table
        }
    }

    unsafe fn value_at(
        &mut self,
        state: *mut lua_State,
        index: c_int,
        depth: u32,
    ) -> Result<ScriptValue, ReadProblem> {
        self.spend(size_of::<f64>())?;
        // SAFETY: in a protected call, with a valid positive index. The string stays on the stack
        // while its bytes are copied, and a vector has three components.
        unsafe {
            Ok(match ffi::lua_type(state, index) {
                ffi::LUA_TNIL | ffi::LUA_TNONE => ScriptValue::Nil,
                ffi::LUA_TBOOLEAN => ScriptValue::Bool(ffi::lua_toboolean(state, index) != 0),
                ffi::LUA_TNUMBER => ScriptValue::Number(ffi::lua_tonumber(state, index)),
                ffi::LUA_TSTRING => {
                    let mut length = 0;
                    let text = ffi::lua_tolstring(state, index, &raw mut length);
                    self.spend(length)?;
                    let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length).to_vec();
                    match String::from_utf8(bytes) {
                        Ok(text) => ScriptValue::String(text),
                        Err(error) => ScriptValue::Bytes(error.into_bytes()),
                    }
                }
                ffi::LUA_TVECTOR => {
                    let vector = ffi::lua_tovector(state, index);
                    ScriptValue::Vector(Vec3::new(*vector, *vector.add(1), *vector.add(2)))
                }
                ffi::LUA_TLIGHTUSERDATA => match entity_at(state, index) {
                    Some(entity) => ScriptValue::Entity(entity),
                    None => return Err(ReadProblem::new("the `entity` of the file level")),
                },
                ffi::LUA_TTABLE => ScriptValue::Table(self.table_at(state, index, depth)?),
                ffi::LUA_TUSERDATA => match (handle_at(state, index), &mut self.host) {
                    (Ok(handle), Some(host)) => {
                        let value =
                            catch_host_panic("component", || host.copy(handle.field_ref(*host)))
                                .map_err(|error| ReadProblem {
                                    what: ReadProblemKind::Host(error),
                                    keys: Vec::new(),
                                })?;
                        self.take_copy(&value, depth)?;
                        value
                    }
                    (Ok(_), None) => {
                        return Err(ReadProblem::new("a component (keep its fields instead)"));
                    }
                    (Err(_), _) => return Err(ReadProblem::new("a userdata")),
                },
                ffi::LUA_TFUNCTION => return Err(ReadProblem::new("a function")),
                ffi::LUA_TTHREAD => return Err(ReadProblem::new("a coroutine")),
                ffi::LUA_TBUFFER => {
                    return Err(ReadProblem::new("a buffer (use buffer.tostring)"));
                }
                other => {
                    let kind = CStr::from_ptr(ffi::lua_typename(state, other)).to_string_lossy();
                    return Err(ReadProblem::new(format!("a {kind}")));
                }
            })
        }
    }

    unsafe fn table_at(
        &mut self,
        state: *mut lua_State,
        index: c_int,
        depth: u32,
    ) -> Result<ScriptTable, ReadProblem> {
        if depth >= MAX_DEPTH {
            return Err(ReadProblem::new(format!(
                "a table nested deeper than {MAX_DEPTH} levels, or one that holds itself"
            )));
        }
        self.spend(size_of::<ScriptTable>())?;
        // It may have many slots, all of them empty.
        self.look()?;
        let mut entries = TableEntries::default();
        // SAFETY: in a protected call, with a table at the positive index. Room is made for a key,
        // its value and a metatable; nothing assigns to the table while its entries are visited.
        unsafe {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            if ffi::lua_getmetatable(state, index) != 0 {
                ffi::lua_pop(state, 1);
                return Err(ReadProblem::new("a table with a metatable"));
            }
            let mut next = ffi::lua_rawiter(state, index, 0);
            while next >= 0 {
                let top = ffi::lua_gettop(state);
                let read = self.entry(state, top, depth, &mut entries);
                ffi::lua_settop(state, top - 2);
                read?;
                next = ffi::lua_rawiter(state, index, next);
            }
        }
        Ok(entries.into_table())
    }

    /// Reads the key at `top - 1` and the value at `top`.
    pub(in crate::vm::raw) unsafe fn entry(
        &mut self,
        state: *mut lua_State,
        top: c_int,
        depth: u32,
        entries: &mut TableEntries,
    ) -> Result<(), ReadProblem> {
        // SAFETY: in a protected call; the key lies below the top.
        let key = unsafe { self.key_at(state, top - 1, depth + 1) }?;
        // SAFETY: in a protected call; the value is on top.
        let value = unsafe { self.value_at(state, top, depth + 1) }.map_err(|mut problem| {
            problem.keys.push(match &key {
                ScriptKey::String(key) => format!(".{}", short(key)),
                key => format!("[{key}]"),
            });
            problem
        })?;
        match key {
            ScriptKey::Number(key) if key == entries.array.len() as f64 + 1.0 => {
                entries.array.push(value);
            }
            key => entries.fields.push((key, value)),
        }
        Ok(())
    }

    unsafe fn key_at(
        &mut self,
        state: *mut lua_State,
        index: c_int,
        depth: u32,
    ) -> Result<ScriptKey, ReadProblem> {
        // SAFETY: in a protected call, with a valid positive index; the string stays on the stack
        // while its bytes are used.
        unsafe {
            // Most keys are short, and the key holds them without an allocation.
            if let Some(text) = text_bytes(state, index)
                && let Ok(text) = str::from_utf8(text)
            {
                self.spend(size_of::<f64>())?;
                self.spend(text.len())?;
                return Ok(text.into());
            }
            match self.value_at(state, index, depth)? {
                ScriptValue::Bool(key) => Ok(key.into()),
                ScriptValue::Number(key) => Ok(key.into()),
                ScriptValue::String(key) => Ok(key.into()),
                ScriptValue::Entity(key) => Ok(key.into()),
                other => {
                    Err(ReadProblem::new(format!("a table with a {} as key", other.type_name())))
                }
            }
        }
    }
}

/// The entries of a table, in the order in which they were visited.
#[derive(Default)]
pub(in crate::vm::raw) struct TableEntries {
    /// Those whose key was the next position of a list.
    array: Vec<ScriptValue>,
    /// The others. A script can choose their order, so they are sorted once, when all have been
    /// read.
    fields: Vec<(ScriptKey, ScriptValue)>,
}

impl TableEntries {
    pub(in crate::vm::raw) fn into_table(self) -> ScriptTable {
        let mut table = ScriptTable { array: self.array, fields: self.fields.into() };
        // Moves elements that were not visited in order into the array.
        table.move_fields_to_array();
        table.array.shrink_to_fit();
        table
    }
}
