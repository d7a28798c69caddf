//! [`Outcome`]: how a run ended.

use super::state_change::StateChange;
use crate::error::Failure;
use crate::value::ScriptTable;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The script does not define the callback. Only the file level ran.
    Missing,
    /// It returned, with this `self`.
    Done(ScriptTable),
    /// It failed.
    Failed(Failure),
}

/// How a run ended, with the change of its `self`.
#[derive(Debug)]
pub(crate) enum Ran {
    Missing,
    Done(StateChange),
    Failed(Box<Failure>),
}
