//! Host functions: the host knows each by a number.
//!
//! # Safety
//!
//! Luau calls the C functions here, with their arguments from 1 to the top.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use crate::error::ScriptError;
use crate::vm::raw::data::arguments::hand_over_arguments;
use crate::vm::raw::errors::traceback::caller_line;
use crate::vm::raw::functions::{numbered, upvalue_number};
use crate::vm::raw::handles::handed::write_back_current;
use crate::vm::raw::host::answer::{MAX_ARGUMENTS, answer_all};
use crate::vm::raw::run::current::with_host;
use crate::vm::raw::strings::text_at;

/// A function of the host, by its number.
pub(in crate::vm) fn host_function(lua: &Lua, number: u32, name: &str) -> mlua::Result<Function> {
    numbered(lua, number, name, call_host)
}

/// Calls a host function; its number and name are the upvalues.
unsafe extern "C-unwind" fn call_host(state: *mut lua_State) -> c_int {
    // SAFETY: `numbered` made the closure with two upvalues; the arguments lie from 1 to the top.
    unsafe {
        let number = upvalue_number(state);
        let result = write_back_current(state).and_then(|()| {
            let name = text_at(state, ffi::lua_upvalueindex(2)).unwrap_or_default();
            let count = ffi::lua_gettop(state);
            if count > MAX_ARGUMENTS {
                let message =
                    format!("{name}: {count} arguments; at most {MAX_ARGUMENTS} are taken");
                return Err(ScriptError::Host { message });
            }
            let args = hand_over_arguments(state, count, &name)?;
            with_host(&name, |host, random| {
                if host.wants_line() {
                    host.note_line(caller_line(state));
                }
                host.call(number, args, random)
            })
        });
        answer_all(state, result)
    }
}
