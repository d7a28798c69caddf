//! [`Incident`]: what went wrong inside a pool, kept until somebody asks.

use std::fmt;
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

/// `VM 3, which ran "orbit.luau" last: found changed, and destroyed: …`
impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vm {
            Some(vm) => write!(f, "VM {vm}")?,
            None => f.write_str("a new VM")?,
        }
        if let Some(program) = &self.program {
            write!(f, ", which ran {program:?} last")?;
        }
        write!(f, ": {}: {}", self.kind.name(), self.message)
    }
}

impl IncidentKind {
    /// What happened, in a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CreateFailed => "can't be made",
            Self::CreateTimedOut => "not made in time",
            Self::ResetFailed => "can't be cleaned, and is destroyed",
            Self::ResetTimedOut => "not cleaned in time",
            Self::ValidationFailed => "found changed, and is destroyed",
            Self::BorrowerPanicked => "left by a panic, and is destroyed",
            Self::LeaseOverdue => "not given back",
            Self::Foreign => "replaced by its borrower",
        }
    }
}

impl Incident {
    /// How many incidents a pool keeps for the next `maintain`: 64. Later ones are only counted.
    pub const KEPT: usize = 64;
}

/// The kinds of [`Incident`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IncidentKind {
    /// A VM that nobody waited for couldn't be made; `maintain` tries again a second later.
    CreateFailed,
    /// A VM wasn't made within `create_timeout`.
    CreateTimedOut,
    /// A VM couldn't be cleaned, and was destroyed.
    ResetFailed,
    /// The reset of a VM took longer than `reset_timeout`, or still does.
    ResetTimedOut,
    /// A VM was found unsound, and was put into quarantine and destroyed.
    ValidationFailed,
    /// The borrower of a VM panicked; the VM was destroyed.
    BorrowerPanicked,
    /// A lease has lasted for longer than `leak_threshold`; the VM may be lost.
    LeaseOverdue,
    /// A lease ended with another VM than it began with; that one was destroyed.
    Foreign,
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

    #[cfg(test)]
    pub(crate) fn kept(&self) -> &[Incident] {
        &self.kept
    }

    /// Empties the log. Returns the incidents, and how many were left out.
    pub(crate) fn take(&mut self) -> (Vec<Incident>, u64) {
        let Self { kept, lost } = std::mem::take(self);
        (kept, lost)
    }
}
