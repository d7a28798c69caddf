//! [`ImageStack`]: what lies on the stack below the calls of an image's functions.
//!
//! From the bottom: the argument of the protected call, the environment, the string `entity`, the
//! callback, and then a shape (its template and its keys). Room is kept for the largest shape, so
//! that a script has as much of the stack as any other.

use std::ffi::c_int;

use bevy::prelude::Entity;
use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::callback::Callback;
use crate::vm::raw::data::entity::push_entity;
use crate::vm::raw::image::Image;
use crate::vm::raw::image::shapes::MAX_FLAT;
use crate::vm::raw::stack::StackCheck;

/// Shows that the base was pushed.
pub(in crate::vm::raw) struct ImageStack(());

const ENVIRONMENT_AT: c_int = 2;

const ENTITY_NAME_AT: c_int = 3;

pub(in crate::vm::raw) const CALLBACK_AT: c_int = 4;

/// A shape lies above.
pub(in crate::vm::raw) const BASE_END: c_int = CALLBACK_AT;

/// Functions are called from here.
pub(in crate::vm::raw) const CALL_BASE: c_int = BASE_END + 1 + MAX_FLAT as c_int;

impl ImageStack {
    /// Pushes what all runs of a callback need.
    ///
    /// # Safety
    ///
    /// In a C function that Luau called with one argument; three free slots. The image is of this
    /// VM, and has the callback.
    #[inline]
    pub(in crate::vm::raw) unsafe fn set_up(
        state: *mut lua_State,
        image: &Image,
        callback: Callback,
        entity_name: c_int,
    ) -> Self {
        // SAFETY: there are three free slots, and this VM filled the registry's.
        unsafe {
            let check = StackCheck::begin(state);
            for slot in [image.environment, entity_name, image.callbacks[callback as usize]] {
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
            }
            check.end(state, 3);
        }
        Self(())
    }

    /// Makes `entity` the one that the image's functions find under that name.
    ///
    /// # Safety
    ///
    /// As [`ImageStack::set_up`], which left the base at the bottom of the stack; two free slots.
    #[inline]
    pub(in crate::vm::raw) unsafe fn turn_to(&self, state: *mut lua_State, entity: Entity) {
        // SAFETY: the environment and the name are where `set_up` put them. The environment has the
        // field already, so setting it allocates nothing and raises nothing.
        unsafe {
            let check = StackCheck::begin(state);
            ffi::lua_setreadonly(state, ENVIRONMENT_AT, 0);
            ffi::lua_pushvalue(state, ENTITY_NAME_AT);
            push_entity(state, entity);
            ffi::lua_rawset(state, ENVIRONMENT_AT);
            ffi::lua_setreadonly(state, ENVIRONMENT_AT, 1);
            check.end(state, 0);
        }
    }
}
