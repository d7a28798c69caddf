//! The run of this thread: how C functions reach it.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mlua::ffi;

use crate::error::ScriptError;
use crate::vm::host::Host;
use crate::vm::random::RunRandom;
use crate::vm::raw::memory::{blocks, refusal};
use crate::vm::raw::run::Run;

thread_local! {
    static CURRENT: Cell<*mut c_void> = const { Cell::new(std::ptr::null_mut()) };
}

/// Makes `run` the run of this thread while `body` lasts.
pub(in crate::vm::raw) fn enter<R>(run: *mut Run<'_>, body: impl FnOnce() -> R) -> R {
    struct Restore {
        outer: *mut c_void,
        refused: bool,
        vm: *mut ffi::lua_Callbacks,
    }
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.outer);
            blocks::turn_to(self.vm);
            refusal::replace(self.refused);
        }
    }
    // SAFETY: no reference to the run is used meanwhile.
    let vm = unsafe { run.as_ref() }.map_or(std::ptr::null_mut(), |run| run.vm);
    let outer = CURRENT.replace(run.cast());
    let vm = blocks::turn_to(vm);
    blocks::forget_blocks();
    let _restore = Restore { outer, refused: refusal::replace(false), vm };
    body()
}

/// Calls `body` as if no run were on this thread: what it makes Luau do (loading a chunk reads its
/// imports) reaches no host, also when a host function of another VM is what called.
pub(in crate::vm) fn outside_run<R>(body: impl FnOnce() -> R) -> R {
    enter(std::ptr::null_mut(), body)
}

/// The run of this thread; null if there is none.
#[inline]
pub(in crate::vm::raw) fn current_run<'r>() -> *mut Run<'r> {
    CURRENT.get().cast()
}

/// Gives the run of this thread to `body`, or reports that there is none.
pub(in crate::vm::raw) fn with_run<R>(
    what: &str,
    body: impl FnOnce(&mut Run<'_>) -> Result<R, ScriptError>,
) -> Result<R, ScriptError> {
    let current = current_run();
    // SAFETY: `run_callback` passed `enter` a pointer to a live run, which `enter` takes back before
    // that borrow ends. `body` only reaches the host, which has no way back into this VM, so no second
    // reference to the same run exists meanwhile.
    match unsafe { current.as_mut() } {
        Some(run) => body(run),
        None => Err(ScriptError::NoRun { what: what.to_owned() }),
    }
}

/// Gives the host of this thread's run to `body`; a panic in it becomes an error that ends the run.
pub(in crate::vm::raw) fn with_host<R>(
    what: &str,
    body: impl FnOnce(&mut dyn Host, &mut RunRandom) -> Result<R, ScriptError>,
) -> Result<R, ScriptError> {
    with_run(what, |run| {
        if !run.in_callback {
            return Err(ScriptError::FileLevel { what: what.to_owned() });
        }
        let (host, random) = (&mut *run.host, &mut run.own.random);
        let result = guarded(what, || body(host, random));
        run.note(&result);
        result
    })
}

/// Turns a panic of the host into an error.
pub(in crate::vm::raw) fn guarded<R>(
    what: &str,
    body: impl FnOnce() -> Result<R, ScriptError>,
) -> Result<R, ScriptError> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(ScriptError::HostPanicked { function: what.to_owned(), message })
    })
}
