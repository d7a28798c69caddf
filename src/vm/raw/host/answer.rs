//! How a C function ends: with results, or with an error.
//!
//! # Safety
//!
//! The functions here ask for being in a C function that Luau called. They may raise, so the caller
//! holds no value that needs to be dropped, and no reference to the run.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::value::ScriptValues;
use crate::vm::host::ReadResult;
use crate::vm::raw::data::push::push_value;
use crate::vm::raw::errors::raise;
use crate::vm::raw::handles::handed::push_handed;
use crate::vm::raw::handles::push_field_ref;
use crate::vm::raw::numerals;
use crate::vm::raw::safepoint::safepoint;
use crate::vm::raw::stack::TOO_DEEP;

/// Ends a C function with one result, or an error.
pub(in crate::vm::raw) unsafe fn answer(
    state: *mut lua_State,
    result: Result<ReadResult, ScriptError>,
) -> c_int {
    // SAFETY: in a C function that Luau called, with room for what is made here.
    unsafe {
        safepoint(state);
        ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
        match result {
            Ok(ReadResult::Value(value)) => match numerals::check(&value) {
                Ok(()) => push_value(state, &value, 0),
                Err(error) => raise(state, error),
            },
            Ok(ReadResult::FieldRef(field_ref)) => push_field_ref(state, field_ref),
            Ok(ReadResult::Table(table, field_ref)) => match numerals::check_table(&table) {
                Ok(()) => push_handed(state, table, field_ref),
                Err(error) => raise(state, error),
            },
            Err(error) => raise(state, error),
        }
        1
    }
}

/// Ends a C function with these results, or an error.
pub(in crate::vm::raw) unsafe fn answer_all(
    state: *mut lua_State,
    result: Result<ScriptValues, ScriptError>,
) -> c_int {
    /// As many as [`MAX_ARGUMENTS`]: a Lua function can't return more.
    const MOST: usize = MAX_ARGUMENTS as usize;
    let result = result.and_then(|values| match values.len() {
        ..=MOST => values.iter().try_for_each(numerals::check).map(|()| values),
        count => {
            let message = format!("{count} results; at most {MOST} are given");
            Err(ScriptError::Host { message })
        }
    });
    // SAFETY: in a C function that Luau called, with room for all results and what pushing a table
    // needs.
    unsafe {
        safepoint(state);
        match result {
            Ok(values) => {
                let count = values.len() as c_int;
                ffi::luaL_checkstack(state, count.saturating_add(8), TOO_DEEP.as_ptr());
                for value in &values {
                    push_value(state, value, 0);
                }
                count
            }
            Err(error) => raise(state, error),
        }
    }
}

/// Ends a C function without a result, or with an error.
pub(in crate::vm::raw) unsafe fn answer_nothing(
    state: *mut lua_State,
    result: Result<(), ScriptError>,
) -> c_int {
    // SAFETY: in a C function that Luau called.
    unsafe { safepoint(state) };
    match result {
        Ok(()) => 0,
        // SAFETY: in a C function that Luau called.
        Err(error) => unsafe { raise(state, error) },
    }
}

/// The most arguments of a host function.
pub(in crate::vm::raw) const MAX_ARGUMENTS: c_int = 255;
