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
//! mlua's `lua_rawgeti` and `lua_rawseti` take 64 bits and hand Luau a C `int`; they panic if the
//! number is larger. So no integer above `c_int::MAX` may reach them: the registry's slots and the
//! positions in our own arrays are bounded by what they count, Luau refuses lists of more than 2^26
//! elements, and what has no such bound (the numbers of coroutines) is a key of type number, set by
//! `lua_rawset`.

use std::ffi::CStr;

/// What Luau adds to the message `stack overflow`.
pub(super) const TOO_DEEP: &CStr = c"too many values";
