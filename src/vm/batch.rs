//! [`CallBatch`]: calls of one callback, run one after another on one VM.

use std::time::Duration;

use bevy::prelude::Entity;

use super::call::Used;
use super::host::Host;
use super::outcome::CallResult;
use super::state_change::StateChange;
use crate::value::{ScriptTable, ScriptValue};

/// Calls of one callback of one program, one entity after another, on one VM.
///
/// `H` is the world as the current call sees it.
pub(crate) trait CallBatch<'w, H: ?Sized> {
    /// The host of the current call.
    fn as_host<'h>(host: &'h mut H) -> &'h mut (dyn Host + 'h);

    /// The next call, to which the host is turned; `None` ends the batch.
    fn next(&mut self, host: &mut H) -> Option<Turn<'w>>;

    /// The current call has returned.
    fn finish(&mut self, host: &mut H, change: StateChange, used: Used);
}

/// One call of a [`CallBatch`].
pub(crate) struct Turn<'w> {
    pub(crate) entity: Entity,
    /// Its `self`.
    pub(crate) state: &'w ScriptTable,
    /// The arguments after `self`.
    pub(crate) args: CallArgs<'w>,
    /// The seed of its random numbers.
    pub(crate) seed: u64,
}

/// The arguments of a call after `self`.
#[derive(Clone, Copy)]
pub(crate) enum CallArgs<'a> {
    /// One number.
    Number(f64),
    Values(&'a [ScriptValue]),
}

/// How a [`CallBatch`] ended.
#[derive(Debug)]
pub(crate) enum BatchEnd {
    /// There was no call left, or the VM must be tidied before the next one.
    Done,
    /// The current call ended so.
    With(CallResult),
    /// The current call must run again, on its own. It has used so much time already.
    Again(Duration),
}
