//! The run of this thread, which is how C functions reach it.
//!
//! No `&mut Run` lives where a safepoint can run: the interrupt makes one of its own. So
//! [`with_run`] and [`with_host`] give the reference to a closure that only asks the host, and
//! nothing in it calls back into Luau; what needs both keeps the raw pointer and makes a reference
//! for one statement at a time. The two closures that do use the stack (writing back handed tables,
//! dropping stale ones) call nothing of Luau that reaches a safepoint. Growing the stack there may
//! start the collector, whose calls of the interrupt don't touch the run.
//!
//! A panic of the host is caught by [`catch_host_panic`] and fails the run. All other panics under
//! a run (in the [`CallBatch`](crate::vm::CallBatch) of a batch, in this layer) unwind through
//! Luau's frames. That leaves the VM in the middle of a call, so whoever holds it must discard it:
//! a lease that is dropped during a panic is.

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
    // SAFETY: a null pointer, or a live run to which no other reference is in use.
    let vm = unsafe { run.as_ref() }.map_or(std::ptr::null_mut(), |run| run.vm);
    let outer = CURRENT.replace(run.cast());
    let vm = blocks::turn_to(vm);
    blocks::forget_blocks();
    let _restore = Restore { outer, refused: refusal::replace(false), vm };
    body()
}

/// Calls `body` as if this thread had no run. What it makes Luau do (loading a chunk resolves its
/// imports) then reaches no host, not even that of a run on another VM whose host function called
/// this.
pub(in crate::vm) fn outside_run<R>(body: impl FnOnce() -> R) -> R {
    enter(std::ptr::null_mut(), body)
}

/// The run of this thread; null if there is none.
#[inline]
pub(in crate::vm::raw) fn current_run<'r>() -> *mut Run<'r> {
    CURRENT.get().cast()
}

/// Gives the run of this thread to `body`, or reports that there is none.
#[inline]
pub(in crate::vm::raw) fn with_run<R>(
    what: &str,
    body: impl FnOnce(&mut Run<'_>) -> Result<R, ScriptError>,
) -> Result<R, ScriptError> {
    let current = current_run();
    // SAFETY: `enter` got a pointer to a live run, and takes it back before that borrow ends. No
    // other reference to the run exists: `body` only reaches the host, which can't reach this VM.
    match unsafe { current.as_mut() } {
        Some(run) => body(run),
        None => Err(ScriptError::NoRun { what: what.to_owned() }),
    }
}

/// Gives the host of this thread's run to `body`. A panic in it becomes an error, which ends the
/// run.
#[inline]
pub(in crate::vm::raw) fn with_host<R>(
    what: &str,
    body: impl FnOnce(&mut dyn Host, &mut RunRandom) -> Result<R, ScriptError>,
) -> Result<R, ScriptError> {
    with_run(what, |run| {
        if !run.in_callback {
            return Err(ScriptError::FileLevel { what: what.to_owned() });
        }
        let (host, random) = (&mut *run.host, &mut run.per_run.random);
        let result = catch_host_panic(what, || body(host, random));
        run.note_panic(&result);
        result
    })
}

/// Turns a panic of the host into an error.
#[inline]
pub(in crate::vm::raw) fn catch_host_panic<R>(
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
