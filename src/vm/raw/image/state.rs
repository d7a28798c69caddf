//! A state on its way into a run, and out of it.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::value::ScriptTable;
use crate::vm::StateChange;
use crate::vm::limits::Deadline;
use crate::vm::raw::data::problem::ReadProblem;
use crate::vm::raw::data::push::push_table;
use crate::vm::raw::data::read::StackReader;
use crate::vm::raw::handles::handed::write_back;
use crate::vm::raw::image::shapes::StateShape;
use crate::vm::raw::image::stack::BASE_END;
use crate::vm::raw::run::Run;

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
    shape: Option<&StateShape>,
    before: &ScriptTable,
) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match shape {
            Some(shape) => shape.push(state, BASE_END, before),
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
    shape: Option<&StateShape>,
    before: &ScriptTable,
    run: &mut Run<'_>,
) -> Result<StateChange, ScriptError> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if !run.per_run.handed.is_empty() {
            write_back(state, run)?;
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
#[inline]
unsafe fn read_state(
    state: *mut lua_State,
    index: c_int,
    before: &ScriptTable,
    budget: usize,
    deadline: &mut Deadline<'_>,
) -> Result<StateChange, ReadProblem> {
    // SAFETY: the caller keeps what this function asks for.
    let table = unsafe { StackReader::new(budget, None, deadline).table(state, index)? };
    let same = table.is_identical(before);
    Ok(if same { StateChange::Unchanged } else { StateChange::Replaced(table.into()) })
}
