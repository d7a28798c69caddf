//! The Lua stack, and the words that the safety comments of this folder use for it.
//!
//! - *In a protected call*: rule 1 holds, so a call that raises an error is allowed. A C function
//!   that Luau called is in one.
//! - *Free slots*: so many values can be pushed. Luau gives each C function 20 slots beyond its
//!   arguments (`LUA_MINSTACK`); whoever needs more asks `luaL_checkstack`.
//! - *A valid index*: a position that holds a value, or an upvalue. In a C function that Luau
//!   called, positions beyond the top are valid too, as far as there is room, and hold no value
//!   (`LUA_TNONE`).
//! - *A string lives* while a value on the stack, in the registry or in a reachable table refers to
//!   it. Luau's collector moves no objects.
//!
//! Functions that promise how many values they leave on the stack have that checked by a
//! [`StackCheck`] in debug builds. A Lua error unwinds past it unchecked: whoever catches the error
//! resets the stack.
//!
//! mlua's `lua_rawgeti` and `lua_rawseti` take 64 bits and hand Luau a C `int`; they panic if the
//! number is larger. So no integer above `c_int::MAX` may reach them: the registry's slots and the
//! positions in our own arrays are bounded by what they count, Luau refuses lists of more than 2^26
//! elements, and what has no such bound (the numbers of coroutines) is a key of type number, set by
//! `lua_rawset`.

use std::ffi::{CStr, c_int};

#[cfg(debug_assertions)]
use mlua::ffi;
use mlua::ffi::lua_State;

/// What Luau adds to the message `stack overflow`.
pub(super) const TOO_DEEP: &CStr = c"too many values";

/// Checks in debug builds how many values a function leaves on the stack.
#[must_use]
pub(super) struct StackCheck {
    #[cfg(debug_assertions)]
    top: c_int,
}

impl StackCheck {
    /// # Safety
    ///
    /// The state is alive.
    #[inline(always)]
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "nothing is checked"))]
    pub(super) unsafe fn begin(state: *mut lua_State) -> Self {
        Self {
            // SAFETY: the state is alive.
            #[cfg(debug_assertions)]
            top: unsafe { ffi::lua_gettop(state) },
        }
    }

    /// Panics in debug builds unless there are `more` values more than at the beginning.
    ///
    /// # Safety
    ///
    /// The state is that of [`StackCheck::begin`], and alive.
    #[inline(always)]
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "nothing is checked"))]
    pub(super) unsafe fn end(self, state: *mut lua_State, more: c_int) {
        // SAFETY: the state is alive.
        #[cfg(debug_assertions)]
        unsafe {
            assert_eq!(ffi::lua_gettop(state), self.top + more, "values on the stack");
        }
    }
}
