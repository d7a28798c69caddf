//! Protected calls that do a job of ours.

use std::ffi::{c_int, c_void};

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

use super::errors::caught::note_error;
use super::errors::outcome::{Ended, failed};
use super::memory::blocks;
use super::refs::Refs;
use super::run::Run;
use super::run::current::enter;
use crate::vm::program::Program;

/// What [`call_job`] is to do.
pub(super) struct Job {
    /// Gets `data`.
    pub(super) perform: unsafe fn(*mut lua_State, *mut c_void),
    pub(super) data: *mut c_void,
}

/// Does a job that needs a protected call below it.
///
/// # Safety
///
/// `protected_job` calls it with a pointer to the job.
pub(super) unsafe extern "C-unwind" fn call_job(state: *mut lua_State) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let job = ffi::lua_tolightuserdata(state, 1).cast::<Job>();
        ((*job).perform)(state, (*job).data);
    }
    0
}

/// Does a job for a run on an image; gives what ended it, if an error did.
///
/// # Safety
///
/// `job.perform` may be called with `job.data`, inside a C function that Luau called. `run` is live, and not
/// otherwise referenced while Lua is on top of the stack.
pub(super) unsafe fn protected_job(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    mut job: Job,
    run: *mut Run<'_>,
) -> Option<Ended> {
    let job = (&raw mut job).cast::<c_void>();
    enter(run, || {
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: nothing here raises but what is below the protected call: the stack has room, and
            // pushing what is in the registry allocates nothing. The job lives until the call is over.
            unsafe {
                if ffi::lua_checkstack(state, 8) == 0 {
                    return Some(Ended::OutOfMemory);
                }
                let base = ffi::lua_gettop(state);
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.message_handler.into());
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.job.into());
                ffi::lua_pushlightuserdata(state, job);
                blocks::forget_blocks();
                let status = ffi::lua_pcall(state, 1, 0, base + 1);
                let ended = (status != ffi::LUA_OK).then(|| {
                    // The handler has noted what it got, unless it failed.
                    note_error(state, -1);
                    failed(state, status, program, &mut *run)
                });
                ffi::lua_settop(state, base);
                ended
            }
        })
    })
}
