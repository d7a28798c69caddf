//! [`Incident`]: what went wrong inside a pool, kept until somebody asks.

use std::sync::Arc;

/// Something that went wrong inside the pool and that no caller was told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What it was.
    pub kind: IncidentKind,
    /// The VM it happened to; `None` where it was never made.
    pub vm: Option<u64>,
    /// The program that VM had run when it was last inspected.
    pub program: Option<Arc<str>>,
    /// The cause, in words.
    pub message: String,
}

impl Incident {
    /// How many incidents a pool keeps for the next `maintain`: 64. Later ones are only counted.
    pub const KEPT: usize = 64;
}

/// The kinds of [`Incident`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IncidentKind {
    /// `maintain` couldn't make a VM; it tries again the next time.
    CreateFailed,
    /// A VM couldn't be cleaned, and was destroyed.
    ResetFailed,
    /// A VM was found unsound, and was destroyed.
    ValidationFailed,
    /// The borrower of a VM panicked; the VM was destroyed.
    BorrowerPanicked,
    /// A lease has lasted for longer than `leak_threshold`; the VM may be lost.
    LeaseOverdue,
}

/// The incidents since the last `maintain`, in bounded memory.
#[derive(Debug, Default)]
pub(crate) struct IncidentLog {
    kept: Vec<Incident>,
    lost: u64,
}

impl IncidentLog {
    pub(crate) fn push(&mut self, incident: Incident) {
        if self.kept.len() < Incident::KEPT {
            self.kept.push(incident);
        } else {
            self.lost += 1;
        }
    }

    /// Empties the log. Returns the incidents, and how many were left out.
    pub(crate) fn take(&mut self) -> (Vec<Incident>, u64) {
        let Self { kept, lost } = std::mem::take(self);
        (kept, lost)
    }
}
