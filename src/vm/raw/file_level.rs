//! [`run_file_level`]: runs the file level of a script in a fresh environment.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use super::errors::outcome::{ErrorSource, RunStop, failed};
use super::refs::Refs;
use super::run::Run;
use super::stack::StackCheck;
use super::strings::text_at;
use crate::vm::callback::{Callback, CallbackSet};
use crate::vm::program::Program;
use crate::vm::random::RunRandom;

/// The environment holds `_G`, `entity`, and what the script defines.
pub(super) const ENVIRONMENT_SLOTS: c_int = 8;

/// The most globals of a script that are compared to find stray ones.
pub(super) const MAX_GLOBALS: usize = 256;

/// Where things lie on the stack once a file level has run.
pub(super) const MAIN: c_int = 1;

pub(super) const ENVIRONMENT: c_int = 2;

pub(super) const HANDLER: c_int = 3;

/// Runs the file level. Leaves the environment at [`ENVIRONMENT`] and the message handler at
/// [`HANDLER`].
///
/// # Safety
///
/// In a protected call, with nothing but the main function on the stack; some free slots. `run` is
/// live, and no reference to it is in use while Lua runs.
pub(super) unsafe fn run_file_level(
    state: *mut lua_State,
    refs: &Refs,
    program: &Program,
    run: *mut Run<'_>,
) -> Result<(), RunStop> {
    // SAFETY: in a protected call, with the main function at `MAIN` and free slots. `run` is
    // referenced between calls into Lua only.
    unsafe {
        (*run).per_run.random = RunRandom::new(file_level_seed(program.name()));
        ffi::lua_createtable(state, 0, ENVIRONMENT_SLOTS);
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.environment_metatable.into());
        ffi::lua_setmetatable(state, ENVIRONMENT);
        ffi::lua_pushvalue(state, ENVIRONMENT);
        ffi::lua_rawsetfield(state, ENVIRONMENT, c"_G".as_ptr());
        ffi::lua_pushlightuserdata(state, std::ptr::null_mut());
        ffi::lua_rawsetfield(state, ENVIRONMENT, c"entity".as_ptr());
        ffi::lua_setsafeenv(state, ENVIRONMENT, 1);
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.message_handler.into());

        ffi::lua_clonefunction(state, MAIN);
        ffi::lua_pushvalue(state, ENVIRONMENT);
        ffi::lua_setfenv(state, -2);
        (*run).per_run.file_lines = program.wants_file_lines().then(Box::default);
        let status = ffi::lua_pcall(state, 0, 0, HANDLER);
        let lines = (*run).per_run.file_lines.take();
        let ended = match status {
            ffi::LUA_OK => Ok(()),
            _ => Err(failed(state, status, ErrorSource::Script(program.name()), &mut *run)),
        };
        // A run that is out of memory may be repeated with more.
        if let Some(lines) = lines
            && !matches!(ended, Err(RunStop::OutOfMemory))
        {
            program.learn_file_lines(lines.into_lines());
        }
        ended?;
        program.learn_callbacks(|| {
            let mut defined = CallbackSet::default();
            for callback in Callback::ALL {
                push_callback(state, ENVIRONMENT, callback);
                if ffi::lua_type(state, -1) != ffi::LUA_TNIL {
                    defined.insert(callback);
                }
                ffi::lua_pop(state, 1);
            }
            defined
        });
        Ok(())
    }
}

/// The seed of the random numbers of a file level. It depends on the script alone.
fn file_level_seed(name: &str) -> u64 {
    // FNV-1a, 64 bits.
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Pushes the global with the name of a callback.
///
/// # Safety
///
/// In a protected call, with a table at the index; one free slot.
pub(super) unsafe fn push_callback(state: *mut lua_State, environment: c_int, callback: Callback) {
    let name = match callback {
        Callback::Stop => c"on_stop",
        Callback::Start => c"on_start",
        Callback::Reload => c"on_reload",
        Callback::Message => c"on_message",
        Callback::FixedUpdate => c"on_fixed_update",
        Callback::Update => c"on_update",
    };
    // SAFETY: in a protected call, with a table at the index and a free slot.
    unsafe {
        ffi::lua_rawgetfield(state, environment, name.as_ptr());
    }
}

/// The names of the globals, sorted; at most [`MAX_GLOBALS`].
///
/// # Safety
///
/// In a protected call, with a table at the positive index; three free slots.
pub(super) unsafe fn globals_of(state: *mut lua_State, environment: c_int) -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: in a protected call, with a table at the index. Nothing assigns to it meanwhile. A
    // visit takes two slots.
    unsafe {
        let check = StackCheck::begin(state);
        let mut next = ffi::lua_rawiter(state, environment, 0);
        while next >= 0 && names.len() < MAX_GLOBALS {
            names.extend(text_at(state, -2));
            ffi::lua_pop(state, 2);
            next = ffi::lua_rawiter(state, environment, next);
        }
        if next >= 0 {
            ffi::lua_pop(state, 2);
        }
        check.end(state, 0);
    }
    names.sort();
    names
}
