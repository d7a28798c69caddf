//! Handles to components and their fields on the stack: tagged userdata.

pub(super) mod component;
pub(super) mod entity;
pub(super) mod handed;
pub(super) mod keys;
pub(super) mod own;

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use super::refs::OwnHandles;
use crate::error::ScriptError;
use crate::vm::host::{FieldId, FieldRef, Host};

/// The userdata tag of [`FieldRef`]s; mlua uses none.
pub(super) const FIELD_REF_TAG: c_int = 7;

/// The userdata tag of handles to spots of the own entity, whichever that is: a VM makes each once.
pub(super) const OWN_FIELD_TAG: c_int = 9;

/// What a script holds to get at the fields of a component.
#[derive(Clone, Copy)]
pub(super) enum ComponentHandle {
    FieldRef(FieldRef),
    /// A spot of the own entity.
    Own(FieldId),
}

impl ComponentHandle {
    pub(super) fn place(self, host: &dyn Host) -> FieldRef {
        match self {
            Self::FieldRef(place) => place,
            Self::Own(spot) => host.own_place(spot),
        }
    }
}

/// # Safety
///
/// A valid index.
#[inline]
pub(super) unsafe fn handle_at(
    state: *mut lua_State,
    index: c_int,
) -> Result<ComponentHandle, ScriptError> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if let Some(spot) = own_field_at(state, index) {
            return Ok(ComponentHandle::Own(spot));
        }
        let place = ffi::lua_touserdatatagged(state, index, FIELD_REF_TAG).cast::<FieldRef>();
        if place.is_null() {
            return Err(ScriptError::Raised { message: "not a component".to_owned() });
        }
        // The tag is set by `push_field_ref` alone, which wrote a `FieldRef`.
        Ok(ComponentHandle::FieldRef(place.read_unaligned()))
    }
}

/// The spot of the own entity that the handle at a stack index is for.
///
/// # Safety
///
/// A valid index.
#[inline]
pub(super) unsafe fn own_field_at(state: *mut lua_State, index: c_int) -> Option<FieldId> {
    // SAFETY: the caller keeps what this function asks for; the tag is set by `push_own_field` alone, which
    // wrote a number.
    unsafe {
        let spot = ffi::lua_touserdatatagged(state, index, OWN_FIELD_TAG).cast::<FieldId>();
        if spot.is_null() { None } else { Some(spot.read_unaligned()) }
    }
}

/// Pushes the handle to a spot of the own entity.
///
/// # Safety
///
/// Inside a C function that Luau called with few arguments: two free slots.
#[inline]
pub(super) unsafe fn push_own_field(state: *mut lua_State, own: &OwnHandles, spot: FieldId) {
    let place = spot as usize;
    let known = own.0.borrow().get(place).copied().unwrap_or(0);
    // SAFETY: the caller keeps what this function asks for; a handle is a number without a destructor.
    unsafe {
        if known != 0 {
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, known.into());
            return;
        }
        let memory =
            ffi::lua_newuserdatataggedwithmetatable(state, size_of::<FieldId>(), OWN_FIELD_TAG);
        memory.cast::<FieldId>().write_unaligned(spot);
        let slot = ffi::lua_ref(state, -1);
        let mut slots = own.0.borrow_mut();
        let end = slots.len().max(place + 1);
        slots.resize(end, 0);
        slots[place] = slot;
    }
}

/// # Safety
///
/// Inside a protected call; one free slot.
#[inline]
pub(super) unsafe fn push_field_ref(state: *mut lua_State, place: FieldRef) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let size = size_of::<FieldRef>();
        let memory = ffi::lua_newuserdatataggedwithmetatable(state, size, FIELD_REF_TAG);
        // A `FieldRef` is plain data without a destructor.
        memory.cast::<FieldRef>().write_unaligned(place);
    }
}
