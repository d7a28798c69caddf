//! Pushing plain data.
//!
//! Large tables are pushed with safepoints in between, so no reference to the run may exist
//! meanwhile. A list of the host has fewer than 2^26 elements when it is filled: for more, Luau
//! raises an error as soon as the table is made.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::value::{ScriptKey, ScriptTable, ScriptValue};
use crate::vm::raw::data::entity::push_entity;
use crate::vm::raw::errors::raise;
use crate::vm::raw::safepoint::safepoint;
use crate::vm::raw::stack::{StackCheck, TOO_DEEP};

/// Tables nested deeper than this are not plain data.
pub(in crate::vm::raw) const MAX_DEPTH: u32 = 32;

/// Values pushed between two safepoints.
const PUSHED: usize = 64;

/// Pushes a value.
///
/// # Safety
///
/// In a C function that Luau called, or in a protected call with a run; two free slots.
#[inline]
pub(in crate::vm::raw) unsafe fn push_value(
    state: *mut lua_State,
    value: &ScriptValue,
    depth: u32,
) {
    // SAFETY: in a protected call, with a free slot; the bytes of strings are copied.
    unsafe {
        match value {
            ScriptValue::Nil => ffi::lua_pushnil(state),
            ScriptValue::Bool(value) => ffi::lua_pushboolean(state, (*value).into()),
            ScriptValue::Number(value) => ffi::lua_pushnumber(state, *value),
            ScriptValue::String(value) => {
                ffi::lua_pushlstring(state, value.as_ptr().cast(), value.len());
            }
            ScriptValue::Bytes(value) => {
                ffi::lua_pushlstring(state, value.as_ptr().cast(), value.len());
            }
            ScriptValue::Vector(value) => {
                ffi::lua_pushvector(state, value.x, value.y, value.z);
            }
            ScriptValue::Entity(value) => push_entity(state, *value),
            ScriptValue::Table(value) => push_table(state, value, depth),
        }
    }
}

/// Pushes a table.
///
/// # Safety
///
/// As [`push_value`].
#[inline]
pub(in crate::vm::raw) unsafe fn push_table(
    state: *mut lua_State,
    table: &ScriptTable,
    depth: u32,
) {
    // SAFETY: in a protected call. The table takes one of the two slots; for keys and values, room
    // is made here.
    unsafe {
        if depth >= MAX_DEPTH {
            let message = format!("a value of the host is nested deeper than {MAX_DEPTH} levels");
            raise(state, ScriptError::Host { message });
        }
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        let check = StackCheck::begin(state);
        ffi::lua_createtable(state, table.array.len() as c_int, table.fields.len() as c_int);
        for (index, value) in table.array.iter().enumerate() {
            if index % PUSHED == PUSHED - 1 {
                safepoint(state);
            }
            push_value(state, value, depth + 1);
            ffi::lua_rawseti(state, -2, index as ffi::lua_Integer + 1);
        }
        for (number, (key, value)) in table.fields.iter().enumerate() {
            // Their hashes may have been chosen to collide.
            if number % PUSHED == PUSHED - 1 {
                safepoint(state);
            }
            match key {
                ScriptKey::Bool(key) => ffi::lua_pushboolean(state, (*key).into()),
                // NaN is no key in Lua. Tables that came from Lua have none; those of the host may.
                ScriptKey::Number(key) if key.is_nan() => continue,
                ScriptKey::Number(key) => ffi::lua_pushnumber(state, *key),
                ScriptKey::String(key) => {
                    ffi::lua_pushlstring(state, key.as_ptr().cast(), key.len());
                }
                ScriptKey::Entity(key) => push_entity(state, *key),
            }
            push_value(state, value, depth + 1);
            ffi::lua_rawset(state, -3);
        }
        check.end(state, 1);
    }
}
