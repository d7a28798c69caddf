//! The state of an entity, pushed before a run and read after it.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::value::ScriptTable;
use crate::vm::deadline::RunDeadline;
use crate::vm::raw::batch::base::BASE_END;
use crate::vm::raw::data::problem::ReadProblem;
use crate::vm::raw::data::push::push_table;
use crate::vm::raw::data::read::StackReader;
use crate::vm::raw::handles::handed::write_back;
use crate::vm::raw::image::shapes::StateShape;
use crate::vm::raw::run::Run;
use crate::vm::state_change::StateChange;

/// Pushes a state. If it has a shape, that is laid out at the base.
///
/// How many steps this takes depends on whether the shape is known, and so on earlier runs. So they
/// don't count.
///
/// # Safety
///
/// In a C function that Luau called; four free slots.
#[inline]
pub(in crate::vm::raw) unsafe fn push_state(
    state: *mut lua_State,
    shape: Option<&StateShape>,
    before: &ScriptTable,
) {
    // SAFETY: in a C function, with four free slots; the shape is laid out above `BASE_END`.
    unsafe {
        match shape {
            Some(shape) => shape.push(state, BASE_END, before),
            None => push_table(state, before, 0),
        }
    }
}

/// Reads the state that a run left.
///
/// # Safety
///
/// In a C function that Luau called, with a table at the positive index, which is the top.
#[inline(always)]
pub(in crate::vm::raw) unsafe fn take_state(
    state: *mut lua_State,
    index: c_int,
    shape: Option<&StateShape>,
    before: &ScriptTable,
    run: &mut Run<'_>,
) -> Result<StateChange, ScriptError> {
    // SAFETY: in a C function, with the table on top. Nothing here reaches a safepoint, so the run
    // may be referenced.
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

/// Reads a state as a whole.
///
/// # Safety
///
/// In a protected call, with a table at the positive index.
#[inline]
unsafe fn read_state(
    state: *mut lua_State,
    index: c_int,
    before: &ScriptTable,
    budget: usize,
    deadline: &mut RunDeadline<'_>,
) -> Result<StateChange, ReadProblem> {
    // SAFETY: in a protected call, with a table at the positive index.
    let table = unsafe { StackReader::new(budget, None, deadline).table(state, index)? };
    let same = table.is_identical(before);
    Ok(if same { StateChange::Unchanged } else { StateChange::Replaced(table.into()) })
}
