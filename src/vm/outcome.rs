//! [`Outcome`]: how a run ended.

use super::state_change::StateChange;
use crate::error::Failure;
use crate::value::{ScriptTable, ScriptValues};

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

/// How a call of a callback ended: with the change of its `self`, or with `None` if the script does not define the
/// callback.
pub(crate) type CallResult = Result<Option<StateChange>, Box<Failure>>;

/// What a task of a session gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Performed {
    /// What was asked for.
    pub(crate) values: ScriptValues,
    /// Whether a coroutine that was resumed waits again.
    pub(crate) yielded: bool,
}
