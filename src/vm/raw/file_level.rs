//! Running a file level in a fresh environment.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use super::errors::outcome::{RunEnd, failed};
use super::refs::Refs;
use super::run::Run;
use super::strings::text_at;
use crate::vm::program::{Callback, CallbackSet, Program};
use crate::vm::random::RunRandom;

/// The run's environment holds `_G`, `entity`, and what the script defines.
pub(super) const ENVIRONMENT_SLOTS: c_int = 8;

/// The most globals of a script that are told apart from stray ones.
pub(super) const MAX_GLOBALS: usize = 256;

/// Where things lie on the stack when a file level has run.
pub(super) const MAIN: c_int = 1;

pub(super) const ENVIRONMENT: c_int = 2;

pub(super) const HANDLER: c_int = 3;

/// Runs the file level in a fresh environment. Leaves the environment and the message handler on the
/// stack, at [`ENVIRONMENT`] and [`HANDLER`].
///
/// # Safety
///
/// As `execute`, with nothing but the main function on the stack and room for some values.
pub(super) unsafe fn run_file_level(
    state: *mut lua_State,
    refs: &Refs,
    program: &Program,
    run: *mut Run<'_>,
) -> Result<(), RunEnd> {
    // SAFETY: the caller keeps what this function asks for.
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
            _ => Err(failed(state, status, program, &mut *run)),
        };
        // One that is out of memory may run again with more.
        if let Some(lines) = lines
            && !matches!(ended, Err(RunEnd::OutOfMemory))
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

/// The seed that the file level of a script has: it depends on the script alone.
fn file_level_seed(name: &str) -> u64 {
    // FNV-1a, 64 bits.
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// # Safety
///
/// Inside a protected call; one free slot.
pub(super) unsafe fn push_callback(state: *mut lua_State, environment: c_int, callback: Callback) {
    let name = match callback {
        Callback::Stop => c"on_stop",
        Callback::Start => c"on_start",
        Callback::Reload => c"on_reload",
        Callback::Message => c"on_message",
        Callback::FixedUpdate => c"on_fixed_update",
        Callback::Update => c"on_update",
    };
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::lua_rawgetfield(state, environment, name.as_ptr());
    }
}

/// The names in an environment, sorted; at most [`MAX_GLOBALS`].
///
/// # Safety
///
/// Inside a protected call; three free slots.
pub(super) unsafe fn globals_of(state: *mut lua_State, environment: c_int) -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let mut next = ffi::lua_rawiter(state, environment, 0);
        while next >= 0 && names.len() < MAX_GLOBALS {
            names.extend(text_at(state, -2));
            ffi::lua_pop(state, 2);
            next = ffi::lua_rawiter(state, environment, next);
        }
        if next >= 0 {
            ffi::lua_pop(state, 2);
        }
    }
    names.sort();
    names
}
