//! A state on its way into a run, and out of it.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::value::ScriptTable;
use crate::vm::deadline::RunDeadline;
use crate::vm::raw::data::problem::Problem;
use crate::vm::raw::data::push::push_table;
use crate::vm::raw::data::read::Reader;
use crate::vm::raw::handles::handed::flush;
use crate::vm::raw::image::shapes::Shape;
use crate::vm::raw::image::stage::STAGE_END;
use crate::vm::raw::run::Run;
use crate::vm::state_change::StateChange;

/// Pushes a state; its shape is laid out on the stage.
///
/// The steps of it depend on whether its shape is known, and so on what ran before: they don't count.
///
/// # Safety
///
/// Inside a protected call; four free slots.
#[inline]
pub(in crate::vm::raw) unsafe fn push_state(
    state: *mut lua_State,
    shape: Option<&Shape>,
    before: &ScriptTable,
) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match shape {
            Some(shape) => shape.push(state, STAGE_END, before),
            None => push_table(state, before, 0),
        }
    }
}

/// Reads what a run left as its state.
///
/// # Safety
///
/// Inside a C function that Luau called, with a table at the positive index.
#[inline]
pub(in crate::vm::raw) unsafe fn take_state(
    state: *mut lua_State,
    index: c_int,
    shape: Option<&Shape>,
    before: &ScriptTable,
    run: &mut Run<'_>,
) -> Result<StateChange, ScriptError> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if !run.own.handed.is_empty() {
            flush(state, run)?;
        }
        let (budget, deadline) = (run.max_value_size, &mut run.deadline);
        let quick = match shape {
            Some(shape) => shape.read(state, index, before, budget, deadline),
            None => Ok(None),
        };
        match quick {
            Ok(None) => read_state(state, index, before, budget, deadline),
            Ok(Some(change)) => Ok(change),
            Err(problem) => Err(problem),
        }
        .map_err(|problem| problem.into_error("self", budget, "kept"))
    }
}

/// Reads what became of a state.
///
/// # Safety
///
/// Inside a protected call, with a table at the positive index.
unsafe fn read_state(
    state: *mut lua_State,
    index: c_int,
    before: &ScriptTable,
    budget: usize,
    deadline: &mut RunDeadline<'_>,
) -> Result<StateChange, Problem> {
    // SAFETY: the caller keeps what this function asks for.
    let table = unsafe { Reader::new(budget, None, deadline).table(state, index)? };
    let same = table.is_identical(before);
    Ok(if same { StateChange::Unchanged } else { StateChange::Replaced(table.into()) })
}
