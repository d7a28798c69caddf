//! [`returned`]: the results that a protected call left on the stack.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::RETURNED;
use crate::value::ScriptValues;
use crate::vm::raw::data::read::StackReader;
use crate::vm::raw::errors::outcome::{ErrorSource, RunStop, failed};
use crate::vm::raw::run::Run;
use crate::vm::raw::stack::TOO_DEEP;

/// Reads what a protected call left: its results from `first` to the top, or the error on top.
///
/// # Safety
///
/// In a protected call, with the results or the error of the call on top. `run` is live, and no
/// reference to it is in use.
pub(in crate::vm::raw) unsafe fn returned(
    state: *mut lua_State,
    status: c_int,
    first: c_int,
    run: *mut Run<'_>,
) -> Result<ScriptValues, RunStop> {
    // SAFETY: in a protected call; the results lie from `first` to the top. No Lua code runs here,
    // so `run` may be referenced.
    unsafe {
        if status != ffi::LUA_OK {
            return Err(failed(state, status, ErrorSource::Chunks, &mut *run));
        }
        let limit = (*run).max_value_size;
        ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
        let last = ffi::lua_gettop(state);
        let mut reader = StackReader::new(limit, None, &mut (*run).deadline);
        let mut values = ScriptValues::default();
        for index in first..=last {
            match reader.value(state, index) {
                Ok(value) => values.push(value),
                Err(problem) => {
                    let place = match last - first {
                        0 => "result".to_owned(),
                        _ => format!("result {}", index - first + 1),
                    };
                    return Err(problem.into_error(&place, limit, RETURNED).into());
                }
            }
        }
        Ok(values)
    }
}
