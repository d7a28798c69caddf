//! [`run_callback`]: one run in a fresh environment, the file level first and then the callback.

use std::ffi::{CStr, c_int};

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use super::data::entity::push_entity;
use super::data::push::{push_table, push_value};
use super::data::read::StackReader;
use super::errors::outcome::{RunEnd, failed};
use super::file_level::{
    ENVIRONMENT, HANDLER, MAX_GLOBALS, globals_of, push_callback, run_file_level,
};
use super::handles::handed::write_back;
use super::memory::{blocks, exact};
use super::refs::Refs;
use super::run::Run;
use super::run::current::enter;
use super::stack::TOO_DEEP;
use crate::error::ScriptError;
use crate::vm::call::Call;
use crate::vm::program::Program;
use crate::vm::state_change::StateChange;

/// Runs the file level and one callback.
pub(in crate::vm) fn run_callback(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    main: &Function,
    call: Call<'_>,
    run: &mut Run<'_>,
) -> RunEnd {
    let mut ended = None;
    let out = &mut ended;
    let run_ptr = std::ptr::from_mut(run);
    let result = enter(run_ptr, || {
        // SAFETY: rule 1, with the main function at 1. `run_ptr` is live, and used between calls
        // into Lua only.
        unsafe {
            lua.exec_raw::<()>(main, |state| {
                *out = Some(execute(state, refs, program, call, run_ptr));
                ffi::lua_settop(state, 0);
            })
        }
    });
    match (result, ended) {
        (Ok(()), Some(ended)) => ended,
        (Err(mlua::Error::MemoryError(_)), _) => RunEnd::OutOfMemory,
        (Err(error), _) => {
            let error = ScriptError::Raised { message: error.to_string() };
            RunEnd::failed(error)
        }
        (Ok(()), None) => unreachable!("the body sets the outcome or does not return"),
    }
}

/// Runs the file level, then the callback, then reads the state.
///
/// # Safety
///
/// In a protected call, with nothing but the main function on the stack. `run` is live, and no
/// reference to it is in use while Lua runs.
unsafe fn execute(
    state: *mut lua_State,
    refs: &Refs,
    program: &Program,
    call: Call<'_>,
    run: *mut Run<'_>,
) -> RunEnd {
    const SELF: c_int = HANDLER + 1;
    let Call { callback, state: state_in, args, seed } = call;
    // SAFETY: in a protected call, with the room on the stack that is made here. `run` is
    // referenced between calls into Lua only, one statement at a time.
    unsafe {
        ffi::luaL_checkstack(state, 24 + args.len() as c_int, TOO_DEEP.as_ptr());
        if let Err(failed) = run_file_level(state, refs, program, run) {
            return failed;
        }
        if exact::end_of_file_level(state) && !(*run).deadline.has_passed() {
            (*run).deadline.begin_again();
        }

        let searches = program.is_unsearched(callback);
        let known = if searches { globals_of(state, ENVIRONMENT) } else { Vec::new() };

        (*run).start_with(seed);
        let entity = (*run).per_run.entity;
        push_entity(state, entity);
        ffi::lua_rawsetfield(state, ENVIRONMENT, c"entity".as_ptr());
        let steps = (*run).per_run.steps;
        push_table(state, state_in, 0);
        (*run).per_run.steps = steps;
        push_callback(state, ENVIRONMENT, callback);
        match ffi::lua_type(state, -1) {
            ffi::LUA_TFUNCTION => {}
            ffi::LUA_TNIL => return RunEnd::Missing,
            other => {
                let name = callback.name();
                let kind = CStr::from_ptr(ffi::lua_typename(state, other)).to_string_lossy();
                let message = format!("`{name}` must be a function, but it is a {kind}");
                let error = ScriptError::Raised { message };
                return RunEnd::failed(error);
            }
        }
        ffi::lua_pushvalue(state, SELF);
        for arg in args {
            push_value(state, arg, 0);
        }
        blocks::forget_blocks();
        let status = ffi::lua_pcall(state, args.len() as c_int + 1, 0, HANDLER);
        if status != ffi::LUA_OK {
            return failed(state, status, program, &mut *run);
        }

        if searches {
            let mut strays = globals_of(state, ENVIRONMENT);
            // If there are more than were compared, it is unknown which of them are new.
            strays.retain(|name| known.len() < MAX_GLOBALS && !known.contains(name));
            program.note_strays(callback, strays);
        }

        if let Err(error) = write_back(state, &mut *run) {
            return RunEnd::failed(error);
        }
        let reader = StackReader::new((*run).max_value_size, None, &mut (*run).deadline);
        match { reader }.table(state, SELF) {
            Ok(table) => RunEnd::Done(StateChange::Replaced(table.into())),
            Err(problem) => {
                let error = problem.into_error("self", (*run).max_value_size, "kept");
                RunEnd::failed(error)
            }
        }
    }
}
