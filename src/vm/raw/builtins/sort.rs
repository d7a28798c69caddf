//! `table.sort`.
//!
//! # Safety
//!
//! What asks for nothing else asks for what this folder does: see `builtins`.

use std::ffi::c_int;
use std::time::Duration;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::cost;
use crate::vm::raw::builtins::begin::begin;
use crate::vm::raw::builtins::original::OriginalFunction;
use crate::vm::raw::builtins::values::{length, text_length};
use crate::vm::raw::functions::push_function;
use crate::vm::raw::run::Run;
use crate::vm::raw::run::current::with_run;
use crate::vm::raw::safepoint::safepoint;
use crate::vm::raw::stack::TOO_DEEP;

/// Up to so many elements a sort is native, unless they are long strings.
const SHORT_SORT: usize = 100;

/// Up to so many elements it is worth looking at them before sorting.
const LONG_SORT: usize = 50_000;

/// `table.sort(list, before)`
///
/// A sort that would take long without a safepoint gets a comparator that is one.
pub(in crate::vm::raw) unsafe fn sort(state: *mut lua_State, original: &OriginalFunction) -> c_int {
    // SAFETY: the arguments lie from 1 to the top, with room for two values more; a closure has the
    // upvalue that was pushed.
    unsafe {
        safepoint(state);
        let count = length(state, 1);
        if ffi::lua_type(state, 1) == ffi::LUA_TTABLE {
            ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
            match ffi::lua_type(state, 2) {
                ffi::LUA_TNIL | ffi::LUA_TNONE => {
                    if let Some(nanos) = native_sort(state, count) {
                        begin(state, c"sort", nanos);
                    } else {
                        // Each comparison is a step.
                        ffi::lua_settop(state, 1);
                        push_function(state, less_than);
                    }
                }
                ffi::LUA_TFUNCTION if count > SHORT_SORT && ffi::lua_iscfunction(state, 2) != 0 => {
                    ffi::lua_settop(state, 2);
                    ffi::lua_pushcclosurek(state, interruptible, c"sort".as_ptr(), 1, None);
                }
                _ => {}
            }
        }
        original.call(state)
    }
}

/// What a native sort of the list at 1 costs, if it is cheap enough. This depends on the list and
/// the limits alone.
///
/// # Safety
///
/// In a C function that Luau called, with a table at 1; one free slot.
unsafe fn native_sort(state: *mut lua_State, count: usize) -> Option<usize> {
    if count > LONG_SORT {
        return None;
    }
    let mut longest = 0;
    // SAFETY: a table is at 1, and a slot is free; positions are no larger than `LONG_SORT`.
    unsafe {
        begin(state, c"sort", 10 * count);
        for position in 1..=count as ffi::lua_Integer {
            ffi::lua_rawgeti(state, 1, position);
            let kind = ffi::lua_type(state, -1);
            longest = longest.max(text_length(state, -1));
            ffi::lua_pop(state, 1);
            if count > SHORT_SORT && kind != ffi::LUA_TNUMBER && kind != ffi::LUA_TSTRING {
                return None;
            }
        }
    }
    let nanos = cost::sort(count, longest);
    let work = Duration::from_nanos(nanos as u64);
    let affords = |run: &mut Run<'_>| Ok(run.deadline.affords_often(work));
    (nanos < cost::FREE || with_run("table.sort", affords) == Ok(true)).then_some(nanos)
}

/// `a < b`
unsafe extern "C-unwind" fn less_than(state: *mut lua_State) -> c_int {
    // SAFETY: `table.sort` calls it with two arguments.
    unsafe {
        safepoint(state);
        let less = ffi::lua_lessthan(state, 1, 2);
        ffi::lua_pushboolean(state, less);
        1
    }
}

/// A safepoint, then the comparator that is the upvalue.
unsafe extern "C-unwind" fn interruptible(state: *mut lua_State) -> c_int {
    // SAFETY: the arguments lie from 1 to the top, with room for one value more; the upvalue is a
    // function.
    unsafe {
        safepoint(state);
        ffi::luaL_checkstack(state, 1, TOO_DEEP.as_ptr());
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET);
        ffi::lua_gettop(state)
    }
}
