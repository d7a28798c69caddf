//! [`Refs`]: the registry slots that a VM fills once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::c_int;
use std::sync::Arc;

use mlua::ffi;

/// Registry slots that a VM fills once.
#[derive(Debug)]
pub(in crate::vm) struct Refs {
    /// The name `entity`.
    pub(super) entity: c_int,
    pub(super) own: OwnHandles,
    pub(super) environment_metatable: c_int,
    pub(super) message_handler: c_int,
    pub(super) handed: c_int,
    /// [`call_job`].
    pub(super) job: c_int,
    /// The addresses of everything that is shared and frozen.
    pub(super) shared: Arc<HashSet<usize>>,
    pub(super) vm: Callbacks,
}

/// The registry slots of handles to spots, by spot; 0 where there is none yet.
#[derive(Debug, Default)]
pub(super) struct OwnHandles(pub(super) RefCell<Vec<c_int>>);

/// Registry slots that a session fills once; the environment's is filled again by each reset.
#[derive(Clone, Copy, Debug)]
pub(in crate::vm) struct SessionRefs {
    pub(super) environment_metatable: c_int,
    pub(super) environment: c_int,
    pub(super) coroutines: c_int,
    pub(super) message_handler: c_int,
    pub(super) handed: c_int,
    pub(super) vm: Callbacks,
}

/// The callbacks of a VM, whose place is theirs as long as it lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callbacks(pub(super) *mut ffi::lua_Callbacks);

// SAFETY: it is an address, which is used where the VM runs.
unsafe impl Send for Callbacks {}

// SAFETY: as above.
unsafe impl Sync for Callbacks {}
