//! [`Stage`]: what lies on the stack below the calls of an image's functions.

use std::ffi::c_int;

use bevy::prelude::Entity;
use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::callback::Callback;
use crate::vm::raw::data::entity::push_entity;
use crate::vm::raw::image::Image;
use crate::vm::raw::image::shapes::MAX_FLAT;

/// What lies on the stack below the calls of an image's functions.
pub(in crate::vm::raw) struct Stage(());

const STAGE_ENVIRONMENT: c_int = 2;

const STAGE_NAME: c_int = 3;

pub(in crate::vm::raw) const STAGE_FUNCTION: c_int = 4;

/// A shape lies above.
pub(in crate::vm::raw) const STAGE_END: c_int = STAGE_FUNCTION;

/// Functions are called from here: whatever lies below, there is as much room on the stack for a script.
pub(in crate::vm::raw) const CALL_BASE: c_int = STAGE_END + 1 + MAX_FLAT as c_int;

impl Stage {
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
    /// As [`Stage::set_up`], with the stage below.
    #[inline]
    pub(in crate::vm::raw) unsafe fn turn_to(&self, state: *mut lua_State, entity: Entity) {
        // SAFETY: the caller keeps what this function asks for. The environment has the field, so setting it
        // allocates nothing and raises nothing.
        unsafe {
            ffi::lua_setreadonly(state, STAGE_ENVIRONMENT, 0);
            ffi::lua_pushvalue(state, STAGE_NAME);
            push_entity(state, entity);
            ffi::lua_rawset(state, STAGE_ENVIRONMENT);
            ffi::lua_setreadonly(state, STAGE_ENVIRONMENT, 1);
        }
    }
}
