//! [`run_session`]: the tasks of a session, a VM whose environment lasts.

pub(super) mod alone;
pub(super) mod coroutines;
pub(super) mod environment;
pub(super) mod paths;
pub(super) mod results;
pub(super) mod resume;

use std::ffi::{CStr, c_int};

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use super::data::problem::ReadProblemKind;
use super::data::push::{push_table, push_value};
use super::data::read::{StackReader, TableEntries};
use super::errors::outcome::RunStop;
use super::memory::blocks;
use super::numerals;
use super::protected::protected;
use super::refs::SessionRefs;
use super::run::Run;
use super::safepoint::safepoint;
use super::session::coroutines::push_coroutine;
use super::session::paths::{follow, is_callable};
use super::session::results::returned;
use super::session::resume::resume_coroutine;
use super::stack::TOO_DEEP;
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue, ScriptValues};
use crate::vm::call::Results;
use crate::vm::deadline::RunDeadline;
use crate::vm::outcome::Performed;

/// A task of a session.
#[derive(Clone, Copy, Debug)]
pub(in crate::vm) enum SessionTask<'t> {
    /// Runs the main function of a chunk.
    Chunk(&'t Function, Results),
    /// Calls the function at this path.
    Call(&'t str, &'t [ScriptValue], Results),
    /// Resumes the coroutine of this number.
    Resume(u64, &'t [ScriptValue]),
    /// Reads the value at this path.
    Get(&'t str),
    /// Writes the value at this path.
    Set(&'t str, &'t ScriptValue),
    /// Reads all globals that are data.
    State,
    /// Sets these globals.
    Restore(&'t ScriptTable),
}

/// Performs a task.
pub(in crate::vm) fn run_session(
    lua: &Lua,
    refs: &SessionRefs,
    task: SessionTask<'_>,
    run: &mut Run<'_>,
) -> Result<Performed, RunStop> {
    let main = match task {
        SessionTask::Chunk(main, _) => Some(main),
        _ => None,
    };
    protected(lua, main, run, |state, run| {
        // SAFETY: `protected` gives a state in a protected call, with the main function or nil
        // alone on the stack, and a live run.
        unsafe { perform(state, refs, task, run) }
    })
}

/// Performs a task: the main function or nil is at 1; the message handler comes to 2, and the
/// environment to 3.
///
/// # Safety
///
/// In a protected call, with the main function or nil alone on the stack. `run` is live, and no
/// reference to it is in use while Lua runs.
unsafe fn perform(
    state: *mut lua_State,
    refs: &SessionRefs,
    task: SessionTask<'_>,
    run: *mut Run<'_>,
) -> Result<Performed, RunStop> {
    const MAIN: c_int = 1;
    const HANDLER: c_int = 2;
    const ENVIRONMENT: c_int = 3;
    const RESULTS: c_int = 4;
    match task {
        SessionTask::Set(_, value) => numerals::check(value),
        SessionTask::Call(_, args, _) | SessionTask::Resume(_, args) => {
            args.iter().try_for_each(numerals::check)
        }
        SessionTask::Restore(globals) => numerals::check_table(globals),
        SessionTask::Chunk(..) | SessionTask::Get(_) | SessionTask::State => Ok(()),
    }?;
    // SAFETY: in a protected call, with the room that is made here; the registry's slots are those
    // of this VM. `run` is referenced between calls into Lua only, one statement at a time.
    unsafe {
        ffi::luaL_checkstack(state, 16, TOO_DEEP.as_ptr());
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.message_handler.into());
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.environment.into());
        let values = match task {
            SessionTask::Chunk(_, results) => {
                ffi::lua_pushvalue(state, ENVIRONMENT);
                ffi::lua_setfenv(state, MAIN);
                ffi::lua_pushvalue(state, MAIN);
                let status = ffi::lua_pcall(state, 0, results.count(), HANDLER);
                returned(state, status, RESULTS, run)?
            }
            SessionTask::Get(path) => {
                let status = follow(state, path, None);
                returned(state, status, RESULTS, run)?
            }
            SessionTask::Set(path, value) => {
                let status = follow(state, path, Some(value));
                returned(state, status, RESULTS, run)?
            }
            SessionTask::Call(path, args, results) => {
                let status = follow(state, path, None);
                if status != ffi::LUA_OK {
                    returned(state, status, RESULTS, run)?;
                }
                if !is_callable(state) {
                    let kind = ffi::lua_typename(state, ffi::lua_type(state, -1));
                    let got = CStr::from_ptr(kind).to_string_lossy();
                    let got = if got == "nil" { "nil".to_owned() } else { format!("a {got}") };
                    return Err(ScriptError::NotCallable { name: path.to_owned(), got }.into());
                }
                ffi::luaL_checkstack(state, args.len() as c_int + 4, TOO_DEEP.as_ptr());
                for arg in args {
                    push_value(state, arg, 0);
                }
                blocks::forget_blocks();
                let status = ffi::lua_pcall(state, args.len() as c_int, results.count(), HANDLER);
                returned(state, status, RESULTS, run)?
            }
            SessionTask::Resume(id, args) => {
                push_coroutine(state, refs, id);
                return resume_coroutine(state, id, args, run);
            }
            SessionTask::State => {
                let (limit, deadline) = ((*run).max_value_size, &mut (*run).deadline);
                let globals = globals_as_data(state, ENVIRONMENT, limit, deadline)?;
                ScriptValue::Table(globals).into()
            }
            SessionTask::Restore(globals) => {
                push_table(state, globals, 0);
                let table = ffi::lua_gettop(state);
                let mut next = ffi::lua_rawiter(state, table, 0);
                while next >= 0 {
                    safepoint(state);
                    ffi::lua_settable(state, ENVIRONMENT);
                    next = ffi::lua_rawiter(state, table, next);
                }
                ScriptValues::default()
            }
        };
        Ok(Performed { values, yielded: false })
    }
}

/// The globals that are data; all others are left out.
///
/// # Safety
///
/// In a protected call, with a table at the positive index.
unsafe fn globals_as_data(
    state: *mut lua_State,
    environment: c_int,
    limit: usize,
    deadline: &mut RunDeadline<'_>,
) -> Result<ScriptTable, ScriptError> {
    let mut globals = TableEntries::default();
    let mut reader = StackReader::new(limit, None, deadline);
    // SAFETY: in a protected call, with a table at the index and room for a key and its value.
    // Nothing assigns to it meanwhile.
    unsafe {
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        let mut next = ffi::lua_rawiter(state, environment, 0);
        while next >= 0 {
            let top = ffi::lua_gettop(state);
            let read = reader.entry(state, top, 0, &mut globals);
            ffi::lua_settop(state, top - 2);
            match read {
                Err(problem) if !matches!(problem.what, ReadProblemKind::NotData(_)) => {
                    return Err(problem.into_error("globals", limit, "kept"));
                }
                _ => {}
            }
            next = ffi::lua_rawiter(state, environment, next);
        }
    }
    Ok(globals.into_table())
}
