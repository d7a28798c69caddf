//! [`ImageStack`]: what lies on the stack below the calls of an image's functions.

use std::ffi::c_int;

use bevy::prelude::Entity;
use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::program::Callback;
use crate::vm::raw::data::entity::push_entity;
use crate::vm::raw::image::Image;
use crate::vm::raw::image::shapes::MAX_FLAT;

/// What lies on the stack below the calls of an image's functions.
pub(in crate::vm::raw) struct ImageStack(());

const ENVIRONMENT_AT: c_int = 2;

const ENTITY_NAME_AT: c_int = 3;

pub(in crate::vm::raw) const CALLBACK_AT: c_int = 4;

/// A shape lies above.
pub(in crate::vm::raw) const BASE_END: c_int = CALLBACK_AT;

/// Functions are called from here: whatever lies below, there is as much room on the stack for a script.
pub(in crate::vm::raw) const CALL_BASE: c_int = BASE_END + 1 + MAX_FLAT as c_int;

impl ImageStack {
    /// Pushes what all runs of a callback need.
    ///
    /// # Safety
    ///
    /// Inside a C function that Luau called with one argument; some free slots. The image has the callback.
    #[inline]
    pub(in crate::vm::raw) unsafe fn set_up(
        state: *mut lua_State,
        image: &Image,
        callback: Callback,
        entity_name: c_int,
    ) -> Self {
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            for slot in [image.environment, entity_name, image.callbacks[callback as usize]] {
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
            }
        }
        Self(())
    }

    /// Makes an entity the one that the image's functions find as `entity`.
    ///
    /// # Safety
    ///
    /// As [`ImageStack::set_up`], with the stage below.
    #[inline]
    pub(in crate::vm::raw) unsafe fn turn_to(&self, state: *mut lua_State, entity: Entity) {
        // SAFETY: the caller keeps what this function asks for. The environment has the field, so setting it
        // allocates nothing and raises nothing.
        unsafe {
            ffi::lua_setreadonly(state, ENVIRONMENT_AT, 0);
            ffi::lua_pushvalue(state, ENTITY_NAME_AT);
            push_entity(state, entity);
            ffi::lua_rawset(state, ENVIRONMENT_AT);
            ffi::lua_setreadonly(state, ENVIRONMENT_AT, 1);
        }
    }
}
