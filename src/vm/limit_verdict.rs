//! [`LimitVerdict`]: what the limits say of a run that is over.

use std::sync::Arc;

use super::raw::{FailedRun, Run, RunStop};
use crate::error::{Failure, ScriptError};

/// What the limits say of a run that is over and did not keep to them.
pub(super) struct LimitVerdict {
    pub(super) out_of_memory: bool,
    /// It ran out of time, was stopped, or a function of the host panicked.
    broken: Option<ScriptError>,
    /// The line and the call stack where it ran out of memory, if known.
    pub(super) place: (Option<u32>, String),
}

impl LimitVerdict {
    /// `None` if the run kept to its limits.
    pub(super) fn of(run: &mut Run<'_>, out_of_memory: bool) -> Option<Box<Self>> {
        let late = run.deadline.end();
        if !late && !out_of_memory && run.panicked().is_none() {
            return None;
        }
        let broken = run.panicked().cloned().or_else(|| late.then(|| run.deadline.verdict()));
        Some(Box::new(Self { out_of_memory, broken, place: run.take_place() }))
    }
}

/// Whether a run met the limit of the allocator. Any other error may be a consequence, and depends on what the VM
/// holds.
pub(super) fn ran_out(verdict: &Option<Box<LimitVerdict>>) -> bool {
    verdict.as_ref().is_some_and(|verdict| verdict.out_of_memory)
}

/// Decides how a run ended. The limits have the last word, whatever the script caught; `no_memory` is the error of a
/// run that is out of memory.
pub(super) fn judge<T>(
    script: &Arc<str>,
    ended: Result<T, RunStop>,
    verdict: Option<Box<LimitVerdict>>,
    no_memory: impl FnOnce() -> ScriptError,
) -> Result<T, Box<Failure>> {
    let (out_of_memory, broken, place) = match verdict {
        Some(verdict) => (verdict.out_of_memory, verdict.broken, verdict.place),
        None => (false, None, (None, String::new())),
    };
    let fail = |error, (line, traceback)| {
        Err(Box::new(Failure { error, script: Arc::clone(script), line, traceback }))
    };
    match (ended, broken) {
        (Err(RunStop::Failed(failed)), broken) => {
            let FailedRun { error, script: raised_in, line, frames } = *failed;
            let error = broken.or_else(|| out_of_memory.then(no_memory)).unwrap_or(error);
            let script = raised_in.map_or_else(|| Arc::clone(script), Arc::from);
            Err(Box::new(Failure { error, script, line, traceback: frames }))
        }
        (Ok(value), None) if !out_of_memory => Ok(value),
        (Ok(_), Some(error)) if !out_of_memory => fail(error, (None, String::new())),
        (_, broken) => fail(broken.unwrap_or_else(no_memory), place),
    }
}
