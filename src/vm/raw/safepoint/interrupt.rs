//! What happens at a safepoint while the hook is installed.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::error::{ScriptError, Setting};
use crate::vm::raw::errors::raise_at_safepoint;
use crate::vm::raw::memory::exact;
use crate::vm::raw::numerals;
use crate::vm::raw::run::current::current_run;

/// Called at every safepoint while its [`Hook`] is installed.
///
/// # Safety
///
/// Luau calls it; `gc >= 0` are the collector's calls, which must not raise.
pub(in crate::vm::raw) unsafe extern "C-unwind" fn on_interrupt(state: *mut lua_State, gc: c_int) {
    // SAFETY: Luau asks.
    let look = unsafe { exact::look(state, gc) };
    if gc >= 0 {
        return;
    }
    let current = current_run();
    // SAFETY: as in `with_run`; the collector's calls are over, so it may raise.
    let Some(run) = (unsafe {
        numerals::look_at_registers(state);
        current.as_mut()
    }) else {
        return;
    };
    run.own.steps = run.own.steps.saturating_add(1);
    let passed = match look {
        exact::Look::Unmeasured => run.deadline.has_passed_at_safepoint(),
        // Then Luau is to ask again.
        exact::Look::Within => run.deadline.has_passed(),
        exact::Look::Over { limit, used } => {
            let error = ScriptError::OutOfMemory { limit, used, setting: Setting::RunMemoryLimit };
            // SAFETY: the caller keeps what this function asks for.
            unsafe { raise_at_safepoint(state, error) }
        }
    };
    if passed {
        let error = run.deadline.error();
        // SAFETY: the caller keeps what this function asks for.
        unsafe { raise_at_safepoint(state, error) }
    }
}
