//! The short way to the components of the own entity: no error is made, and no name.

use mlua::ffi::lua_State;

use crate::vm::host::Host;
use crate::vm::raw::errors::raise;
use crate::vm::raw::refs::OwnHandles;
use crate::vm::raw::run::current::{catch_host_panic, current_run};

/// Asks the host of this thread's run, if its callback is running, and gives the VM's handles as
/// well. A panic of the host is raised as an error.
///
/// # Safety
///
/// In a C function that Luau called.
#[inline]
pub(in crate::vm::raw) unsafe fn ask_about_own<R>(
    state: *mut lua_State,
    ask: impl FnOnce(&mut dyn Host) -> Option<R>,
) -> Option<(R, *const OwnHandles)> {
    let current = current_run();
    // SAFETY: as in `with_run`; `ask` only reaches the host.
    let run = unsafe { current.as_mut() }?;
    let own = run.handles.filter(|_| run.in_callback)?;
    let host = &mut *run.host;
    let result = catch_host_panic("component", || Ok(ask(host)));
    match result {
        Ok(answer) => answer.map(|answer| (answer, std::ptr::from_ref(own))),
        Err(error) => {
            run.note_panic::<()>(&Err(error.clone()));
            // SAFETY: in a C function that Luau called. The reference to the run is not used any
            // more.
            unsafe { raise(state, error) }
        }
    }
}
