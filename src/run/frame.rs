//! [`Frame`]: what goes from one stage of a frame to the next.

use std::sync::Arc;
use std::time::Instant;

use bevy::ecs::change_detection::Tick;
use bevy::prelude::{Entity, Resource};

use crate::bindings::Mail;
use crate::config::LuaPoolConfig;
use crate::run::budget::Budget;
use crate::run::invocation::Invocation;
use crate::run::mailbox::StageMail;
use crate::run::outcome::InvocationOutcome;
use crate::run::program_table::ProgramTable;
use crate::run::shares::{ProgramLimits, Shares};
use crate::run::stage::Stage;
use crate::run::worker_tally::WorkerTally;
use crate::snapshot::PathCounts;
use crate::vm::Program;

/// What goes from one stage of a frame to the next. Its buffers are kept from frame to frame.
#[derive(Resource, Default)]
pub(crate) struct Frame {
    /// What was collected, in the stable order. Stays after it was applied, so that collecting reuses the memory:
    /// see [`Frame::is_pending`].
    pub(crate) invocations: Vec<Invocation>,
    /// Entities with more than one invocation, or with one that stops.
    pub(crate) shared: Vec<Entity>,
    /// Some invocations wait since an earlier stage.
    pub(crate) any_waits: bool,
    /// Which ways were taken in the stages so far, since that was last published.
    pub(crate) paths: PathCounts,
    /// The programs of the invocations, by number.
    pub(crate) programs: ProgramTable,
    /// The messages that can be taken in this stage.
    pub(crate) stage_mail: StageMail,
    /// Once the stage was executed: one for each invocation, in their order. Empty ones after it was applied.
    pub(crate) outcomes: Vec<InvocationOutcome>,
    /// What invocations have in common, and how much of it they used.
    pub(crate) shares: Shares,
    /// The time that runs may take.
    pub(crate) budget: Budget,
    /// How many stages of each kind there were in which something had to wait.
    pub(crate) crowded: [u64; 2],
    /// For how many more stages of each kind it is assumed that something will have to wait.
    pub(crate) crowded_lately: [u8; 2],
    /// How many stops were queued when the invocations were collected. Those after them came later.
    pub(crate) known_stops: usize,
    /// For each message of the stage: whether it has only receivers of which it isn't known before they run if they
    /// define `on_message`. Empty if there is no such message.
    pub(crate) unsure: Vec<bool>,
    pub(crate) stage: Stage,
    /// How many frames there were before.
    pub(crate) number: u64,
    /// The seconds since the stage before of this kind.
    pub(crate) delta: f64,
    pub(crate) seed: u64,
    /// When collecting began. `None` once the stage was applied.
    pub(crate) began: Option<Instant>,
    /// When the runs had ended, if they have: later changes were made by the game.
    pub(crate) executed: Option<Tick>,
    /// The most VMs leased at the same time.
    pub(crate) leased: usize,
    /// What the workers counted: one for each, and perhaps empty ones.
    pub(crate) tallies: Vec<WorkerTally>,
}

impl Frame {
    /// Whether there are invocations that were collected and not applied yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.began.is_some() && !self.invocations.is_empty()
    }

    /// The messages for the script of an invocation.
    pub(crate) fn mail(&self, invocation: &Invocation) -> impl Iterator<Item = &Mail> {
        let mail = invocation.mail();
        let to_entity = self.stage_mail[mail.start as usize..mail.end as usize].iter();
        to_entity.filter(|queued| queued.is_for(invocation.slot())).map(|queued| &*queued.mail)
    }

    /// An invocation took the first `taken` of its messages. The others wait for a later stage.
    pub(crate) fn leave_mail(&mut self, invocation: usize, taken: usize) {
        let invocation = &self.invocations[invocation];
        self.stage_mail.leave(invocation.mail(), invocation.slot(), taken);
    }

    /// What the runs of each program may use up, by the program's number.
    pub(crate) fn limits(&self, config: &LuaPoolConfig) -> Vec<ProgramLimits> {
        let programs = self.programs.list.iter();
        programs.map(|carried| ProgramLimits::of(&carried.program, config)).collect()
    }

    /// The program of an invocation.
    pub(crate) fn program(&self, invocation: &Invocation) -> &Arc<Program> {
        &self.programs.list[invocation.program as usize].program
    }
}
