//! [`Shapes`]: states with the same fields are pushed by copying a table, and compared field by
//! field.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;
use smol_str::SmolStr;

use crate::value::{ScriptKey, ScriptTable, ScriptValue};
use crate::vm::deadline::RunDeadline;
use crate::vm::raw::data::changes::FieldChanges;
use crate::vm::raw::data::problem::ReadProblem;
use crate::vm::raw::data::push::{push_table, push_value};
use crate::vm::raw::data::read::StackReader;
use crate::vm::raw::stack::StackCheck;
use crate::vm::state_change::StateChange;
use crate::vm::text::STRING_HEADER;

/// The shapes that states of one program had lately.
#[derive(Debug, Default)]
pub(in crate::vm) struct Shapes {
    pub(in crate::vm::raw) known: Vec<StateShape>,
    /// The one that is replaced next.
    oldest: usize,
}

/// States with more fields have no shape.
pub(in crate::vm::raw) const MAX_FLAT: usize = 128;

impl Shapes {
    /// The most shapes of one program. Most programs need one.
    const MAX: usize = 4;

    /// The number of a state's shape; `None` if it has none.
    ///
    /// # Safety
    ///
    /// In a protected call; four free slots.
    #[inline]
    pub(in crate::vm::raw) unsafe fn of(
        &mut self,
        state: *mut lua_State,
        table: &ScriptTable,
    ) -> Option<usize> {
        if let Some(known) = self.known.iter().position(|shape| shape.is_of(table)) {
            return Some(known);
        }
        if !table.array.is_empty() || table.fields.len() > MAX_FLAT {
            return None;
        }
        // SAFETY: in a protected call, with four free slots.
        let shape = unsafe { StateShape::new(state, table) }?;
        if self.known.len() < Self::MAX {
            self.known.push(shape);
            return Some(self.known.len() - 1);
        }
        self.oldest = (self.oldest + 1) % Self::MAX;
        let known = &mut self.known[self.oldest];
        for slot in std::mem::replace(known, shape).slots() {
            // SAFETY: freeing a slot that `lua_ref` gave raises nothing.
            unsafe { ffi::lua_unref(state, slot) };
        }
        Some(self.oldest)
    }

    pub(in crate::vm::raw) fn slots(&self) -> impl Iterator<Item = c_int> {
        self.known.iter().flat_map(StateShape::slots)
    }
}

/// The fields of a state, all with strings as keys. The VM holds those strings, and a table with
/// these keys to copy.
#[derive(Debug)]
pub(in crate::vm) struct StateShape {
    names: Vec<SmolStr>,
    /// The registry slots of the keys, in the order of the keys.
    keys: Vec<c_int>,
    /// The registry slot of a table with these keys, made as [`push_table`] makes it.
    template: c_int,
    /// The keys in the order in which Luau visits them in such a table: the address of each string,
    /// and its number.
    visits: Vec<(usize, u16)>,
    /// What a [`StackReader`] spends at least on such a table.
    least_size: usize,
}

impl StateShape {
    #[inline]
    pub(in crate::vm::raw) fn is_of(&self, table: &ScriptTable) -> bool {
        table.array.is_empty()
            && table.fields.len() == self.names.len()
            && table
                .fields
                .keys()
                .zip(&self.names)
                .all(|(key, name)| matches!(key, ScriptKey::String(key) if key == name))
    }

    pub(in crate::vm::raw) fn slots(&self) -> impl Iterator<Item = c_int> {
        self.keys.iter().copied().chain([self.template])
    }

    /// Makes the shape of a state; `None` if a key is no string.
    ///
    /// # Safety
    ///
    /// As [`Shapes::of`].
    unsafe fn new(state: *mut lua_State, table: &ScriptTable) -> Option<Self> {
        let mut names = Vec::new();
        for key in table.fields.keys() {
            let ScriptKey::String(name) = key else { return None };
            names.push(name.clone());
        }
        let like = table.fields.keys().map(|key| (key.clone(), true)).collect();
        let fields = names.iter().map(|name| 2 * size_of::<f64>() + name.len());
        let least_size = size_of::<ScriptTable>() + fields.sum::<usize>();
        let (keys, visits) = (Vec::new(), Vec::new());
        let mut shape = Self { names, keys, template: 0, visits, least_size };
        // SAFETY: in a protected call, with four free slots. The registry and the table keep the
        // strings alive, so their addresses stay theirs.
        unsafe {
            let check = StackCheck::begin(state);
            push_table(state, &like, 0);
            let template = ffi::lua_gettop(state);
            let mut addresses = Vec::new();
            for name in &shape.names {
                ffi::lua_pushlstring(state, name.as_ptr().cast(), name.len());
                addresses.push(ffi::lua_topointer(state, -1) as usize);
                shape.keys.push(ffi::lua_ref(state, -1));
                ffi::lua_pop(state, 1);
            }
            let mut next = ffi::lua_rawiter(state, template, 0);
            while next >= 0 {
                let address = ffi::lua_topointer(state, -2) as usize;
                let number = addresses.iter().position(|known| *known == address);
                let number = number.expect("it has the keys that it was made with");
                shape.visits.push((address, number as u16));
                ffi::lua_pop(state, 2);
                next = ffi::lua_rawiter(state, template, next);
            }
            shape.template = ffi::lua_ref(state, template);
            ffi::lua_pop(state, 1);
            check.end(state, 0);
        }
        Some(shape)
    }

