//! Protected calls: [`protected`] for all that happens rarely, [`protected_job`] for batches.
//!
//! `Lua::exec_raw` costs more than a run. Here a C function that was made once per VM
//! ([`call_job`]) is called by `lua_pcall` with a pointer to what it should do.

use std::ffi::{c_int, c_void};

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use super::errors::caught::note_error;
use super::errors::outcome::{ErrorSource, RunStop, failed};
use super::memory::blocks;
use super::refs::Refs;
use super::run::Run;
use super::run::current::enter;
use crate::error::ScriptError;
use crate::vm::program::Program;

/// Calls `body` in a protected call, with `main` (or nil) alone on the stack, and `run` as the run
/// of this thread.
pub(super) fn protected<R>(
    lua: &Lua,
    main: Option<&Function>,
    run: &mut Run<'_>,
    body: impl FnOnce(*mut lua_State, *mut Run<'_>) -> Result<R, RunStop>,
) -> Result<R, RunStop> {
    let mut result = None;
    let out = &mut result;
    let run_ptr = std::ptr::from_mut(run);
    let called = enter(run_ptr, || {
        // SAFETY: rule 1. `run_ptr` is live, and used between calls into Lua only.
        unsafe {
            lua.exec_raw::<()>(main, |state| {
                *out = Some(body(state, run_ptr));
                ffi::lua_settop(state, 0);
            })
        }
    });
    match (called, result) {
        (Ok(()), Some(result)) => result,
        (Err(mlua::Error::MemoryError(_)), _) => Err(RunStop::OutOfMemory),
        (Err(error), _) => {
            let raised = run.per_run.raised.take();
            let raised =
                raised.map_or_else(|| ScriptError::Raised { message: error.to_string() }, |it| *it);
            Err(raised.into())
        }
        (Ok(()), None) => unreachable!("the body sets the result or does not return"),
    }
}

/// What [`call_job`] does.
pub(super) struct ProtectedJob {
    /// Gets `data`.
    pub(super) perform: unsafe fn(*mut lua_State, *mut c_void),
    pub(super) data: *mut c_void,
}

/// Performs a job.
///
/// # Safety
///
/// Called by `protected_job`, with a pointer to the job.
pub(super) unsafe extern "C-unwind" fn call_job(state: *mut lua_State) -> c_int {
    // SAFETY: `protected_job` keeps the job alive during the call, and whoever made the job
    // promised that `perform` may be called with `data` in a C function that Luau called.
    unsafe {
        let job = ffi::lua_tolightuserdata(state, 1).cast::<ProtectedJob>();
        ((*job).perform)(state, (*job).data);
    }
    0
}

/// Performs a job in a protected call, with `run` as the run of this thread. Gives what ended it,
/// if that was an error. A main function comes to the top of the stack, above one other value.
///
/// # Safety
///
/// `job.perform` may be called with `job.data` in a C function that Luau called. `run` is live, and
/// no reference to it is in use while Lua runs.
pub(super) unsafe fn protected_job(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    main: Option<&Function>,
    mut job: ProtectedJob,
    run: *mut Run<'_>,
) -> Option<RunStop> {
    let job = (&raw mut job).cast::<c_void>();
    enter(run, || {
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: what may raise is below the protected call: there is room on the stack, and
            // pushing from the registry, or a light userdata, allocates nothing. The job lives
            // until the call has returned; then nothing of Lua runs, so `run` may be referenced.
            unsafe {
                if ffi::lua_checkstack(state, 8) == 0 {
                    return Some(RunStop::OutOfMemory);
                }
                let base = ffi::lua_gettop(state);
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.message_handler.into());
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.job.into());
                ffi::lua_pushlightuserdata(state, job);
                if let Some(main) = main {
                    raw.push(main).expect("a function that is there can be pushed");
                }
                blocks::forget_blocks();
                let arguments = 1 + c_int::from(main.is_some());
                let status = ffi::lua_pcall(state, arguments, 0, base + 1);
                let ended = (status != ffi::LUA_OK).then(|| {
                    // The handler saw it, unless it failed itself.
                    note_error(state, -1);
                    failed(state, status, ErrorSource::Script(program.name()), &mut *run)
                });
                ffi::lua_settop(state, base);
                ended
            }
        })
    })
}
