//! [`CallBatch`]: many calls of one callback, run one after another on one VM.

use std::time::Duration;

use bevy::prelude::Entity;

use super::call::Used;
use super::outcome::Ran;
use super::state_change::StateChange;
use crate::value::ScriptTable;

/// Runs that follow one another on one VM: the same callback of one program, for one entity after another.
///
/// `H` is the world, as the run sees it whose turn it is.
pub(crate) trait CallBatch<'w, H> {
    /// Turns the world to the next run; `None` ends the row.
    fn turn(&mut self, host: &mut H) -> Option<Turn<'w>>;

    /// The run whose turn it was is over, and all is well.
    fn done(&mut self, host: &mut H, change: StateChange, used: Used);
}

/// One run of a [`CallBatch`].
pub(crate) struct Turn<'w> {
    pub(crate) entity: Entity,
    /// What becomes its `self`.
    pub(crate) state: &'w ScriptTable,
    /// What follows `self`.
    pub(crate) argument: f64,
    /// Where its random numbers start.
    pub(crate) seed: u64,
}

/// How a [`CallBatch`] ended.
#[derive(Debug)]
pub(crate) enum BatchEnd {
    /// There was none left, or the VM has to be looked at before the next.
    Done,
    /// The run whose turn it was came to this.
    With(Ran),
    /// The run whose turn it was could tell that it ran on an image, and must run again on a file level of its
    /// own. It has used so much time already.
    Again(Duration),
}
