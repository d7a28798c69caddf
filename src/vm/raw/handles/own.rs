//! The short way to the own entity's components.

use mlua::ffi::lua_State;

use crate::vm::host::Host;
use crate::vm::raw::errors::raise;
use crate::vm::raw::refs::OwnHandles;
use crate::vm::raw::run::current::{catch_host_panic, current_run};

/// What asks a host about a spot, with the run's own handles.
///
/// # Safety
///
/// Inside a C function that Luau called.
#[inline]
pub(in crate::vm::raw) unsafe fn ask_about_own<R>(
    state: *mut lua_State,
    ask: impl FnOnce(&mut dyn Host) -> Option<R>,
) -> Option<(R, *const OwnHandles)> {
    let current = current_run();
    // SAFETY: as in `with_run`.
    let run = unsafe { current.as_mut() }?;
    let own = run.handles.filter(|_| run.in_callback)?;
    let host = &mut *run.host;
    let result = catch_host_panic("component", || Ok(ask(host)));
    match result {
        Ok(answer) => answer.map(|answer| (answer, std::ptr::from_ref(own))),
        Err(error) => {
            run.note_panic::<()>(&Err(error.clone()));
            // SAFETY: the caller keeps what this function asks for.
            unsafe { raise(state, error) }
        }
    }
}
