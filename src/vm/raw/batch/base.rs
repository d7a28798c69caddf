//! [`CallBase`]: what lies on the stack below the calls of a callback.
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
pub(in crate::vm::raw) struct CallBase {
    /// Whether the environment is read-only, as Luau has it.
    read_only: c_int,
}

pub(in crate::vm::raw) const ENVIRONMENT_AT: c_int = 2;

pub(in crate::vm::raw) const ENTITY_NAME_AT: c_int = 3;

pub(in crate::vm::raw) const CALLBACK_AT: c_int = 4;

/// A shape lies above.
pub(in crate::vm::raw) const BASE_END: c_int = CALLBACK_AT;

/// Functions are called from here.
pub(in crate::vm::raw) const CALL_BASE: c_int = BASE_END + 1 + MAX_FLAT as c_int;

impl CallBase {
    /// Pushes what all runs of an image's callback need.
    ///
    /// # Safety
    ///
    /// In a C function that Luau called with one argument; three free slots. The image is of this
    /// VM, and has the callback.
    #[inline]
    pub(in crate::vm::raw) unsafe fn of_image(
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
        Self { read_only: 1 }
    }

    /// The base is on the stack already, with an environment that may be written to.
    ///
    /// # Safety
    ///
    /// It is all of the stack.
    pub(in crate::vm::raw) unsafe fn of_fresh_environment() -> Self {
        Self { read_only: 0 }
    }

    /// Makes `entity` the one that the script's functions find under that name.
    ///
    /// # Safety
    ///
    /// In a C function that Luau called, with the base at the bottom of the stack; two free slots.
    #[inline]
    pub(in crate::vm::raw) unsafe fn turn_to(&self, state: *mut lua_State, entity: Entity) {
        // SAFETY: the environment and the name are where they were pushed. If the environment is an
        // image's, it has the field already, so setting it allocates nothing and raises nothing.
        unsafe {
            let check = StackCheck::begin(state);
            ffi::lua_setreadonly(state, ENVIRONMENT_AT, 0);
            ffi::lua_pushvalue(state, ENTITY_NAME_AT);
            push_entity(state, entity);
            ffi::lua_rawset(state, ENVIRONMENT_AT);
            ffi::lua_setreadonly(state, ENVIRONMENT_AT, self.read_only);
            check.end(state, 0);
        }
    }
}
