//! Entities on the stack: light userdata, which hold the bits of the entity.
//!
//! Light userdata is as wide as those bits on 64-bit targets, the only ones that this crate builds
//! for. 0 are the bits of no entity: that value stands for `entity` at the file level.

use std::ffi::{c_int, c_void};

use bevy::prelude::Entity;
use mlua::ffi;
use mlua::ffi::lua_State;

/// The entity at a stack index; `None` for any other value.
///
/// # Safety
///
/// A valid index.
#[inline]
pub(in crate::vm::raw) unsafe fn entity_at(state: *mut lua_State, index: c_int) -> Option<Entity> {
    // SAFETY: the index is valid; the address is read as a number.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TLIGHTUSERDATA {
            return None;
        }
        Entity::try_from_bits(ffi::lua_tolightuserdata(state, index) as u64)
    }
}

/// Pushes an entity.
///
/// # Safety
///
/// In a protected call; one free slot.
#[inline]
pub(in crate::vm::raw) unsafe fn push_entity(state: *mut lua_State, entity: Entity) {
    // SAFETY: a slot is free. The pointer is never dereferenced.
    unsafe { ffi::lua_pushlightuserdata(state, entity.to_bits() as usize as *mut c_void) }
}
