//! [`CallBatch`]: many calls of one callback, run one after another on one VM.

use std::time::Duration;

use bevy::prelude::Entity;

use super::call::Used;
use super::outcome::Ran;
use super::state_change::StateChange;
use crate::value::ScriptTable;

/// Calls of one callback of one program, one entity after another, on one VM.
///
/// `H` is the world as the current call sees it.
pub(crate) trait CallBatch<'w, H> {
    /// The next call, to which the host is turned; `None` ends the batch.
    fn turn(&mut self, host: &mut H) -> Option<Turn<'w>>;

    /// The current call has returned.
    fn done(&mut self, host: &mut H, change: StateChange, used: Used);
}

/// One call of a [`CallBatch`].
pub(crate) struct Turn<'w> {
    pub(crate) entity: Entity,
    /// Its `self`.
    pub(crate) state: &'w ScriptTable,
    /// The argument after `self`.
    pub(crate) argument: f64,
    /// The seed of its random numbers.
    pub(crate) seed: u64,
}

/// How a [`CallBatch`] ended.
#[derive(Debug)]
pub(crate) enum BatchEnd {
    /// There was no call left, or the VM must be tidied before the next one.
    Done,
    /// The current call ended so.
    With(Ran),
    /// The current call must run again, on its own. It has used so much time already.
    Again(Duration),
}
