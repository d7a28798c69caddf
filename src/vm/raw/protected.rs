//! Protected calls with little around them, for batches of runs.
//!
//! `Lua::exec_raw` costs more than a run. Here a C function that was made once per VM
//! ([`call_job`]) is called by `lua_pcall` with a pointer to what it should do.

use std::ffi::{c_int, c_void};

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use super::errors::caught::note_error;
use super::errors::outcome::{RunEnd, failed};
use super::memory::blocks;
use super::refs::Refs;
use super::run::Run;
use super::run::current::enter;
use crate::vm::program::Program;

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
) -> Option<RunEnd> {
    let job = (&raw mut job).cast::<c_void>();
    enter(run, || {
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: what may raise is below the protected call: there is room on the stack, and
            // pushing from the registry, or a light userdata, allocates nothing. The job lives
            // until the call has returned; then nothing of Lua runs, so `run` may be referenced.
            unsafe {
                if ffi::lua_checkstack(state, 8) == 0 {
                    return Some(RunEnd::OutOfMemory);
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
                    failed(state, status, program, &mut *run)
                });
                ffi::lua_settop(state, base);
                ended
            }
        })
    })
}
