//! What the limits say of a run that is over.

use crate::error::ScriptError;
use crate::vm::raw;

/// What the limits say of a run that is over.
pub(super) struct LimitVerdict {
    pub(super) out_of_memory: bool,
    /// It ran out of time, was stopped, or a function of the host panicked.
    pub(super) broken: Option<ScriptError>,
    /// The line and the call stack where it ran out of memory, if known.
    pub(super) place: (Option<u32>, String),
}

impl LimitVerdict {
    /// `None` if the run kept to its limits.
    pub(super) fn of(run: &mut raw::Run<'_>, met_memory_limit: bool) -> Option<Box<Self>> {
        let late = run.deadline.end();
        let out_of_memory = run.is_out_of_memory() || met_memory_limit;
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
