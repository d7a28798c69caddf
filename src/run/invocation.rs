//! [`Invocation`]: the runs of one script on one entity in one stage, and what comes of them.

use std::ops::Range;
use std::time::Duration;

use bevy::prelude::Entity;

use crate::bindings::{Effects, WriteLog};
use crate::error::Failure;
use crate::run::last_state::LastState;
use crate::run::order::order;
use crate::run::sweep::ByEntity;
use crate::script::Verdicts;
use crate::vm::{Callback, CallbackSet, StateChange};

/// The runs of one script on one entity in one stage. There are many of them: what few invocations have is in a
/// box.
pub(crate) struct Invocation {
    pub(crate) entity: Entity,
    /// The seconds that passed for it.
    pub(crate) delta: f64,
    pub(crate) more: Option<Box<InvocationExtras>>,
    /// Its place among the entity's states.
    pub(crate) slot: u32,
    /// The number of the program.
    pub(crate) program: u32,
    /// Stages for which it has been waiting.
    pub(crate) waiting: u32,
    /// The callbacks that are due, whether or not the script defines them. `on_start` is due until it has run,
    /// `on_message` if there are deliveries for it; `on_stop` is due alone.
    pub(crate) due: CallbackSet,
}

impl ByEntity for Invocation {
    #[inline]
    fn entity(&self) -> Entity {
        self.entity
    }
}

/// What few invocations have.
#[derive(Default)]
pub(crate) struct InvocationExtras {
    /// The deliveries to its entity; those for it are [`Frame::mail`].
    pub(crate) mail: Range<u32>,
    /// The number of the entity from which it descends, if a script spawned its entity.
    pub(crate) origin: Option<u32>,
    /// Its place among all invocations that descend from others.
    pub(crate) place: usize,
    /// Whether its script defines `on_message` is not known yet.
    pub(crate) unsure: bool,
    /// The state to say goodbye to; such an invocation does nothing but `on_stop`.
    pub(crate) stop: Option<LastState>,
}

impl Default for Invocation {
    fn default() -> Self {
        Self::new(Entity::PLACEHOLDER, 0, 0)
    }
}

impl Invocation {
    /// An invocation that has nothing to do yet.
    pub(crate) fn new(entity: Entity, slot: usize, program: u32) -> Self {
        Self {
            entity,
            delta: 0.0,
            more: None,
            slot: u32::try_from(slot).expect("an entity has fewer scripts than that"),
            program,
            waiting: 0,
            due: CallbackSet::default(),
        }
    }

    /// Whether this callback is due and no other.
    #[inline]
    pub(crate) fn is_due_alone(&self, callback: Callback) -> bool {
        self.due == CallbackSet::only(callback)
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot as usize
    }

    /// Where it stands in the stable order.
    pub(super) fn key(&self) -> (u64, u32) {
        (order(self.entity), self.slot)
    }

    /// The deliveries to its entity.
    pub(crate) fn mail(&self) -> Range<u32> {
        self.more.as_ref().map_or(0..0, |more| more.mail.clone())
    }

    /// The state to say goodbye to.
    pub(crate) fn stop(&self) -> Option<&LastState> {
        self.more.as_ref()?.stop.as_ref()
    }

    pub(super) fn take_stop(&mut self) -> Option<LastState> {
        self.more.as_mut()?.stop.take()
    }
}

/// What came of an invocation. There are many of them: what few invocations have is in a box.
#[derive(Default)]
pub(crate) struct InvocationOutcome {
    /// What its runs did to its state.
    pub(crate) state: StateChange,
    /// What it writes to components.
    pub(crate) writes: WriteLog,
    pub(crate) more: Option<Box<OutcomeExtras>>,
    /// It did not run, or is to be as if it had not: no VM was to be had, the frame's budget was spent, or what it
    /// shares with others.
    pub(crate) deferred: bool,
    pub(crate) started: bool,
    /// Runs that there were.
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

impl InvocationOutcome {
    pub(super) fn deferred() -> Self {
        Self { deferred: true, unfinished: true, ..Self::default() }
    }

    /// All that was due has run: one callback of a script that had started.
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

/// What a worker counts.
#[derive(Default)]
pub(crate) struct Tally {
    /// The numbers of the invocations whose outcomes reach out to other entities.
    pub(crate) reaching: Vec<usize>,
    /// Runs, by the numbers of the programs.
    pub(crate) runs: Vec<u64>,
    /// The times of some of them.
    pub(crate) times: Vec<(u32, Duration)>,
    /// Runs of programs that are to be as if they had not been.
    pub(crate) undone: Vec<(u32, u32)>,
}

impl Tally {
    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.reaching.clear();
        self.runs.clear();
        self.times.clear();
        self.undone.clear();
    }
}

/// What came of an invocation besides changed numbers.
#[derive(Default)]
pub(crate) struct OutcomeExtras {
    /// How many of its messages it took; the others wait for the next frame.
    pub(crate) mail_taken: usize,
    pub(crate) effects: Effects,
    /// From which those descend that it spawned, once that is known.
    pub(crate) origin: Option<Entity>,
    /// The entities that it spawned, once they have their places in the world.
    pub(crate) new: Vec<Entity>,
    /// How many of them there was room for; the others come to nothing.
    pub(crate) admitted: usize,
    pub(crate) failures: Vec<(Callback, Failure)>,
    /// What its runs came to, if any of them failed, or failed in a row before.
    pub(crate) verdicts: Option<Verdicts>,
}
