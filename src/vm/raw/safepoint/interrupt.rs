//! What happens at a safepoint while the hook is installed: steps are counted, memory is measured,
//! and the run is ended if it must be.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::error::{ScriptError, Setting};
use crate::vm::raw::errors::raise_at_safepoint;
use crate::vm::raw::memory::exact;
use crate::vm::raw::numerals;
use crate::vm::raw::run::current::current_run;

/// Luau calls it at every safepoint while a [`Hook`](super::Hook) is installed.
///
/// # Safety
///
/// Luau calls it. With `gc >= 0` the collector does, in the middle of its work: then nothing may be
/// raised, and the run is not touched.
pub(in crate::vm::raw) unsafe extern "C-unwind" fn on_interrupt(state: *mut lua_State, gc: c_int) {
    // SAFETY: Luau called, with these arguments.
    let look = unsafe { exact::look(state, gc) };
    if gc >= 0 {
        return;
    }
    let current = current_run();
    // SAFETY: `gc < 0`, so this is a safepoint that may raise. The pointer is null or that of a
    // live run, as in `with_run`, and no other reference to it exists: see `run::current`.
    let Some(run) = (unsafe {
        numerals::look_at_registers(state);
        current.as_mut()
    }) else {
        return;
    };
    run.per_run.steps = run.per_run.steps.saturating_add(1);
    let passed = match look {
        exact::MemoryLook::Unmeasured => run.deadline.has_passed_at_safepoint(),
        // Looked up each time, since Luau must go on asking.
        exact::MemoryLook::Within => run.deadline.has_passed(),
        exact::MemoryLook::Over { limit, used } => {
            let error = ScriptError::OutOfMemory { limit, used, setting: Setting::RunMemoryLimit };
            // SAFETY: a safepoint that may raise, since `gc < 0`.
            unsafe { raise_at_safepoint(state, error) }
        }
    };
    if passed {
        let error = run.deadline.error();
        // SAFETY: a safepoint that may raise, since `gc < 0`.
        unsafe { raise_at_safepoint(state, error) }
    }
}
