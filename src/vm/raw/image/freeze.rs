//! Freezing what a file level made.
//!
//! # What an image guarantees
//!
//! No run assigns anything that can be reached from an image. All of it is looked at here, through
//! keys, values, metatables and upvalues. It consists of:
//!
//! - Values that never change, and objects that all scripts share, which were frozen with the VM.
//! - Tables, which are frozen. Luau remembers in a table, even a frozen one, where its list ended
//!   when its length was last asked for. `#` gives the same with and without that; `table.clone`
//!   would copy it, so it asks for the length first.
//! - Closures of the script, none of which can assign an upvalue of the image: *an image has no
//!   mutable upvalue*. The variables that closures hold are values in cells, and from now on only
//!   the instruction `SETUPVAL` assigns them: the functions whose locals they were have returned,
//!   as the file level has, and a suspended coroutine is not accepted. Say that a run executes
//!   `SETUPVAL` on a cell of the image. The closure that does so is part of the image, or was made
//!   in the run by one that passed the cell on, and so on, back to one that is part of the image.
//!   To find that one by the bytecode alone is what `vm/bytecode` must prove:
//!   [`Program::check_closure`] refuses a closure if its function, or a function that is made in it
//!   at any depth and captures the upvalue, assigns it.
//!
//! All else is refused: a buffer can be written to, a coroutine can be resumed and holds locals,
//! userdata is not ours, and a C function (`string.gmatch` and `coroutine.wrap` make such) may
//! count in its upvalues. One field is assigned, by us and between runs: `entity` in the
//! environment.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::callback::Callback;
use crate::vm::deadline::RunDeadline;
use crate::vm::mutable::Mutable;
use crate::vm::program::Program;
use crate::vm::raw::file_level::{ENVIRONMENT, push_callback};
use crate::vm::raw::image::reachable::reachable;
use crate::vm::raw::image::texts::ImageTexts;
use crate::vm::raw::image::{Image, MISSING, WRONG};
use crate::vm::raw::refs::Refs;

/// Freezes the environment and everything that can be reached from it. The error says what can't be
/// frozen.
///
/// # Safety
///
/// After `run_file_level`: in a protected call, with the environment at [`ENVIRONMENT`]; some free
/// slots.
pub(in crate::vm::raw) unsafe fn freeze(
    state: *mut lua_State,
    refs: &Refs,
    program: &Program,
    deadline: &mut RunDeadline<'_>,
) -> Result<Image, Mutable> {
    // What takes too long to look at is made anew for each run instead.
    let mut late = || deadline.has_passed();
    let mut why = None;
    // SAFETY: in a protected call, with the environment at its index. What `accept` and `meet_text`
    // do leaves the stack as it was.
    unsafe {
        let seen = reachable(
            state,
            ENVIRONMENT,
            &refs.shared,
            &mut |state, kind| {
                why = may_be_shared(state, kind, program).err();
                why.is_none()
            },
            &mut |_| {},
            &mut late,
        );
        if let Err(holder) = seen {
            let too_much = Mutable::Values { what: "more than can be looked at", line: None };
            return Err(match why.unwrap_or(too_much) {
                Mutable::Values { what, .. } => Mutable::Values { what, line: holder },
                why => why,
            });
        }
        let mut texts = ImageTexts::default();
        // Only now: if a file level is not accepted, runs use it as it is.
        let frozen = reachable(
            state,
            ENVIRONMENT,
            &refs.shared,
            &mut |state, kind| {
                if kind == ffi::LUA_TTABLE {
                    ffi::lua_setreadonly(state, -1, 1);
                }
                true
            },
            &mut |state| texts.add(state),
            &mut late,
        );
        if frozen.is_err() {
            return Err(Mutable::Values { what: "more than can be looked at", line: None });
        }
        let callbacks = [MISSING; Callback::COUNT];
        let mut image = Image { environment: 0, callbacks, texts: texts.list };
        for callback in Callback::ALL {
            push_callback(state, ENVIRONMENT, callback);
            image.callbacks[callback as usize] = match ffi::lua_type(state, -1) {
                ffi::LUA_TFUNCTION => ffi::lua_ref(state, -1),
                ffi::LUA_TNIL => MISSING,
                _ => WRONG,
            };
            ffi::lua_pop(state, 1);
        }
        ffi::lua_pushvalue(state, ENVIRONMENT);
        image.environment = ffi::lua_ref(state, -1);
        ffi::lua_pop(state, 1);
        Ok(image)
    }
}

/// Whether the object on top, of this type, may be part of an image.
///
/// # Safety
///
/// In a protected call, with the object on top; two free slots.
unsafe fn may_be_shared(
    state: *mut lua_State,
    kind: c_int,
    program: &Program,
) -> Result<(), Mutable> {
    let refuse = |what| Err(Mutable::Values { what, line: None });
    // SAFETY: the object is on top, and a negative level of `lua_getinfo` is a stack index; with
    // these letters it fills the record and raises nothing.
    unsafe {
        match kind {
            ffi::LUA_TTABLE => Ok(()),
            ffi::LUA_TFUNCTION if ffi::lua_iscfunction(state, -1) != 0 => refuse("an iterator"),
            ffi::LUA_TFUNCTION => {
                let mut record: ffi::lua_Debug = std::mem::zeroed();
                let known = ffi::lua_getinfo(state, -1, c"su".as_ptr(), &raw mut record) != 0;
                match u32::try_from(record.linedefined) {
                    Ok(defined) if known => program.check_closure(defined, record.nupvals),
                    _ => Err(Mutable::Variables { line: None }),
                }
            }
            ffi::LUA_TBUFFER => refuse("a buffer"),
            ffi::LUA_TTHREAD => refuse("a coroutine"),
            _ => refuse("a handle"),
        }
    }
}