    /// Pushes the template and the keys above the index `base`, which is the top.
    ///
    /// # Safety
    ///
    /// As many free slots; `base` is the top. The shape is one of this VM.
    #[inline]
    pub(in crate::vm::raw) unsafe fn lay_out(&self, state: *mut lua_State, base: c_int) {
        debug_assert!(self.names.len() <= MAX_FLAT);
        // SAFETY: there are free slots for the template and all keys, whose registry slots this VM
        // filled.
        unsafe {
            debug_assert_eq!(ffi::lua_gettop(state), base);
            let check = StackCheck::begin(state);
            for slot in std::iter::once(self.template).chain(self.keys.iter().copied()) {
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
            }
            check.end(state, 1 + self.keys.len() as c_int);
        }
    }

    /// Pushes a state of this shape: the same table that [`push_table`] makes. The shape is laid
    /// out above `base`.
    ///
    /// # Safety
    ///
    /// In a protected call; four free slots; `lay_out` was called with this `base`.
    #[inline]
    pub(in crate::vm::raw) unsafe fn push(
        &self,
        state: *mut lua_State,
        base: c_int,
        table: &ScriptTable,
    ) {
        // SAFETY: in a protected call, with four free slots. The template is above `base`, the keys
        // above that.
        unsafe {
            if self.names.is_empty() {
                ffi::lua_createtable(state, 0, 0);
                return;
            }
            let check = StackCheck::begin(state);
            ffi::lua_clonetable(state, base + 1);
            for (key, value) in (base + 2..).zip(table.fields.values()) {
                ffi::lua_pushvalue(state, key);
                push_value(state, value, 1);
                ffi::lua_rawset(state, -3);
            }
            check.end(state, 1);
        }
    }

    /// Compares the table at the top with the state that it was. `None` if it has other keys now,
    /// or may have too many bytes.
    ///
    /// # Safety
    ///
    /// In a protected call, with a table at the positive index, which is the top; some free slots.
    #[inline]
    pub(in crate::vm::raw) unsafe fn read(
        &self,
        state: *mut lua_State,
        index: c_int,
        before: &ScriptTable,
        budget: usize,
        deadline: &mut RunDeadline<'_>,
    ) -> Result<Option<StateChange>, ReadProblem> {
        let top = index + 2;
        let Some(rest) = budget.checked_sub(self.least_size) else { return Ok(None) };
        let mut reader = StackReader::new(rest, None, deadline);
        let mut changes = FieldChanges::default();
        let mut met = 0;
        // SAFETY: in a protected call, with the table on top. Nothing assigns to it while its
        // entries are visited; after a visit the key is at `index + 1` and the value on top, at
        // `index + 2`.
        unsafe {
            debug_assert_eq!(ffi::lua_gettop(state), index);
            if ffi::lua_getmetatable(state, index) != 0 {
                ffi::lua_pop(state, 1);
                return Ok(None);
            }
            let mut next = ffi::lua_rawiter(state, index, 0);
            while next >= 0 {
                let address = ffi::lua_topointer(state, top - 1) as usize;
                // The order is that of the template, unless a field was removed and set again.
                let is_it = |visit: &&(usize, u16)| visit.0 == address;
                let visit = self.visits.get(met).filter(is_it);
                let field = visit.or_else(|| self.visits.iter().find(is_it)).and_then(|visit| {
                    let (_, old) = before.fields.at(usize::from(visit.1))?;
                    Some((visit.1, old))
                });
                let Some((number, old)) = field else {
                    ffi::lua_settop(state, index);
                    return Ok(None);
                };
                match old {
                    ScriptValue::Number(old) if ffi::lua_type(state, top) == ffi::LUA_TNUMBER => {
                        let new = ffi::lua_tonumber(state, top);
                        if new.to_bits() != old.to_bits() {
                            changes.add_number(number, new);
                        }
                    }
                    old => {
                        let name = &self.names[usize::from(number)];
                        reader.field(state, top, name, (number, old), &mut changes)?;
                    }
                }
                met += 1;
                ffi::lua_settop(state, index);
                next = ffi::lua_rawiter(state, index, next);
            }
        }
        Ok((met == self.names.len()).then(|| changes.into_change()))
    }
}

impl Shapes {
    /// What the shapes take in the VM at most, in bytes.
    pub(in crate::vm) fn bytes(&self) -> usize {
        /// What a table takes per name, if it may be half full, and when empty.
        const ENTRY: usize = 2 * 32;
        const TABLE: usize = 64;
        let of = |shape: &StateShape| {
            let names = shape.names.iter().map(|name| name.len() + STRING_HEADER + ENTRY);
            TABLE + names.sum::<usize>()
        };
        self.known.iter().map(of).sum()
    }
}
