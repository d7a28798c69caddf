//! [`Reader`]: plain data off the stack.

use std::ffi::{CStr, c_int};

use bevy::prelude::Vec3;
use mlua::ffi;
use mlua::ffi::lua_State;

use crate::value::{ScriptKey, ScriptTable, ScriptValue};
use crate::vm::deadline::RunDeadline;
use crate::vm::host::Host;
use crate::vm::raw::data::changes::{Changes, same};
use crate::vm::raw::data::entity::entity_at;
use crate::vm::raw::data::problem::{Problem, ProblemKind};
use crate::vm::raw::data::push::MAX_DEPTH;
use crate::vm::raw::handles::handle_at;
use crate::vm::raw::run::current::guarded;
use crate::vm::raw::stack::TOO_DEEP;
use crate::vm::raw::strings::{short, text_bytes};

/// Reads plain data off the stack, within a budget of bytes.
pub(in crate::vm::raw) struct Reader<'r, 'w> {
    pub(in crate::vm::raw) budget: usize,
    /// Where component handles are copied from; without one they are no data.
    pub(in crate::vm::raw) host: Option<&'r mut dyn Host>,
    /// When to give up: values can be referred to many times, so that a few make much.
    pub(in crate::vm::raw) deadline: &'r mut RunDeadline<'w>,
    /// Values read so far.
    pub(in crate::vm::raw) steps: u32,
}

impl<'r, 'w> Reader<'r, 'w> {
    /// Values that are read between two looks at the deadline.
    const STEPS: u32 = 64;

    #[inline]
    pub(in crate::vm::raw) fn new(
        budget: usize,
        host: Option<&'r mut dyn Host>,
        deadline: &'r mut RunDeadline<'w>,
    ) -> Self {
        Self { budget, host, deadline, steps: 0 }
    }

    /// Gives up if the run must be over.
    #[inline]
    pub(in crate::vm::raw) fn look(&mut self) -> Result<(), Problem> {
        if self.deadline.has_passed() {
            let error = self.deadline.error();
            return Err(Problem { what: ProblemKind::Host(error), keys: Vec::new() });
        }
        Ok(())
    }

    #[inline]
    fn spend(&mut self, bytes: usize) -> Result<(), Problem> {
        self.steps += 1;
        if self.steps.is_multiple_of(Self::STEPS) {
            self.look()?;
        }
        match self.budget.checked_sub(bytes) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(Problem { what: ProblemKind::TooLarge, keys: Vec::new() }),
        }
    }

    /// Counts a copy of a component as if it were a table: or a component that takes copies of itself could be
    /// made ever deeper, and ever larger.
    fn take_copy(&mut self, value: &ScriptValue, depth: u32) -> Result<(), Problem> {
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
            return Err(Problem::new(format!(
                "a component that is nested deeper than {MAX_DEPTH} levels, with the tables around it"
            )));
        }
        Ok(())
    }

    /// Notes the field on top if its value is not what it was. What the least value takes is spent already.
    ///
    /// # Safety
    ///
    /// As `value`.
    pub(in crate::vm::raw) unsafe fn field(
        &mut self,
        state: *mut lua_State,
        top: c_int,
        key: &str,
        (place, old): (u16, &ScriptValue),
        changes: &mut Changes,
    ) -> Result<(), Problem> {
        // SAFETY: the caller keeps what this function asks for.
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
                changes.add(place, value);
            }
        }
        Ok(())
    }

    /// # Safety
    ///
    /// A valid positive index; a protected call is below.
    pub(in crate::vm::raw) unsafe fn value(
        &mut self,
        state: *mut lua_State,
        index: c_int,
    ) -> Result<ScriptValue, Problem> {
        // SAFETY: the caller keeps what this function asks for.
        unsafe { self.value_at(state, index, 0) }
    }

    /// # Safety
    ///
    /// As `value`, with a table at the index.
    pub(in crate::vm::raw) unsafe fn table(
        &mut self,
        state: *mut lua_State,
        index: c_int,
    ) -> Result<ScriptTable, Problem> {
        // SAFETY: the caller keeps what this function asks for.
        unsafe { self.table_at(state, index, 0) }
    }

    unsafe fn value_at(
        &mut self,
        state: *mut lua_State,
        index: c_int,
        depth: u32,
    ) -> Result<ScriptValue, Problem> {
        self.spend(size_of::<f64>())?;
        // SAFETY: the caller keeps what this function asks for.
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
                    None => return Err(Problem::new("the `entity` of the file level")),
                },
                ffi::LUA_TTABLE => ScriptValue::Table(self.table_at(state, index, depth)?),
                ffi::LUA_TUSERDATA => match (handle_at(state, index), &mut self.host) {
                    (Ok(handle), Some(host)) => {
                        let value = guarded("component", || host.copy(handle.place(*host)))
                            .map_err(|error| Problem {
                                what: ProblemKind::Host(error),
                                keys: Vec::new(),
                            })?;
                        self.take_copy(&value, depth)?;
                        value
                    }
                    (Ok(_), None) => {
                        return Err(Problem::new("a component (keep its fields instead)"));
                    }
                    (Err(_), _) => return Err(Problem::new("a userdata")),
                },
                ffi::LUA_TFUNCTION => return Err(Problem::new("a function")),
                ffi::LUA_TTHREAD => return Err(Problem::new("a coroutine")),
                ffi::LUA_TBUFFER => {
                    return Err(Problem::new("a buffer (use buffer.tostring)"));
                }
                other => {
                    let kind = CStr::from_ptr(ffi::lua_typename(state, other)).to_string_lossy();
                    return Err(Problem::new(format!("a {kind}")));
                }
            })
        }
    }

    unsafe fn table_at(
        &mut self,
        state: *mut lua_State,
        index: c_int,
        depth: u32,
    ) -> Result<ScriptTable, Problem> {
        if depth >= MAX_DEPTH {
            return Err(Problem::new(format!(
                "a table nested deeper than {MAX_DEPTH} levels, or one that holds itself"
            )));
        }
        self.spend(size_of::<ScriptTable>())?;
        // It may have many slots and nothing in them.
        self.look()?;
        let mut entries = Entries::default();
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            if ffi::lua_getmetatable(state, index) != 0 {
                ffi::lua_pop(state, 1);
                return Err(Problem::new("a table with a metatable"));
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
        entries: &mut Entries,
    ) -> Result<(), Problem> {
        // SAFETY: the caller keeps what this function asks for.
        let key = unsafe { self.key_at(state, top - 1, depth + 1) }?;
        // SAFETY: the caller keeps what this function asks for.
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
    ) -> Result<ScriptKey, Problem> {
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            // Most keys are short texts, which lie in the key itself.
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
                other => Err(Problem::new(format!("a table with a {} as key", other.type_name()))),
            }
        }
    }
}

/// The entries of a table, in the order in which going through it meets them.
#[derive(Default)]
pub(in crate::vm::raw) struct Entries {
    /// Those whose key was the next number.
    pub(in crate::vm::raw) array: Vec<ScriptValue>,
    /// The others. A script can choose the order, so they are sorted once, when all are there.
    pub(in crate::vm::raw) fields: Vec<(ScriptKey, ScriptValue)>,
}

impl Entries {
    pub(in crate::vm::raw) fn into_table(self) -> ScriptTable {
        let mut table = ScriptTable { array: self.array, fields: self.fields.into() };
        // Elements that were not met in order.
        table.move_fields_to_array();
        table.array.shrink_to_fit();
        table
    }
}
