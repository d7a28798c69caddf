//! [`begin`]: the safepoint before work that may take long.
//!
//! # Safety
//!
//! What asks for nothing else asks for what this folder does: see `builtins`.

use std::ffi::{CStr, c_int};
use std::time::Duration;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::vm::cost::{self, STEP_NANOS};
use crate::vm::raw::builtins::values::{sum, text_length};
use crate::vm::raw::errors::raise;
use crate::vm::raw::run::current::with_run;
use crate::vm::raw::safepoint::safepoint;

/// The nanoseconds that it takes to read the strings among these arguments as numbers.
#[inline]
pub(in crate::vm::raw) unsafe fn reading(
    state: *mut lua_State,
    first: c_int,
    last: c_int,
) -> usize {
    // SAFETY: in a C function, as this folder asks.
    cost::READ.saturating_mul(unsafe { texts(state, first, last) })
}

/// The bytes of the strings among these arguments.
#[inline]
pub(in crate::vm::raw) unsafe fn texts(state: *mut lua_State, first: c_int, last: c_int) -> usize {
    // SAFETY: in a C function. The range is cut to the arguments that there are, unless it has less
    // than five positions.
    let last = if last - first < 4 { last } else { last.min(unsafe { ffi::lua_gettop(state) }) };
    // SAFETY: in a C function, so the few positions beyond the top are valid.
    sum((first..=last).map(|index| unsafe { text_length(state, index) }))
}

/// Of a function that takes numbers only.
#[inline]
pub(in crate::vm::raw) unsafe fn numbers(state: *mut lua_State) -> usize {
    // SAFETY: in a C function; `texts` cuts the range to the arguments.
    unsafe { reading(state, 1, c_int::MAX) }
}

/// A safepoint before work of so many nanoseconds. The work does not begin if the run has less time
/// left.
///
/// # Safety
///
/// In a C function that Luau called.
#[inline]
pub(in crate::vm::raw) unsafe fn begin(state: *mut lua_State, name: &CStr, nanos: usize) {
    // SAFETY: in a C function that Luau called, so an error may be raised.
    unsafe {
        safepoint(state);
        if nanos > cost::UNCOUNTED {
            let _ = with_run("a built-in", |run| {
                run.per_run.steps = run.per_run.steps.saturating_add(nanos as u64 / STEP_NANOS);
                Ok(())
            });
        }
        if nanos > cost::FREE {
            begin_long(state, name, Duration::from_nanos(nanos as u64));
        }
    }
}

#[cold]
unsafe fn begin_long(state: *mut lua_State, name: &CStr, work: Duration) {
    let ended = with_run("a built-in", |run| {
        let deadline = &mut run.deadline;
        let allowed = deadline.allows(work);
        Ok((allowed, (allowed && !deadline.begin_work(work)).then(|| deadline.error())))
    });
    // SAFETY: in a C function that Luau called, so an error may be raised; no reference to the run
    // is left.
    unsafe {
        match ended {
            Ok((_, Some(error))) => raise(state, error),
            Ok((false, None)) => raise_too_long(state, name, work),
            _ => {}
        }
    }
}

/// Raises the error for work that is too long for any run.
///
/// # Safety
///
/// In a C function that Luau called.
pub(in crate::vm::raw) unsafe fn raise_too_long(
    state: *mut lua_State,
    name: &CStr,
    work: Duration,
) -> ! {
    let name = name.to_string_lossy();
    let millis = work.as_millis();
    let time = if millis > 1_000_000 { "ages".to_owned() } else { format!("some {millis} ms") };
    let message = format!(
        "`{name}` with so much takes too long: {time}, for which a run does not have the time; do it in \
         parts, or raise `run_time_limit` in the pool's configuration"
    );
    // SAFETY: in a C function that Luau called.
    unsafe { raise(state, ScriptError::Raised { message }) }
}

/// A safepoint before a function reads its arguments up to this one as numbers.
///
/// # Safety
///
/// In a C function that Luau called.
pub(in crate::vm::raw) unsafe fn begin_reading(state: *mut lua_State, name: &CStr, last: c_int) {
    // SAFETY: in a C function that Luau called.
    unsafe { begin(state, name, reading(state, 1, last)) }
}
