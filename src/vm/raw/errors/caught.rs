//! Which errors count although a script caught them, and how they are seen.
//!
//! Two kinds of errors count:
//!
//! - *Memory was refused.* The allocator notes it (`memory::refusal`), so no text is trusted: the
//!   script may hide the error behind another, and Luau may replace it. A refusal counts only if an
//!   error follows: the collector can do without memory that it asks for to shrink something.
//! - *The script met a frozen table of an image.* Luau has no other sign of that than the text of
//!   the error, which always ends with [`READ_ONLY`]; what passes it on can only put something in
//!   front, as a coroutine does with its position. Luau's [`HANDLER_FAILED`] may stand for any
//!   error, so it counts as well. A script that raises such an error itself is run again on a file
//!   level of its own, without harm.
//!
//! Each error is seen by [`note_error`], once at least: by the guards when a script catches it
//! (`pcall`, `xpcall` and its handler, `coroutine.resume`), by the message handler of the protected
//! call around the run, by `protected_job` if that handler failed, and by a session that resumes a
//! coroutine.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::vm::raw::errors::traceback::script_line;
use crate::vm::raw::memory::refusal;
use crate::vm::raw::run::ErrorTrace;
use crate::vm::raw::run::current::with_run;
use crate::vm::raw::strings::text_bytes;

/// How Luau's error for a change of a frozen table ends.
const READ_ONLY: &[u8] = b"attempt to modify a readonly table";

/// What Luau says in place of an error when a handler fails.
const HANDLER_FAILED: &[u8] = b"error in error handling";

/// Looks at the error at a stack index before the script gets it: see the head of this file.
///
/// # Safety
///
/// In a protected call, with a valid index.
pub(in crate::vm::raw) unsafe fn note_error(state: *mut lua_State, index: c_int) {
    // SAFETY: the index is valid, and the string stays on the stack while its bytes are used;
    // reading the call stack raises nothing.
    unsafe {
        if refusal::memory_was_refused() {
            let _ = with_run("pcall", |run| {
                if !std::mem::replace(&mut run.per_run.out_of_memory, true) {
                    let (message, line, frames) =
                        (String::new(), script_line(state), String::new());
                    run.per_run.trace = Some(Box::new(ErrorTrace { message, line, frames }));
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
            run.touch_image(|| {
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
