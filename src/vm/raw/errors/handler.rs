//! The message handler of the outer protected calls.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::vm::raw::errors::caught::note_error;
use crate::vm::raw::errors::traceback::call_stack;
use crate::vm::raw::run::Trace;
use crate::vm::raw::run::current::with_run;
use crate::vm::raw::strings::{push_text, text_at};

/// The handler of the outer protected calls: notes message, line and call stack.
///
/// # Safety
///
/// Luau calls it with the error at 1.
pub(in crate::vm::raw) unsafe extern "C-unwind" fn on_error(state: *mut lua_State) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        note_error(state, 1);
        // May run the error object's `__tostring`: the limits are still armed.
        push_text(state, 1);
        let message = text_at(state, -1).unwrap_or_default();
        let (line, frames) = call_stack(state, 1);
        let _ = with_run("error", |run| {
            run.own.trace = Some(Box::new(Trace { message, line, frames }));
            Ok(())
        });
        1
    }
}
