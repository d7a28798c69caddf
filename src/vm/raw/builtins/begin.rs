//! The safepoint before work that takes long.

use std::ffi::{CStr, c_int};
use std::time::Duration;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::vm::raw::builtins::values::{sum, text_length};
use crate::vm::raw::errors::raise;
use crate::vm::raw::run::current::with_run;
use crate::vm::raw::safepoint::safepoint;
use crate::vm::{STEP_NANOS, cost};

/// What it costs to read the texts among these arguments as numbers.
#[inline]
pub(in crate::vm::raw) unsafe fn reading(
    state: *mut lua_State,
    first: c_int,
    last: c_int,
) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    cost::READ.saturating_mul(unsafe { texts(state, first, last) })
}

/// The bytes of the texts among these arguments.
#[inline]
pub(in crate::vm::raw) unsafe fn texts(state: *mut lua_State, first: c_int, last: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for. Where there are no arguments, there are no texts.
    let last = if last - first < 4 { last } else { last.min(unsafe { ffi::lua_gettop(state) }) };
    // SAFETY: the caller keeps what this function asks for.
    sum((first..=last).map(|index| unsafe { text_length(state, index) }))
}

/// Of a function that takes nothing but numbers.
#[inline]
pub(in crate::vm::raw) unsafe fn numbers(state: *mut lua_State) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { reading(state, 1, c_int::MAX) }
}

/// A safepoint before work that takes so many nanoseconds, and that does not begin if the run has no
/// time left for it.
///
/// # Safety
///
/// Inside a C function that Luau called.
#[inline]
pub(in crate::vm::raw) unsafe fn begin(state: *mut lua_State, name: &CStr, nanos: usize) {
    // SAFETY: the caller keeps what this function asks for.
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
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ended {
            Ok((_, Some(error))) => raise(state, error),
            Ok((false, None)) => raise_too_long(state, name, work),
            _ => {}
        }
    }
}

/// Raises for what the run never has time for, however little it did before.
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
    // SAFETY: the caller keeps what this function asks for.
    unsafe { raise(state, ScriptError::Raised { message }) }
}

/// A safepoint before a function reads its arguments up to this one as numbers.
pub(in crate::vm::raw) unsafe fn begin_reading(state: *mut lua_State, name: &CStr, last: c_int) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { begin(state, name, reading(state, 1, last)) }
}
