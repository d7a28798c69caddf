//! Which errors count although a script caught them.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::vm::raw::errors::traceback::script_line;
use crate::vm::raw::memory::refusal;
use crate::vm::raw::run::Trace;
use crate::vm::raw::run::current::with_run;
use crate::vm::raw::strings::text_bytes;

/// What Luau says of an attempt to change a frozen table, in the end.
const READ_ONLY: &[u8] = b"attempt to modify a readonly table";

/// What Luau says in place of an error when a handler fails: it may stand for any.
const HANDLER_FAILED: &[u8] = b"error in error handling";

/// Looks at an error, at a stack index, before the script gets it first.
///
/// Notes that the run is out of memory if it was refused some: this may be that error, or what became of it.
/// Without an error it was the collector, which tried to make something smaller and can do without.
///
/// Notes that it met the difference between an image and a file level of its own, if the error may come of
/// that. Luau has no other sign of it than the text. It makes that text, always the same, and what passes it on can
/// put something in front alone: a coroutine puts its place there, each time. A script that raises such an
/// error itself is run again on a file level of its own, to no harm.
///
/// # Safety
///
/// A valid index, inside a C function that Luau called, or with a run's stack at hand.
pub(in crate::vm::raw) unsafe fn note_error(state: *mut lua_State, index: c_int) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if refusal::memory_was_refused() {
            let _ = with_run("pcall", |run| {
                if !std::mem::replace(&mut run.own.out_of_memory, true) {
                    let (message, line, frames) =
                        (String::new(), script_line(state), String::new());
                    run.own.trace = Some(Box::new(Trace { message, line, frames }));
                }
                Ok(())
            });
        }
        let Some(message) = text_bytes(state, index) else { return };
        let tells = message.ends_with(READ_ONLY) || message.ends_with(HANDLER_FAILED);
        if !tells {
            return;
        }
        let _ = with_run("pcall", |run| {
            run.touch(|| {
                let before = message.strip_suffix(READ_ONLY)?.strip_suffix(b": ");
                before.map_or_else(|| script_line(state), line_in_front)
            });
            Ok(())
        });
    }
}

/// The number at the end of `scripts/x.luau:12`.
fn line_in_front(place: &[u8]) -> Option<u32> {
    let digits = place.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&place[place.len() - digits..]).ok()?.parse().ok()
}
