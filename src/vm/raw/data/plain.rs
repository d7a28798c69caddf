//! Plain data as a value of mlua.

use mlua::{Lua, ffi};

use crate::value::ScriptValue;
use crate::vm::raw::data::push::push_value;
use crate::vm::raw::stack::TOO_DEEP;

/// A value as Lua has it.
pub(in crate::vm) fn plain(lua: &Lua, value: &ScriptValue) -> mlua::Result<mlua::Value> {
    // SAFETY: rule 1, with room for the value and what pushing it needs.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            push_value(state, value, 0);
        })
    }
}
