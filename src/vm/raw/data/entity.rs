//! Entities on the stack: light userdata.

use std::ffi::{c_int, c_void};

use bevy::prelude::Entity;
use mlua::ffi;
use mlua::ffi::lua_State;

/// The entity at a stack index; `None` for anything else and for the file level's stand-in.
///
/// # Safety
///
/// A valid index.
#[inline]
pub(in crate::vm::raw) unsafe fn entity_at(state: *mut lua_State, index: c_int) -> Option<Entity> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TLIGHTUSERDATA {
            return None;
        }
        Entity::try_from_bits(ffi::lua_tolightuserdata(state, index) as u64)
    }
}

/// # Safety
///
/// Inside a protected call; one free slot. Light userdata is as wide as an entity's bits on
/// the 64-bit targets that this crate builds for.
#[inline]
pub(in crate::vm::raw) unsafe fn push_entity(state: *mut lua_State, entity: Entity) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { ffi::lua_pushlightuserdata(state, entity.to_bits() as usize as *mut c_void) }
}
