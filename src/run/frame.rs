//! [`Frame`]: what goes from one stage of a frame to the next.

use std::sync::Arc;
use std::time::Instant;

use bevy::ecs::change_detection::Tick;
use bevy::prelude::{Entity, Resource};

use crate::bindings::Mail;
use crate::config::LuaPoolConfig;
use crate::run::budget::Budget;
use crate::run::invocation::{Invocation, InvocationOutcome, Tally};
use crate::run::mailbox::Deliveries;
use crate::run::program_table::ProgramTable;
use crate::run::shares::{ProgramLimits, Shares};
use crate::run::stage::Stage;
use crate::snapshot::PathCounts;
use crate::vm::Program;

/// What goes from one system of a stage to the next. Its buffers are kept from frame to frame.
#[derive(Resource, Default)]
pub(crate) struct Frame {
    /// Those that were collected, in the stable order. Once they were applied they stay, so that collecting can
    /// reuse their memory: [`Frame::is_pending`] tells.
    pub(crate) invocations: Vec<Invocation>,
    /// Entities that more than one invocation belongs to, or one that stops.
    pub(crate) shared: Vec<Entity>,
    /// Invocations wait since an earlier frame.
    pub(crate) any_waits: bool,
    /// Which ways were taken so far, in all stages since they were last published.
    pub(crate) paths: PathCounts,
    /// The programs of the invocations, by number.
    pub(crate) programs: ProgramTable,
    /// The messages that are delivered in this stage.
    pub(crate) deliveries: Deliveries,
    /// One for each invocation, in their order, once the stage was executed; empty ones after it was applied.
    pub(crate) outcomes: Vec<InvocationOutcome>,
    /// What invocations share with others, and what they used up of it.
    pub(crate) shares: Shares,
    /// The time that runs may take.
    pub(crate) budget: Budget,
    /// Stages of each kind so far in which something had to wait.
    pub(crate) crowded: [u64; 2],
    /// For so many stages of each kind it is taken that somebody will have to wait again.
    pub(crate) crowded_lately: [u8; 2],
    /// Stops that were queued when the invocations were collected: those after them were not known then.
    pub(crate) known_stops: usize,
    /// Whether the scripts of some invocations define `on_message` is not known before they run.
    pub(crate) unsure: Vec<bool>,
    pub(crate) stage: Stage,
    /// Frames before this one.
    pub(crate) number: u64,
    pub(crate) delta: f64,
    pub(crate) seed: u64,
    /// When collecting began; `None` once the stage was applied.
    pub(crate) began: Option<Instant>,
    /// When the runs had ended, if they did: what changed since was changed by the game.
    pub(crate) executed: Option<Tick>,
    /// The most VMs leased at a time.
    pub(crate) leased: usize,
    /// What the workers counted; one for each, and perhaps empty ones.
    pub(crate) tallies: Vec<Tally>,
}

impl Frame {
    /// Whether there are invocations that were collected and not yet applied.
    pub(crate) fn is_pending(&self) -> bool {
        self.began.is_some() && !self.invocations.is_empty()
    }

    /// The messages that an invocation gets.
    pub(crate) fn mail(&self, invocation: &Invocation) -> impl Iterator<Item = &Mail> {
        let mail = invocation.mail();
        let to_entity = self.deliveries[mail.start as usize..mail.end as usize].iter();
        to_entity
            .filter(|delivery| delivery.is_for(invocation.slot()))
            .map(|delivery| &*delivery.mail)
    }

    /// An invocation took so many of its messages and no more: the others wait on.
    pub(crate) fn leave_mail(&mut self, invocation: usize, taken: usize) {
        let invocation = &self.invocations[invocation];
        self.deliveries.leave(invocation.mail(), invocation.slot(), taken);
    }

    /// What the runs of each program may use up, by number.
    pub(crate) fn limits(&self, config: &LuaPoolConfig) -> Vec<ProgramLimits> {
        let programs = self.programs.list.iter();
        programs.map(|carried| ProgramLimits::of(&carried.program, config)).collect()
    }

    pub(crate) fn program(&self, invocation: &Invocation) -> &Arc<Program> {
        &self.programs.list[invocation.program as usize].program
    }
}
