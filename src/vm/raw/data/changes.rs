//! [`FieldChanges`]: the fields of a state that have new values.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::value::ScriptValue;
use crate::vm::raw::data::entity::entity_at;
use crate::vm::raw::strings::text_bytes;
use crate::vm::state_change::StateChange;

/// Fields with new values, each with its position in the order of the keys.
#[derive(Default)]
pub(in crate::vm::raw) struct FieldChanges {
    /// The only one so far, if it is a number: most runs change one number, and this needs no
    /// allocation.
    number: Option<(u16, f64)>,
    /// All of them otherwise.
    fields: Vec<(u16, ScriptValue)>,
}

impl FieldChanges {
    #[inline]
    pub(in crate::vm::raw) fn add_number(&mut self, place: u16, value: f64) {
        if self.number.is_none() && self.fields.is_empty() {
            self.number = Some((place, value));
        } else {
            self.add(place, value.into());
        }
    }

    pub(in crate::vm::raw) fn add(&mut self, place: u16, value: ScriptValue) {
        self.fields.extend(self.number.take().map(|(place, value)| (place, value.into())));
        self.fields.push((place, value));
    }

    #[inline]
    pub(in crate::vm::raw) fn into_change(self) -> StateChange {
        match self {
            Self { number: Some((place, value)), .. } => StateChange::Number(place, value),
            Self { fields, .. } if fields.is_empty() => StateChange::Unchanged,
            Self { fields, .. } => StateChange::Fields(fields.into()),
        }
    }
}

/// Whether the value at a stack index is `value`. `false` if that would need a longer look, as for
/// tables.
///
/// # Safety
///
/// A valid index.
#[inline]
pub(in crate::vm::raw) unsafe fn same(
    state: *mut lua_State,
    index: c_int,
    value: &ScriptValue,
) -> bool {
    // SAFETY: the index is valid; a vector has three components, and a string stays on the stack
    // while it is compared.
    unsafe {
        let kind = ffi::lua_type(state, index);
        match value {
            ScriptValue::Number(value) => {
                kind == ffi::LUA_TNUMBER
                    && ffi::lua_tonumber(state, index).to_bits() == value.to_bits()
            }
            ScriptValue::Bool(value) => {
                kind == ffi::LUA_TBOOLEAN && (ffi::lua_toboolean(state, index) != 0) == *value
            }
            ScriptValue::String(value) => text_bytes(state, index) == Some(value.as_bytes()),
            ScriptValue::Vector(value) => {
                kind == ffi::LUA_TVECTOR && {
                    let vector = ffi::lua_tovector(state, index);
                    let now = [*vector, *vector.add(1), *vector.add(2)];
                    now.map(f32::to_bits) == value.to_array().map(f32::to_bits)
                }
            }
            ScriptValue::Entity(value) => entity_at(state, index) == Some(*value),
            _ => false,
        }
    }
}
