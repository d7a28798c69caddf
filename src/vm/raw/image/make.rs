//! [`make_image`]: runs a file level once, and freezes what it made.

use mlua::{Function, Lua, ffi};

use crate::vm::mutable::Mutable;
use crate::vm::program::Program;
use crate::vm::raw::errors::outcome::RunStop;
use crate::vm::raw::file_level::run_file_level;
use crate::vm::raw::image::Image;
use crate::vm::raw::image::freeze::freeze;
use crate::vm::raw::protected::protected;
use crate::vm::raw::refs::Refs;
use crate::vm::raw::run::Run;
use crate::vm::raw::stack::TOO_DEEP;

/// Looking at what a file level made, and freezing it, may take this many times as long as a run.
/// It is done once, and a script without an image pays in every run.
const FREEZING: u32 = 8;

/// Runs the file level of a program, and freezes what it made; or gives why it can't be shared.
pub(in crate::vm) fn make_image(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    main: &Function,
    run: &mut Run<'_>,
) -> Result<Result<Image, Mutable>, RunStop> {
    protected(lua, Some(main), run, |state, run| {
        // SAFETY: `protected` gives a state in a protected call, with the main function at 1, and a
        // live run, which is used between calls into Lua only. While objects are visited no
        // safepoint is reached, so the deadline may be referenced.
        unsafe {
            ffi::luaL_checkstack(state, 24, TOO_DEEP.as_ptr());
            run_file_level(state, refs, program, run)?;
            let deadline = &mut (*run).deadline;
            if !deadline.has_passed() {
                deadline.continue_for_many(FREEZING);
            }
            Ok(freeze(state, refs, program, deadline))
        }
    })
}
