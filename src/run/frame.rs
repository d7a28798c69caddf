//! The resources that a frame's systems share, and their sets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bevy::ecs::change_detection::Tick;
use bevy::prelude::{Entity, Resource, SystemSet};

use super::messages::Delivery;
use crate::bindings::{Effects, Mail};
use crate::error::Failure;
use crate::pool::{ConfigError, PoolConfig, VmPool};
use crate::value::ScriptTable;
use crate::vm::{Callback, LuauFactory, Program, StateChange, Vm};

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
    /// The seed of all random numbers of scripts. Default 0.
    pub seed: u64,
    /// Stages that ran so far; part of every run's seed.
    pub(crate) stages: u64,
}

impl LuaScripting {
    pub(crate) fn new(seed: u64) -> Self {
        Self { enabled: true, seed, stages: 0 }
    }
}

/// The pool of VMs that entity scripts run on.
#[derive(Resource, Clone)]
pub struct LuaPool {
    pub(crate) pool: VmPool<Vm>,
    pub(crate) factory: LuauFactory,
    pub(crate) config: Arc<PoolConfig>,
    /// The configuration file is still loading: nothing runs until it is there.
    pub(crate) awaits_config: bool,
}

impl LuaPool {
    /// The pool itself.
    #[must_use]
    pub fn vms(&self) -> &VmPool<Vm> {
        &self.pool
    }

    /// Whether scripts can run: `false` while the configuration file is still loading.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.awaits_config
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Puts another configuration in force, from the next frame on. VMs are replaced if their memory
    /// limit changes.
    ///
    /// # Errors
    /// If it is not valid; then nothing has changed.
    pub fn set_config(&mut self, config: PoolConfig) -> Result<(), ConfigError> {
        self.pool.set_config(config.clone())?;
        if config.memory_limit != self.config.memory_limit {
            self.factory.set_memory_limit(config.memory_limit);
            self.pool.evict_all();
        }
        self.config = Arc::new(config);
        Ok(())
    }
}

/// Which of the two schedules a stage belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Update,
    FixedUpdate,
}

/// What goes from one system of a stage to the next.
#[derive(Resource, Default)]
pub(crate) struct Frame {
    pub(crate) units: Vec<Unit>,
    /// The messages that are delivered in this stage, sorted by receiver.
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) outcomes: Vec<UnitOutcome>,
    pub(crate) stage: Stage,
    pub(crate) delta: f64,
    pub(crate) seed: u64,
    pub(crate) began: Option<Instant>,
    /// When the runs had ended: what changed since was changed by the game.
    pub(crate) executed: Tick,
    /// The most VMs leased at a time.
    pub(crate) leased: usize,
}

impl Frame {
    /// The messages that a unit gets.
    pub(crate) fn mail(&self, unit: &Unit) -> impl Iterator<Item = &Mail> {
        let to_entity = self.deliveries[unit.mail.clone()].iter();
        to_entity.filter(|delivery| delivery.is_for(unit.slot)).map(|delivery| &delivery.mail)
    }

    /// The messages of a unit that did not get to take them.
    pub(crate) fn undelivered(&self, unit: &Unit) -> impl Iterator<Item = Delivery> {
        self.mail(unit).map(|mail| Delivery { mail: mail.clone(), only: Some(unit.slot) })
    }
}

/// The runs of one script on one entity in one stage.
pub(crate) struct Unit {
    pub(crate) entity: Entity,
    /// Its place among the entity's states.
    pub(crate) slot: usize,
    pub(crate) program: Arc<Program>,
    pub(crate) started: bool,
    pub(crate) reload: bool,
    /// The deliveries to its entity; those for it are [`Frame::mail`].
    pub(crate) mail: std::ops::Range<usize>,
    /// `on_update` or `on_fixed_update`, with the seconds that passed.
    pub(crate) tick: Option<(Callback, f64)>,
    /// The state to say goodbye to; such a unit does nothing but `on_stop`.
    pub(crate) stop: Option<ScriptTable>,
    pub(crate) waiting: u32,
}

/// What came of a unit.
pub(crate) struct UnitOutcome {
    pub(crate) unit: usize,
    /// It did not run: no VM was to be had, or the frame's budget was spent.
    pub(crate) deferred: bool,
    pub(crate) started: bool,
    /// How many of its messages it took; the others wait for the next frame.
    pub(crate) mail_taken: usize,
    /// There was no VM for some of its runs, which stay due.
    pub(crate) unfinished: bool,
    /// What its runs did to its state.
    pub(crate) state: StateChange,
    pub(crate) effects: Effects,
    /// The entities that it spawned, once they have their places in the world.
    pub(crate) new: Vec<Entity>,
    pub(crate) failures: Vec<(Callback, Failure)>,
    /// The last run failed.
    pub(crate) failing: bool,
    /// The script is put aside now.
    pub(crate) put_aside: bool,
    pub(crate) times: Vec<Duration>,
}
