//! [`InvocationOutcome`]: what the runs of an invocation came to.

use bevy::prelude::Entity;

use crate::bindings::{Effects, WriteLog};
use crate::error::Failure;
use crate::script::Verdicts;
use crate::vm::{Callback, StateChange};

/// What the runs of an invocation came to. There are as many as invocations: what few of them have is in a box.
#[derive(Default)]
pub(crate) struct InvocationOutcome {
    /// What its runs did to its state.
    pub(crate) state: StateChange,
    /// What it writes to components.
    pub(crate) writes: WriteLog,
    pub(crate) more: Option<Box<OutcomeExtras>>,
    /// It did not run, or counts as if it had not: there was no VM for it, or the frame's budget or its share of a
    /// common limit was used up.
    pub(crate) deferred: bool,
    /// Its script has started.
    pub(crate) started: bool,
    /// How many runs there were.
    pub(crate) runs: u32,
    /// There was no VM for some of its runs, which stay due.
    pub(crate) unfinished: bool,
    /// The last run failed.
    pub(crate) failing: bool,
    /// Random numbers were drawn.
    pub(crate) drew: bool,
    /// The script is put aside now.
    pub(crate) put_aside: bool,
}

/// What few outcomes have.
#[derive(Default)]
pub(crate) struct OutcomeExtras {
    /// How many of its messages it took. The others wait for the next frame.
    pub(crate) mail_taken: usize,
    pub(crate) effects: Effects,
    /// The entity from which those that it spawned descend, once that is known.
    pub(crate) origin: Option<Entity>,
    /// The entities that it spawned, once they exist in the world.
    pub(crate) new: Vec<Entity>,
    /// How many of them there was room for. The others are despawned again.
    pub(crate) admitted: usize,
    pub(crate) failures: Vec<(Callback, Failure)>,
    /// Which of its runs failed. `None` if none did, and none had failed just before.
    pub(crate) verdicts: Option<Verdicts>,
}

impl InvocationOutcome {
    pub(super) fn deferred() -> Self {
        Self { deferred: true, unfinished: true, ..Self::default() }
    }

    /// All that was due has run: one callback of a script that had started before.
    #[inline]
    pub(crate) fn set_ran(&mut self, failing: bool) {
        self.deferred = false;
        self.unfinished = false;
        self.started = true;
        self.runs = 1;
        self.failing = failing;
    }

    /// Whether it changes components of other entities than the invocation's own.
    #[inline]
    pub(crate) fn reaches_out(&self, own: Entity) -> bool {
        self.writes.iter().any(|write| write.entity != own)
    }
}
