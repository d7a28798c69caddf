//! [`resume_coroutine`]: resumes a coroutine of a session.

use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::value::ScriptValue;
use crate::vm::outcome::Performed;
use crate::vm::raw::data::push::push_value;
use crate::vm::raw::errors::caught::note_error;
use crate::vm::raw::errors::outcome::{ErrorSource, RunStop, failed};
use crate::vm::raw::errors::traceback::call_stack;
use crate::vm::raw::memory::blocks;
use crate::vm::raw::run::{ErrorTrace, Run};
use crate::vm::raw::session::coroutines::is_suspended;
use crate::vm::raw::session::results::returned;
use crate::vm::raw::stack::TOO_DEEP;
use crate::vm::raw::strings::{push_text, text_at};

/// Resumes the coroutine on top with `args`. If something else is on top, there is no such
/// coroutine.
///
/// # Safety
///
/// In a protected call, with the coroutine or any other value on top. `run` is live, and no
/// reference to it is in use while Lua runs.
pub(in crate::vm::raw) unsafe fn resume_coroutine(
    state: *mut lua_State,
    id: u64,
    args: &[ScriptValue],
    run: *mut Run<'_>,
) -> Result<Performed, RunStop> {
    // SAFETY: in a protected call. The coroutine stays on the stack of `state`, so it lives, and it
    // is suspended, so it may be resumed. What is moved lies on top of one stack, and there is room
    // for it on the other. The coroutine's own state is not asked for memory in a way that raises:
    // nothing would catch the error there. `run` is referenced between calls into Lua only.
    unsafe {
        let coroutine = ffi::lua_tothread(state, -1);
        if coroutine.is_null() || !is_suspended(state, coroutine) {
            return Err(ScriptError::NoCoroutine { id }.into());
        }
        let count = args.len() as c_int;
        ffi::luaL_checkstack(state, count.saturating_add(4), TOO_DEEP.as_ptr());
        if ffi::lua_checkstack(coroutine, count.saturating_add(4)) == 0 {
            ffi::luaL_checkstack(state, c_int::MAX, TOO_DEEP.as_ptr());
        }
        for arg in args {
            push_value(state, arg, 0);
        }
        ffi::lua_xmove(state, coroutine, count);
        let mut count = 0;
        blocks::forget_blocks();
        let status = ffi::lua_resume(coroutine, state, args.len() as c_int, &raw mut count);
        if status != ffi::LUA_OK && status != ffi::LUA_YIELD {
            ffi::lua_xmove(coroutine, state, 1);
            note_error(state, ffi::lua_gettop(state));
            push_text(state, -1);
            let message = text_at(state, -1).unwrap_or_default();
            let (line, frames) = call_stack(coroutine, 0);
            (*run).per_run.trace = Some(Box::new(ErrorTrace { message, line, frames }));
            return Err(failed(state, status, ErrorSource::Chunks, &mut *run));
        }
        ffi::luaL_checkstack(state, count.saturating_add(4), TOO_DEEP.as_ptr());
        ffi::lua_xmove(coroutine, state, count);
        let first = ffi::lua_gettop(state) - count + 1;
        let values = returned(state, ffi::LUA_OK, first, run)?;
        Ok(Performed { values, yielded: status == ffi::LUA_YIELD })
    }
}
