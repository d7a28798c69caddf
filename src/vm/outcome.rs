//! [`Outcome`]: how a run ended.

use super::state_change::StateChange;
use crate::error::Failure;
use crate::value::ScriptTable;

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The script does not define the callback; nothing ran but the file level.
    Missing,
    /// It returned, and this is its `self`.
    Done(ScriptTable),
    /// It failed.
    Failed(Failure),
}

/// What a run came to, with its `self` as a change.
#[derive(Debug)]
pub(crate) enum Ran {
    Missing,
    Done(StateChange),
    Failed(Box<Failure>),
}
