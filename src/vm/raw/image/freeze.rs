//! Freezing what a file level made.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::limits::Deadline;
use crate::vm::program::{Callback, Mutable, Program};
use crate::vm::raw::file_level::{ENVIRONMENT, push_callback};
use crate::vm::raw::image::reachable::reachable;
use crate::vm::raw::image::texts::ImageTexts;
use crate::vm::raw::image::{Image, MISSING, WRONG};
use crate::vm::raw::refs::Refs;

/// Freezes the environment and everything that can be reached from it; if something there can't be frozen,
/// tells what.
///
/// # Invariant
///
/// Nothing that can be reached from an image is ever assigned by a run. What can be reached is looked at here,
/// all of it, by way of keys, values, metatables and upvalues; and it is
///
/// - values that never change, and what all scripts share, which was frozen with the VM;
/// - tables, which are frozen. Luau remembers where a list ended when its length was asked for last, also of a
///   frozen one. `#` gives the same with and without that, and `table.clone`, which copies it, asks for the
///   length first;
/// - closures of the script. The variables that they hold are values in cells, which `SETUPVAL` alone assigns
///   from now on, since the frames whose locals they were have returned: the file level has, and a coroutine
///   that hasn't is out of reach. Let a run execute `SETUPVAL` on a cell of the image. The closure that does
///   it is either part of the image, or was made in the run by one that handed the cell on to it, and so on
///   back to one that is part of the image. Of that one [`Program::check_closure`] says that it may assign
///   the cell, by the bytecode alone, and so it is refused here.
///
/// All else is refused: a buffer can be written to, a coroutine goes on and holds locals, userdata is not
/// ours, a function in C (`string.gmatch` and `coroutine.wrap` make such) may count in its upvalues.
/// The environment's `entity` is assigned between runs, by us.
///
/// # Safety
///
/// After `run_file_level`, with room for some values.
pub(in crate::vm::raw) unsafe fn freeze(
    state: *mut lua_State,
    refs: &Refs,
    program: &Program,
    deadline: &mut Deadline<'_>,
) -> Result<Image, Mutable> {
    // What takes too long to look at is made anew each time instead.
    let mut late = || deadline.has_passed();
    let mut why = None;
    // SAFETY: the caller keeps what this function asks for.
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
        // Only now, since a file level that is not accepted is run again as it is.
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

/// Whether the object on top, of this kind, may be part of an image: see [`freeze`].
///
/// # Safety
///
/// Inside a protected call; two free slots.
unsafe fn may_be_shared(
    state: *mut lua_State,
    kind: c_int,
    program: &Program,
) -> Result<(), Mutable> {
    let refuse = |what| Err(Mutable::Values { what, line: None });
    // SAFETY: the caller keeps what this function asks for.
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
