//! [`make_image`]: runs a file level once, and freezes what it made.

use mlua::{Function, Lua, ffi};

use crate::error::ScriptError;
use crate::vm::mutable::Mutable;
use crate::vm::program::Program;
use crate::vm::raw::errors::outcome::RunEnd;
use crate::vm::raw::file_level::run_file_level;
use crate::vm::raw::image::Image;
use crate::vm::raw::image::freeze::freeze;
use crate::vm::raw::refs::Refs;
use crate::vm::raw::run::Run;
use crate::vm::raw::run::current::enter;
use crate::vm::raw::stack::TOO_DEEP;

/// The outcome of making an image.
pub(in crate::vm) enum Imaged {
    Made(Image),
    /// The file level can't be shared.
    Mutable(Mutable),
    /// The file level failed.
    Failed(RunEnd),
}

/// Looking at what a file level made, and freezing it, may take this many times as long as a run.
/// It is done once, and a script without an image pays in every run.
const FREEZING: u32 = 8;

/// Runs the file level of a program, and freezes what it made.
pub(in crate::vm) fn make_image(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    main: &Function,
    run: &mut Run<'_>,
) -> Imaged {
    let mut made = None;
    let out = &mut made;
    let run_ptr = std::ptr::from_mut(run);
    let result = enter(run_ptr, || {
        // SAFETY: rule 1, with the main function at 1. `run_ptr` is live, and used between calls
        // into Lua only. While objects are visited no safepoint is reached, so the deadline may be
        // referenced.
        unsafe {
            lua.exec_raw::<()>(main, |state| {
                ffi::luaL_checkstack(state, 24, TOO_DEEP.as_ptr());
                *out = Some(match run_file_level(state, refs, program, run_ptr) {
                    Err(ended) => Imaged::Failed(ended),
                    Ok(()) => {
                        let deadline = &mut (*run_ptr).deadline;
                        if !deadline.has_passed() {
                            deadline.continue_for_many(FREEZING);
                        }
                        match freeze(state, refs, program, deadline) {
                            Ok(image) => Imaged::Made(image),
                            Err(why) => Imaged::Mutable(why),
                        }
                    }
                });
                ffi::lua_settop(state, 0);
            })
        }
    });
    match (result, made) {
        (Ok(()), Some(made)) => made,
        (Err(mlua::Error::MemoryError(_)), _) => Imaged::Failed(RunEnd::OutOfMemory),
        (Err(error), _) => {
            let error = ScriptError::Raised { message: error.to_string() };
            Imaged::Failed(RunEnd::failed(error))
        }
        (Ok(()), None) => unreachable!("the body sets the outcome or does not return"),
    }
}
