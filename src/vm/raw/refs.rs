//! [`Refs`]: the registry slots that a VM fills once.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::c_int;
use std::sync::Arc;

use mlua::ffi;

/// Registry slots that a VM fills once: each is a number that names a value which only this layer
/// reaches.
#[derive(Debug)]
pub(in crate::vm) struct Refs {
    /// The string `entity`.
    pub(super) entity: c_int,
    pub(super) own_handles: OwnHandles,
    pub(super) environment_metatable: c_int,
    pub(super) message_handler: c_int,
    pub(super) handed: c_int,
    /// The function `call_job` of `protected`.
    pub(super) job: c_int,
    /// The addresses of all objects that scripts share, which are frozen.
    pub(super) shared: Arc<HashSet<usize>>,
    pub(super) vm: Callbacks,
}

/// The registry slots of handles to fields of the own entity, by [`FieldId`](crate::vm::FieldId); 0
/// for those that the VM has not made yet.
#[derive(Debug, Default)]
pub(super) struct OwnHandles(pub(super) RefCell<Vec<c_int>>);

/// Registry slots that a session fills once. Each reset fills the environment's anew.
#[derive(Clone, Copy, Debug)]
pub(in crate::vm) struct SessionRefs {
    pub(super) environment_metatable: c_int,
    pub(super) environment: c_int,
    pub(super) coroutines: c_int,
    pub(super) message_handler: c_int,
    pub(super) handed: c_int,
    pub(super) vm: Callbacks,
}

/// The callbacks of a VM. They stay where they are as long as the VM lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callbacks(pub(super) *mut ffi::lua_Callbacks);

// SAFETY: it is an address; it is used only on the thread where the VM runs.
unsafe impl Send for Callbacks {}

// SAFETY: as above.
unsafe impl Sync for Callbacks {}
