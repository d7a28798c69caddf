//! Reading what a script hands to the host. Handles to components are read as copies of their
//! values.
//!
//! Reading calls the host while the run is borrowed, which is allowed: see `run::current`. It
//! reaches no safepoint; the reader looks at the deadline itself.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::value::ScriptValue;
use crate::vm::raw::data::read::StackReader;
use crate::vm::raw::run::current::with_run;

/// Reads the value at a stack index.
///
/// # Safety
///
/// In a C function that Luau called; a valid positive index.
pub(in crate::vm::raw) unsafe fn hand_over(
    state: *mut lua_State,
    index: c_int,
    what: &str,
) -> Result<ScriptValue, ScriptError> {
    with_run(what, |run| {
        let limit = run.max_value_size;
        let mut reader = StackReader::new(limit, Some(&mut *run.host), &mut run.deadline);
        // SAFETY: in a protected call, with a positive index.
        let result = unsafe { reader.value(state, index) }
            .map_err(|problem| problem.into_error(what, limit, "handed over"));
        run.note_panic(&result);
        result
    })
}

/// Reads the arguments of a host function. Each may have as many bytes as a value may. All together
/// may have twice as many: a script can pass one value many times.
///
/// # Safety
///
/// In a C function that Luau called, with `count` arguments.
pub(in crate::vm::raw) unsafe fn hand_over_arguments(
    state: *mut lua_State,
    count: c_int,
    name: &str,
) -> Result<Vec<ScriptValue>, ScriptError> {
    with_run(name, |run| {
        let limit = run.max_value_size;
        let mut left = limit.saturating_mul(2);
        let mut args = Vec::with_capacity(count as usize);
        for position in 1..=count {
            let budget = limit.min(left);
            let mut reader = StackReader::new(budget, Some(&mut *run.host), &mut run.deadline);
            // SAFETY: in a protected call; `position` is that of an argument.
            let value = unsafe { reader.value(state, position) };
            let result = value.and_then(|value| reader.look().map(|()| value));
            left -= budget - reader.budget;
            let result =
                result.map_err(|problem| match problem.into_error(name, limit, "handed over") {
                    ScriptError::NotData { place, what, purpose } => {
                        let within = place.strip_prefix(name).unwrap_or_default();
                        let place = format!("{name}: argument {position}{within}");
                        ScriptError::NotData { place, what, purpose }
                    }
                    error => error,
                });
            run.note_panic(&result);
            args.push(result?);
        }
        Ok(args)
    })
}
