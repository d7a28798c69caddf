//! The resources that a frame's systems share, and their sets.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bevy::ecs::change_detection::Tick;
use bevy::prelude::{Entity, Resource, SystemSet, Transform};

use super::collect::order;
use super::messages::Delivery;
use super::plain::PlainQuery;
use super::programs::Programs;
use super::quiet::Found;
use crate::bindings::{ColumnQuery, Effects, Leaves, Mail, max_bytes_handed_over};
use crate::error::Failure;
use crate::pool::{ConfigError, PoolConfig, VmPool};
use crate::script::ScriptStates;
use crate::value::ScriptTable;
use crate::vm::{Callback, LuauFactory, Program, ProgramStats, RunLimits, StateChange, Vm};

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

    /// What became of programs in all its VMs: loaded, dropped, loaded again.
    #[must_use]
    pub fn programs(&self) -> ProgramStats {
        self.factory.programs()
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
    /// limits change, or the libraries and modules that scripts find.
    ///
    /// # Errors
    /// If it is not valid; then nothing has changed.
    pub fn set_config(&mut self, config: PoolConfig) -> Result<(), ConfigError> {
        self.pool.set_config(config.clone())?;
        let as_before = config.memory_limit == self.config.memory_limit
            && config.resting_memory() == self.config.resting_memory()
            && config.sandbox.offers_as(&self.config.sandbox);
        if !as_before {
            self.factory.set_memory_limit(config.memory_limit);
            self.factory.set_sandbox(&config.sandbox);
            self.factory.set_resting_memory(config.resting_memory());
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
    pub(crate) units: Vec<Unit>,
    /// The units of the stage before, which is over: their memory is used again.
    pub(crate) spare: Vec<Unit>,
    /// Entities that more than one unit belongs to, or one that stops.
    pub(crate) shared: Vec<Entity>,
    /// Units wait since an earlier frame.
    pub(crate) any_waits: bool,
    /// What the chunks of entities came to that were looked through.
    pub(crate) found: Vec<Found>,
    /// The programs of the units, by number.
    pub(crate) programs: Programs,
    /// The messages that are delivered in this stage, sorted by receiver.
    pub(crate) deliveries: Vec<Delivery>,
    /// One for each unit, in their order, once the stage was executed; empty ones after it was applied.
    pub(crate) outcomes: Vec<UnitOutcome>,
    /// The entities from which units descend.
    pub(crate) origins: Origins,
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
    /// The units whose outcomes are not plain, a bit for each.
    pub(crate) left: Vec<u64>,
    /// What the workers counted; one for each, and perhaps empty ones.
    pub(crate) tallies: Vec<Tally>,
}

impl Frame {
    /// The messages that a unit gets.
    pub(crate) fn mail(&self, unit: &Unit) -> impl Iterator<Item = &Mail> {
        let mail = unit.mail();
        let to_entity = self.deliveries[mail.start as usize..mail.end as usize].iter();
        to_entity.filter(|delivery| delivery.is_for(unit.slot())).map(|delivery| &delivery.mail)
    }

    /// The messages of a unit that did not get to take them.
    pub(crate) fn undelivered(&self, unit: &Unit) -> impl Iterator<Item = Delivery> {
        self.mail(unit).map(|mail| Delivery { mail: mail.clone(), only: Some(unit.slot()) })
    }

    /// What the runs of each program may use up, by number.
    pub(crate) fn limits(&self, config: &PoolConfig) -> Vec<RunLimits> {
        let programs = self.programs.list.iter();
        programs.map(|carried| RunLimits::of_script(config, carried.program.name())).collect()
    }

    /// Whether each program may write numbers that are not finite.
    pub(crate) fn allow_non_finite(&self, config: &PoolConfig) -> Vec<bool> {
        let allow = |path| config.sandbox.limits_of(path).allow_non_finite.unwrap_or(false);
        self.programs.list.iter().map(|carried| allow(carried.program.name())).collect()
    }

    pub(crate) fn program(&self, unit: &Unit) -> &Arc<Program> {
        &self.programs.list[unit.program as usize].program
    }
}

/// The entities from which others descend that scripts spawned. What one entity's descendants may spawn
/// together in a stage is what one run may, however many they are: so no script can make more and more of
/// itself. And when they have run for long, those that are left run in the next frame.
#[derive(Default)]
pub(crate) struct Origins {
    list: Vec<Origin>,
    numbers: HashMap<Entity, u32>,
}

/// What the descendants of one entity did in this stage.
#[derive(Default)]
struct Origin {
    units: u32,
    /// Nanoseconds that their long runs took, and all of them.
    long: AtomicU64,
    all: AtomicU64,
    /// Bytes that they handed over.
    bytes: AtomicUsize,
}

impl Origins {
    /// The long runs of all descendants of one entity may take so many times the limit of one run.
    const LONG_SHARE: u32 = 8;
    /// All of their runs may take so many times as much. Many short runs are what games are made of.
    const SHARE: u32 = 32;
    /// A run is long if it takes this part of its limit.
    const LONG: u32 = 64;
    /// They may hand over so many times what one run may.
    const BYTES: usize = 16;

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.numbers.clear();
    }

    /// Counts a unit; gives the origin's number.
    pub(crate) fn count(&mut self, origin: Option<Entity>) -> Option<u32> {
        let next = self.list.len() as u32;
        let number = *self.numbers.entry(origin?).or_insert(next);
        if number == next {
            self.list.push(Origin::default());
        }
        self.list[number as usize].units += 1;
        Some(number)
    }

    /// Gives each unit its share of what it may spawn, when all are counted.
    pub(crate) fn share_out(&self, units: &mut [Unit], together: usize) {
        if self.list.is_empty() {
            return;
        }
        let mut met = vec![0_u32; self.list.len()];
        for unit in units {
            let Some(more) = &mut unit.more else { continue };
            let Some(origin) = more.origin else { continue };
            let of_origin = self.list[origin as usize].units.max(1);
            let together = u32::try_from(together).unwrap_or(u32::MAX);
            let earlier = &mut met[origin as usize];
            more.spawns = together / of_origin + u32::from(*earlier < together % of_origin);
            *earlier += 1;
        }
    }

    /// Whether the descendants of a unit's origin have done enough in this stage.
    #[inline]
    pub(crate) fn are_spent(&self, unit: &Unit, limit: Duration, config: &PoolConfig) -> bool {
        unit.origin().is_some_and(|origin| {
            let Origin { long, all, bytes, .. } = &self.list[origin as usize];
            let took = |time: &AtomicU64| Duration::from_nanos(time.load(Ordering::Relaxed));
            took(long) > Self::LONG_SHARE * limit
                || took(all) > Self::SHARE * limit
                || bytes.load(Ordering::Relaxed) / Self::BYTES > max_bytes_handed_over(config)
        })
    }

    /// Adds a run of a unit.
    pub(crate) fn spend(&self, unit: &Unit, time: Duration, limit: Duration) {
        if let Some(origin) = unit.origin() {
            let origin = &self.list[origin as usize];
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            origin.all.fetch_add(nanos, Ordering::Relaxed);
            if time > limit / Self::LONG {
                origin.long.fetch_add(nanos, Ordering::Relaxed);
            }
        }
    }

    /// Adds what the runs of a unit handed over.
    pub(crate) fn hand_over(&self, unit: &Unit, bytes: usize) {
        if let Some(origin) = unit.origin() {
            self.list[origin as usize].bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// The runs of one script on one entity in one stage. There are many of them: what few units have is in a
/// box.
pub(crate) struct Unit {
    pub(crate) entity: Entity,
    /// The seconds that passed for it.
    pub(crate) delta: f64,
    pub(crate) more: Option<Box<MoreUnit>>,
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

/// What few units have.
pub(crate) struct MoreUnit {
    /// The deliveries to its entity; those for it are [`Frame::mail`].
    pub(crate) mail: Range<u32>,
    /// The number of the entity from which it descends, if a script spawned its entity.
    pub(crate) origin: Option<u32>,
    /// Entities that it may spawn in this stage.
    pub(crate) spawns: u32,
    /// The state to say goodbye to; such a unit does nothing but `on_stop`.
    pub(crate) stop: Option<ScriptTable>,
}

impl Default for MoreUnit {
    fn default() -> Self {
        Self { mail: 0..0, origin: None, spawns: u32::MAX, stop: None }
    }
}

impl Default for Unit {
    fn default() -> Self {
        Self::new(Entity::PLACEHOLDER, 0, 0)
    }
}

impl Unit {
    /// A unit that has nothing to do yet.
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

    /// The number of the entity from which it descends, if a script spawned its entity.
    #[inline]
    pub(crate) fn origin(&self) -> Option<u32> {
        self.more.as_ref()?.origin
    }

    /// Entities that it may spawn in this stage.
    #[inline]
    pub(crate) fn spawns(&self) -> u32 {
        self.more.as_ref().map_or(u32::MAX, |more| more.spawns)
    }

    /// The state to say goodbye to.
    pub(crate) fn stop(&self) -> Option<&ScriptTable> {
        self.more.as_ref()?.stop.as_ref()
    }

    pub(super) fn take_stop(&mut self) -> Option<ScriptTable> {
        self.more.as_mut()?.stop.take()
    }
}

/// What came of a unit. There are many of them: what few units have is in a box.
#[derive(Default)]
pub(crate) struct UnitOutcome {
    /// What its runs did to its state.
    pub(crate) state: StateChange,
    /// Leaves of components that it wrote.
    pub(crate) leaves: Leaves,
    pub(crate) more: Option<Box<MoreOutcome>>,
    /// It did not run: no VM was to be had, or the frame's budget was spent.
    pub(crate) deferred: bool,
    pub(crate) started: bool,
    /// There was a run.
    pub(crate) ran: bool,
    /// There was no VM for some of its runs, which stay due.
    pub(crate) unfinished: bool,
    /// The last run failed.
    pub(crate) failing: bool,
    /// The script is put aside now.
    pub(crate) put_aside: bool,
}

impl UnitOutcome {
    /// All that was due has run: one callback of a script that had started.
    #[inline]
    pub(crate) fn set_ran(&mut self, failing: bool) {
        self.deferred = false;
        self.unfinished = false;
        self.started = true;
        self.ran = true;
        self.failing = failing;
    }

    /// Whether it changes components of other entities than the unit's own.
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
    /// The numbers of the units whose outcomes reach out to other entities.
    pub(crate) reaching: Vec<usize>,
    /// Runs, by the numbers of the programs.
    pub(crate) runs: Vec<u64>,
    /// The times of some of them.
    pub(crate) times: Vec<(u32, Duration)>,
}

/// What came of a unit besides changed numbers.
#[derive(Default)]
pub(crate) struct MoreOutcome {
    /// How many of its messages it took; the others wait for the next frame.
    pub(crate) mail_taken: usize,
    pub(crate) effects: Effects,
    /// The entities that it spawned, once they have their places in the world.
    pub(crate) new: Vec<Entity>,
    pub(crate) failures: Vec<(Callback, Failure)>,
}
