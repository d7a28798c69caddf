//! [`prepare`]: runs a file level for a single run. What it made is garbage afterwards.

use std::ffi::CStr;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::vm::callback::Callback;
use crate::vm::program::Program;
use crate::vm::raw::batch::base::{CALLBACK_AT, CallBase, ENTITY_NAME_AT};
use crate::vm::raw::errors::outcome::RunStop;
use crate::vm::raw::file_level::{
    ENVIRONMENT, HANDLER, MAX_GLOBALS, globals_of, push_callback, run_file_level,
};
use crate::vm::raw::memory::exact;
use crate::vm::raw::refs::Refs;
use crate::vm::raw::run::Run;

/// Runs the file level, and leaves the base of the call on the stack; or gives `None` if the script
/// does not define the callback.
///
/// # Safety
///
/// In a C function that Luau called, with nothing but the main function on the stack; 24 free
/// slots. `run` is live, and no reference to it is in use while Lua runs.
#[cold]
pub(in crate::vm::raw) unsafe fn prepare(
    state: *mut lua_State,
    refs: &Refs,
    (program, callback): (&Program, Callback),
    run: *mut Run<'_>,
) -> Result<Option<CallBase>, RunStop> {
    const { assert!(HANDLER == ENTITY_NAME_AT && CALLBACK_AT == HANDLER + 1) };
    // SAFETY: in a C function, with the main function alone on the stack, and free slots. `run` is
    // referenced between calls into Lua only, one statement at a time.
    unsafe {
        run_file_level(state, refs, program, run)?;
        if exact::end_of_file_level(state) && !(*run).deadline.has_passed() {
            (*run).deadline.begin_again();
        }
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.entity.into());
        ffi::lua_replace(state, ENTITY_NAME_AT);
        push_callback(state, ENVIRONMENT, callback);
        match ffi::lua_type(state, CALLBACK_AT) {
            ffi::LUA_TFUNCTION => Ok(Some(CallBase::of_fresh_environment())),
            ffi::LUA_TNIL => Ok(None),
            other => {
                let name = callback.name();
                let kind = CStr::from_ptr(ffi::lua_typename(state, other)).to_string_lossy();
                let message = format!("`{name}` must be a function, but it is a {kind}");
                // What ran so far was the file level.
                (*run).start_with(0);
                Err(ScriptError::Raised { message }.into())
            }
        }
    }
}

/// The globals that a file level defined, if it is to be told which ones the callback adds.
#[derive(Default)]
pub(in crate::vm::raw) struct StrayGlobals(Option<Vec<String>>);

impl StrayGlobals {
    /// # Safety
    ///
    /// In a C function that Luau called, with the base at the bottom of the stack; three free
    /// slots.
    pub(in crate::vm::raw) unsafe fn begin(
        state: *mut lua_State,
        program: &Program,
        callback: Callback,
    ) -> Self {
        // SAFETY: the environment is where the base has it, and there are free slots.
        Self(program.is_unsearched(callback).then(|| unsafe { globals_of(state, ENVIRONMENT) }))
    }

    /// Notes the globals that came since then.
    ///
    /// # Safety
    ///
    /// As [`StrayGlobals::begin`].
    pub(in crate::vm::raw) unsafe fn note(
        self,
        state: *mut lua_State,
        program: &Program,
        callback: Callback,
    ) {
        let Some(known) = self.0 else { return };
        // SAFETY: as in `begin`.
        let mut strays = unsafe { globals_of(state, ENVIRONMENT) };
        // If there are more than were compared, it is unknown which of them are new.
        strays.retain(|name| known.len() < MAX_GLOBALS && !known.contains(name));
        program.note_strays(callback, strays);
    }
}
