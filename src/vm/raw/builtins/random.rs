//! `math.random`, on the run's own generator.
//!
//! # Safety
//!
//! Luau calls the C functions here, with their arguments from 1 to the top.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use rand::Rng;

use crate::vm::raw::builtins::begin::begin_reading;
use crate::vm::raw::errors::raise;
use crate::vm::raw::run::current::with_run;

/// Makes the function.
pub(in crate::vm) fn random_function(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: rule 1; a closure without upvalues.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushcclosurek(state, random, c"random".as_ptr(), 0, None);
        })
    }
}

/// `math.random`, as Luau documents it.
unsafe extern "C-unwind" fn random(state: *mut lua_State) -> c_int {
    // SAFETY: the arguments lie from 1 to the top; `luaL_check…` raise if they are no numbers.
    unsafe {
        let count = ffi::lua_gettop(state);
        begin_reading(state, c"random", 2);
        let (low, high) = match count {
            0 => (0, 0),
            1 => (1, ffi::luaL_checknumber(state, 1) as i64),
            2 => {
                let low = ffi::luaL_checknumber(state, 1);
                (low as i64, ffi::luaL_checknumber(state, 2) as i64)
            }
            _ => ffi::luaL_error(state, c"wrong number of arguments".as_ptr()),
        };
        if low > high {
            ffi::luaL_argerror(state, count, c"interval is empty".as_ptr());
        }
        let bits = with_run("math.random", |run| Ok(run.per_run.random.next_u64()));
        let bits = match bits {
            Ok(bits) => bits,
            Err(error) => raise(state, error),
        };
        if count == 0 {
            // 53 random bits: every multiple of 2^-53 below 1, equally likely.
            ffi::lua_pushnumber(state, (bits >> 11) as f64 / (1_u64 << 53) as f64);
        } else {
            // Lemire's multiply-shift; the bias is the span times 2^-64.
            let span = u128::from(high.abs_diff(low)) + 1;
            let offset = ((u128::from(bits) * span) >> 64) as i64;
            ffi::lua_pushnumber(state, low.wrapping_add(offset) as f64);
        }
        1
    }
}
