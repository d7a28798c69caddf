//! The message handler of the protected calls around a run.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::vm::raw::errors::caught::note_error;
use crate::vm::raw::errors::traceback::call_stack;
use crate::vm::raw::run::ErrorTrace;
use crate::vm::raw::run::current::with_run;
use crate::vm::raw::strings::{push_text, text_at};

/// Notes message, line and call stack of the error that ends a run.
///
/// # Safety
///
/// Luau calls it with the error at 1.
pub(in crate::vm::raw) unsafe extern "C-unwind" fn on_error(state: *mut lua_State) -> c_int {
    // SAFETY: a C function that Luau called, with the error at 1 and free slots.
    unsafe {
        note_error(state, 1);
        // May run `__tostring` of the error object, so the limits are still in force.
        push_text(state, 1);
        let message = text_at(state, -1).unwrap_or_default();
        let (line, frames) = call_stack(state, 1);
        let _ = with_run("error", |run| {
            run.per_run.trace = Some(Box::new(ErrorTrace { message, line, frames }));
            Ok(())
        });
        1
    }
}
