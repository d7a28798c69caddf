//! Handles to components and their fields on the stack: tagged userdata.
//!
//! There are two kinds, which scripts can't tell apart. A [`FieldRef`] names the entity. A
//! [`FieldId`] stands for a field of the own entity, whichever that is, so a VM makes each of those
//! once and keeps it in its registry.
//!
//! A tag is set by one function here, which wrote a value of one type, plain data without a
//! destructor. So whatever has the tag can be read as that type.

pub(super) mod component;
pub(super) mod entity;
pub(super) mod handed;
pub(super) mod keys;
pub(super) mod own;

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use super::refs::OwnHandles;
use super::stack::StackCheck;
use crate::error::ScriptError;
use crate::vm::host::{FieldId, FieldRef, Host};

/// The userdata tag of [`FieldRef`]s; mlua uses none.
pub(super) const FIELD_REF_TAG: c_int = 7;

/// The userdata tag of [`FieldId`]s.
pub(super) const OWN_FIELD_TAG: c_int = 9;

/// What a script holds to reach the fields of a component.
#[derive(Clone, Copy)]
pub(super) enum ComponentHandle {
    FieldRef(FieldRef),
    /// A field of the own entity.
    Own(FieldId),
}

impl ComponentHandle {
    pub(super) fn field_ref(self, host: &dyn Host) -> FieldRef {
        match self {
            Self::FieldRef(field_ref) => field_ref,
            Self::Own(field) => host.own_place(field),
        }
    }
}

/// The handle at a stack index.
///
/// # Safety
///
/// A valid index.
#[inline]
pub(super) unsafe fn handle_at(
    state: *mut lua_State,
    index: c_int,
) -> Result<ComponentHandle, ScriptError> {
    // SAFETY: the index is valid.
    unsafe {
        if let Some(field) = own_field_at(state, index) {
            return Ok(ComponentHandle::Own(field));
        }
        let field_ref = ffi::lua_touserdatatagged(state, index, FIELD_REF_TAG).cast::<FieldRef>();
        if field_ref.is_null() {
            return Err(ScriptError::Raised { message: "not a component".to_owned() });
        }
        // `push_field_ref` wrote it: no other function sets this tag.
        Ok(ComponentHandle::FieldRef(field_ref.read_unaligned()))
    }
}

/// The field of the own entity that the handle at a stack index stands for.
///
/// # Safety
///
/// A valid index.
#[inline]
pub(super) unsafe fn own_field_at(state: *mut lua_State, index: c_int) -> Option<FieldId> {
    // SAFETY: the index is valid; `push_own_field` wrote the number, since no other function sets
    // this tag.
    unsafe {
        let field = ffi::lua_touserdatatagged(state, index, OWN_FIELD_TAG).cast::<FieldId>();
        if field.is_null() { None } else { Some(field.read_unaligned()) }
    }
}

/// Pushes the handle to a field of the own entity.
///
/// # Safety
///
/// In a protected call; two free slots.
#[inline]
pub(super) unsafe fn push_own_field(state: *mut lua_State, own: &OwnHandles, field: FieldId) {
    let number = field as usize;
    let known = own.0.borrow().get(number).copied().unwrap_or(0);
    // SAFETY: in a protected call; one slot for the handle, one that `lua_ref` uses. The memory has
    // the size of the number.
    unsafe {
        let check = StackCheck::begin(state);
        if known != 0 {
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, known.into());
            check.end(state, 1);
            return;
        }
        let memory =
            ffi::lua_newuserdatataggedwithmetatable(state, size_of::<FieldId>(), OWN_FIELD_TAG);
        memory.cast::<FieldId>().write_unaligned(field);
        let slot = ffi::lua_ref(state, -1);
        let mut slots = own.0.borrow_mut();
        let end = slots.len().max(number + 1);
        slots.resize(end, 0);
        slots[number] = slot;
        check.end(state, 1);
    }
}

/// Pushes the handle to a field of any entity.
///
/// # Safety
///
/// In a protected call; one free slot.
#[inline]
pub(super) unsafe fn push_field_ref(state: *mut lua_State, field_ref: FieldRef) {
    // SAFETY: in a protected call, with a free slot.
    unsafe {
        let size = size_of::<FieldRef>();
        let memory = ffi::lua_newuserdatataggedwithmetatable(state, size, FIELD_REF_TAG);
        // The memory has the size of a `FieldRef`.
        memory.cast::<FieldRef>().write_unaligned(field_ref);
    }
}
