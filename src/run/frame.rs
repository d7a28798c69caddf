//! The resources that a frame's systems share, and their sets.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy::ecs::change_detection::Tick;
use bevy::prelude::{Entity, Resource, SystemSet, Transform};

use super::budget::Budget;
use super::collect::order;
use super::mailbox::Deliveries;
use super::plain::PlainQuery;
use super::programs::ProgramTable;
use super::quiet::Found;
use super::shares::{Limits, Shares};
use super::stop::LastState;
use crate::bindings::{ColumnQuery, Effects, Leaves, Mail};
use crate::config::LuaPoolConfig;
use crate::error::Failure;
use crate::pool::{ConfigError, VmPool};
use crate::script::{ScriptStates, Verdicts};
use crate::vm::{Callback, ConfiguredPool, Program, ProgramStats, StateChange, Vm};

/// When scripts run. The sets are chained in this order, in the plugin's schedule and in its fixed
/// schedule (by default [`Update`](bevy::prelude::Update) and
/// [`FixedUpdate`](bevy::prelude::FixedUpdate)).
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptSystems {
    /// Finds the callbacks that are due, and why.
    Collect,
    /// Runs them on pooled VMs, in parallel. Nothing in the world changes.
    Execute,
    /// Applies what the runs want to change, in a stable order, on one thread.
    Apply,
    /// Evicts and refills VMs, publishes the [`LuaSnapshot`](crate::LuaSnapshot) and diagnostics. In
    /// the plugin's schedule only.
    Maintain,
}

/// Switches of the running scripts.
#[derive(Resource, Clone, Debug)]
#[non_exhaustive]
pub struct LuaScripting {
    /// Whether scripts run. While they don't, messages to them wait. One entity's scripts are paused by
    /// [`LuaScripts::enabled`](crate::LuaScripts::enabled).
    pub enabled: bool,
    /// The seed of all random numbers of scripts. Default 0: every session draws the same numbers.
    pub seed: u64,
}

impl LuaScripting {
    pub(crate) fn new(seed: u64) -> Self {
        Self { enabled: true, seed }
    }
}

/// The pool of VMs that entity scripts run on. There from [`App::finish`](bevy::app::App::finish) on.
#[derive(Resource, Clone)]
pub struct LuaPool {
    pub(crate) vms: ConfiguredPool,
    /// The configuration of this frame.
    pub(crate) config: Arc<LuaPoolConfig>,
    /// The configuration file is still loading, or can't be used: nothing runs until it is there.
    pub(crate) awaits_config: bool,
    /// Why it can't be used.
    pub(crate) stopped: Option<Arc<str>>,
}

impl LuaPool {
    /// What is said where there is none.
    pub(crate) const UNFINISHED: &str = "LuaPoolPlugin has no VMs yet: `App::finish` was not called; an app that \
         is not run by `App::run` calls `app.finish()` and `app.cleanup()` before its first `app.update()`";

    /// The pool of VMs. Its [`set_config`](VmPool::set_config) changes [`LuaPoolConfig::pool`] alone.
    #[must_use]
    pub fn vms(&self) -> &VmPool<Vm> {
        self.vms.vms()
    }

    /// What became of programs in all its VMs: loaded, dropped, loaded again.
    #[must_use]
    pub fn programs(&self) -> ProgramStats {
        self.vms.factory().programs()
    }

    /// Whether scripts can run: `false` while the configuration file is still loading, and as long as it
    /// can't be used; see [`LuaPool::stopped`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.awaits_config
    }

    /// Why no script runs, if that is because the configuration file can't be used.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &LuaPoolConfig {
        &self.config
    }

    /// Puts another configuration in force, from the next frame on. VMs are replaced if their memory
    /// limits change, or the libraries and modules that scripts find. Scripts that wait for the
    /// configuration file still do.
    ///
    /// # Errors
    /// If it is not valid; then nothing has changed.
    pub fn set_config(&mut self, config: LuaPoolConfig) -> Result<(), ConfigError> {
        self.vms.set_config(config)?;
        self.update();
        Ok(())
    }

    /// Whether the configuration was changed by another handle since this one [took it over](Self::update).
    pub(crate) fn is_outdated(&self) -> bool {
        !Arc::ptr_eq(&self.config, &self.vms.config())
    }

    /// Takes over the configuration in force.
    pub(crate) fn update(&mut self) {
        self.config = self.vms.config();
    }
}

/// Which of the two schedules a stage belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Update,
    FixedUpdate,
}

impl Stage {
    /// What scripts run in each of these.
    pub(crate) fn callback(self) -> Callback {
        match self {
            Self::Update => Callback::Update,
            Self::FixedUpdate => Callback::FixedUpdate,
        }
    }
}

/// What goes from one system of a stage to the next. Its buffers are kept from frame to frame.
#[derive(Resource, Default)]
pub(crate) struct Frame {
    pub(crate) invocations: Vec<Invocation>,
    /// The invocations of the stage before, which is over: their memory is used again.
    pub(crate) spare: Vec<Invocation>,
    /// Entities that more than one invocation belongs to, or one that stops.
    pub(crate) shared: Vec<Entity>,
    /// Invocations wait since an earlier frame.
    pub(crate) any_waits: bool,
    /// What the chunks of entities came to that were looked through.
    pub(crate) found: Vec<Found>,
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
    pub(crate) began: Option<Instant>,
    /// When the runs had ended, if they did: what changed since was changed by the game.
    pub(crate) executed: Option<Tick>,
    /// The most VMs leased at a time.
    pub(crate) leased: usize,
    /// The entities that plain outcomes change.
    pub(crate) plain: Option<PlainQuery>,
    /// Where the components lie that nearly all runs use.
    pub(crate) columns: Option<(ColumnQuery<ScriptStates>, ColumnQuery<Transform>)>,
    /// The invocations whose outcomes are not plain, a bit for each.
    pub(crate) left: Vec<u64>,
    /// What the workers counted; one for each, and perhaps empty ones.
    pub(crate) tallies: Vec<Tally>,
}

impl Frame {
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
    pub(crate) fn limits(&self, config: &LuaPoolConfig) -> Vec<Limits> {
        let programs = self.programs.list.iter();
        programs.map(|carried| Limits::of(&carried.program, config)).collect()
    }

    pub(crate) fn program(&self, invocation: &Invocation) -> &Arc<Program> {
        &self.programs.list[invocation.program as usize].program
    }
}

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
    pub(crate) waiting: u32,
    pub(crate) started: bool,
    pub(crate) reload: bool,
    /// `on_update` or `on_fixed_update` is due.
    pub(crate) ticks: bool,
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
            started: true,
            reload: false,
            ticks: false,
        }
    }

    /// Whether nothing is due but `on_update`, or `on_fixed_update`.
    #[inline]
    pub(crate) fn only_ticks(&self) -> bool {
        self.ticks
            && self.started
            && !self.reload
            && self.more.as_ref().is_none_or(|more| more.mail.is_empty() && more.stop.is_none())
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
    /// Leaves of components that it wrote.
    pub(crate) leaves: Leaves,
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
        self.leaves.iter().any(|leaf| leaf.entity != own)
            || self
                .more
                .as_ref()
                .is_some_and(|more| more.effects.drafts.iter().any(|draft| draft.entity != own))
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
