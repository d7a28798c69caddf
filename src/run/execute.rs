//! Runs what is due, in parallel, on pooled VMs. Nothing in the world changes meanwhile.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bevy::ecs::reflect::AppTypeRegistry;
use bevy::platform::hash::FixedHasher;
use bevy::prelude::World;
use bevy::reflect::TypeRegistry;
use bevy::tasks::ComputeTaskPool;
use smallvec::SmallVec;

use super::collect::{mix, order};
use super::frame::{Frame, LuaPool, MoreOutcome, Unit, UnitOutcome};
use crate::bindings::{Bindings, ScriptContext};
use crate::error::ScriptError;
use crate::pool::{DestroyReason, Lease, VmFactory};
use crate::script::ScriptStates;
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::{Call, Callback, Program, Ran, RunLimits, StateChange, Vm, with_native_stack};

/// Units that a worker takes at a time: few enough to spread the load, enough to make taking cheap.
const BATCH: usize = 64;

/// Messages that one script on one entity takes in a frame; the rest wait for the next.
const MAX_MESSAGES_TAKEN: usize = 1024;

/// A script on one entity takes messages until it has used so many times what one run may use.
const REPLETE: u32 = 4;

/// Runs all units of [`Frame`] and puts their outcomes there, in the order of the units.
pub(crate) fn execute(world: &mut World) {
    let mut frame = std::mem::take(&mut *world.resource_mut::<Frame>());
    if !frame.units.is_empty() {
        let registry = world.resource::<AppTypeRegistry>().clone();
        let pool = world.resource::<LuaPool>().clone();
        let mut outcomes = std::mem::take(&mut frame.outcomes);
        outcomes.resize_with(frame.units.len(), UnitOutcome::default);
        let stage = ExecutingStage {
            world,
            frame: &frame,
            bindings: world.resource(),
            registry: &registry.read(),
            limits: frame.limits(pool.config()),
            deadline: pool.config().frame_budget.map(|budget| Instant::now() + budget),
            pool: &pool,
            leased: AtomicUsize::new(0),
        };
        stage.run(&mut outcomes);
        frame.leased = stage.leased.into_inner();
        frame.outcomes = outcomes;
    } else {
        frame.outcomes.clear();
    }
    frame.executed = Some(world.increment_change_tick());
    *world.resource_mut::<Frame>() = frame;
}

/// All that the workers of one stage share, read-only.
struct ExecutingStage<'w> {
    world: &'w World,
    frame: &'w Frame,
    bindings: &'w Bindings,
    registry: &'w TypeRegistry,
    pool: &'w LuaPool,
    /// Of each program, by number.
    limits: Vec<RunLimits>,
    deadline: Option<Instant>,
    /// How many workers had a VM.
    leased: AtomicUsize,
}

/// Units, or none where a batch has those that lie side by side, with room for what comes of them.
struct Batch<'f> {
    first: usize,
    outcomes: &'f mut [UnitOutcome],
}

impl ExecutingStage<'_> {
    /// Runs all units; their outcomes are in their order afterwards.
    fn run(&self, outcomes: &mut [UnitOutcome]) {
        let units = &self.frame.units;
        // Who has waited longest goes first; where nobody has, this is the stable order.
        let order = units.iter().any(|unit| unit.waiting > 0).then(|| {
            let mut order: Vec<usize> = (0..units.len()).collect();
            order.sort_by_key(|unit| std::cmp::Reverse(units[*unit].waiting));
            order
        });
        let order = order.as_deref();

        let tasks = ComputeTaskPool::get();
        let batches = outcomes.len().div_ceil(BATCH);
        let workers = batches.min(self.pool.config().max_size).min(tasks.thread_num() + 1).max(1);
        let batches = Mutex::new(outcomes.chunks_mut(BATCH).zip((0..).step_by(BATCH)));
        tasks.scope(|scope| {
            for _ in 0..workers {
                scope.spawn(async {
                    with_native_stack(|| {
                        self.work(order, || {
                            let mut batches =
                                batches.lock().unwrap_or_else(PoisonError::into_inner);
                            let (outcomes, first) = batches.next()?;
                            Some(Batch { first, outcomes })
                        });
                    });
                });
            }
        });
        // What no worker took: there was no VM.
        let untaken = batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        for outcome in untaken.flat_map(|(outcomes, _)| outcomes) {
            *outcome = deferred();
        }
        if let Some(order) = order {
            let mut sorted = Vec::new();
            sorted.resize_with(outcomes.len(), UnitOutcome::default);
            for (outcome, unit) in outcomes.iter_mut().zip(order) {
                sorted[*unit] = std::mem::take(outcome);
            }
            outcomes.swap_with_slice(&mut sorted);
        }
    }

    /// Takes batches until none is left. Without a VM it takes none: others may have one.
    fn work<'f>(&self, order: Option<&[usize]>, next: impl Fn() -> Option<Batch<'f>>) {
        let unit = |place: usize| order.map_or(place, |order| order[place]);
        // A VM that ran the script of the first units is as good a guess as any.
        let mut lease = self.acquire(self.program(unit(0)));
        if lease.is_some() {
            self.leased.fetch_add(1, Ordering::Relaxed);
        }
        while lease.is_some()
            && let Some(Batch { first, outcomes }) = next()
        {
            for (place, outcome) in (first..).zip(outcomes) {
                // Who has waited longest runs however late it is: everybody does in the end.
                let number = unit(place);
                let unit = &self.frame.units[number];
                let runs = (place == 0 || !self.is_late())
                    && lease.is_some()
                    && !self.frame.origins.is_spent(unit, self.limits_of(unit).time);
                *outcome = if runs { self.run_unit(number, &mut lease) } else { deferred() };
                if lease.as_ref().is_some_and(|vm| vm.is_spent()) {
                    self.replace(&mut lease, self.program(number));
                }
            }
        }
    }

    fn program(&self, unit: usize) -> &Program {
        self.frame.program(&self.frame.units[unit])
    }

    fn limits_of(&self, unit: &Unit) -> &RunLimits {
        &self.limits[unit.program as usize]
    }

    /// Whether the frame's budget is spent.
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// A VM, one that ran the program last if there is one. Whyever there is none: what would have
    /// run on it runs in the next frame.
    fn acquire(&self, program: &Program) -> Option<Lease<Vm>> {
        self.pool.pool.acquire_for(program.name()).ok()
    }

    /// Throws a spent VM away and takes another.
    fn replace(&self, lease: &mut Option<Lease<Vm>>, program: &Program) {
        if let Some(spent) = lease.take() {
            Lease::discard(spent, DestroyReason::Spent);
        }
        *lease = self.acquire(program);
    }

    fn run_unit(&self, index: usize, lease: &mut Option<Lease<Vm>>) -> UnitOutcome {
        let unit = &self.frame.units[index];
        let config = self.pool.config();
        let state = match &unit.stop {
            Some(state) => Some(&**state),
            None => self
                .world
                .get::<ScriptStates>(unit.entity)
                .and_then(|states| states.states.get(unit.slot()))
                .map(|state| &state.fields),
        };
        let empty = ScriptTable::default();
        let mut runs = UnitRuns {
            stage: self,
            unit,
            context: ScriptContext::new(
                self.world,
                self.bindings,
                self.registry,
                config,
                unit.entity,
                unit.spawns as usize,
            ),
            before: state.unwrap_or(&empty),
            state: StateChange::Unchanged,
            current: None,
            failures: Vec::new(),
            failing: false,
            times: SmallVec::new(),
            mail_taken: 0,
            unfinished: false,
        };
        let started = runs.all(lease);
        self.frame.origins.spend(unit, &runs.times, self.limits_of(unit).time);
        let mut effects = runs.context.effects;
        let leaves = std::mem::take(&mut effects.leaves);
        let any = !effects.is_plain() || !runs.failures.is_empty() || runs.mail_taken > 0;
        UnitOutcome {
            state: runs.state,
            leaves,
            times: runs.times,
            more: any.then(|| {
                Box::new(MoreOutcome {
                    mail_taken: runs.mail_taken,
                    effects,
                    new: Vec::new(),
                    failures: runs.failures,
                })
            }),
            deferred: false,
            started,
            unfinished: runs.unfinished,
            failing: runs.failing,
            put_aside: false,
        }
    }
}

fn deferred() -> UnitOutcome {
    UnitOutcome { deferred: true, unfinished: true, ..UnitOutcome::default() }
}

/// The runs of one unit, one after another: each sees what the earlier ones wrote.
struct UnitRuns<'s> {
    stage: &'s ExecutingStage<'s>,
    unit: &'s Unit,
    context: ScriptContext<'s>,
    before: &'s ScriptTable,
    /// What the runs so far did to it.
    state: StateChange,
    /// The state as the runs so far left it, once there was more than one.
    current: Option<ScriptTable>,
    failures: Vec<(Callback, crate::error::Failure)>,
    failing: bool,
    times: SmallVec<[u32; 2]>,
    mail_taken: usize,
    /// There was no VM for the rest.
    unfinished: bool,
}

impl UnitRuns<'_> {
    /// Runs all that is due; gives whether the script has started.
    fn all(&mut self, vm: &mut Option<Lease<Vm>>) -> bool {
        if self.unit.stop.is_some() {
            self.one(vm, Callback::Stop, &[]);
            return true;
        }
        if !self.unit.started && !self.one(vm, Callback::Start, &[]) {
            return false;
        }
        if self.unit.reload {
            self.one(vm, Callback::Reload, &[]);
            if self.unfinished {
                return true;
            }
        }
        let stage = self.stage;
        for mail in stage.frame.mail(self.unit).take(MAX_MESSAGES_TAKEN) {
            // One at least, so that a small budget delays messages and doesn't stop them.
            if self.mail_taken > 0 && (stage.is_late() || self.is_replete()) {
                break;
            }
            let sender = mail.sender.map_or(ScriptValue::Nil, Into::into);
            let args = [mail.name.as_str().into(), mail.payload.clone(), sender];
            self.one(vm, Callback::Message, &args);
            if self.unfinished {
                return true;
            }
            self.mail_taken += 1;
        }
        if self.unit.ticks {
            let tick = stage.frame.stage.callback();
            self.one(vm, tick, &[self.unit.delta.into()]);
        }
        true
    }

    /// Whether the runs so far have used up what one script on one entity may use in one stage, so that
    /// further messages wait for the next frame.
    fn is_replete(&self) -> bool {
        let spent: u64 = self.times.iter().map(|time| u64::from(*time)).sum();
        Duration::from_nanos(spent) > REPLETE * self.stage.limits_of(self.unit).time
            || self.context.is_replete(REPLETE as usize)
    }

    /// Runs one callback if the script defines it; gives whether it did not fail.
    fn one(
        &mut self,
        lease: &mut Option<Lease<Vm>>,
        callback: Callback,
        args: &[ScriptValue],
    ) -> bool {
        let program = self.stage.frame.program(self.unit);
        if program.callbacks().is_some_and(|known| !known.contains(callback)) {
            return true;
        }
        let seed = self.seed(callback);
        let mut outcome = None;
        let mut time = Duration::ZERO;
        let logs = self.context.effects.logs.len();
        if self.current.is_none()
            && matches!(self.state, StateChange::Number(..) | StateChange::Fields(_))
        {
            self.current = Some(self.state.clone().applied_to(self.before));
        }
        // A run that ran out of memory on a used VM gets a second chance on a fresh one, so that the
        // verdict doesn't depend on who ran before.
        for attempt in 0..2 {
            if lease.as_ref().is_none_or(|vm| vm.is_spent()) {
                self.stage.replace(lease, program);
            }
            let Some(vm) = lease else { break };
            if attempt > 0 && vm.runs() > 0 && !self.renew(vm) {
                break;
            }
            let used = vm.runs() > 0;
            let state = match (&self.current, &self.state) {
                (Some(current), _) => current,
                (None, StateChange::Replaced(state)) => state,
                (None, _) => self.before,
            };
            self.context.effects.logs.truncate(logs);
            let call = Call { callback, state, args, seed };
            let limits = self.stage.limits_of(self.unit);
            let result = vm.run_change(program, call, &mut self.context, limits);
            if matches!(result, Ran::Failed(_)) {
                self.context.roll_back();
            }
            time = vm.last_run_time();
            let out_of_memory = matches!(&result, Ran::Failed(failure)
                if matches!(failure.error, ScriptError::OutOfMemory { .. }));
            outcome = Some(result);
            if !(used && out_of_memory) {
                break;
            }
        }
        match outcome {
            None => {
                self.unfinished = true;
                return false;
            }
            Some(Ran::Missing) => return true,
            Some(Ran::Done(change)) => {
                self.keep(change);
                self.failing = false;
            }
            Some(Ran::Failed(failure)) => {
                self.failures.push((callback, failure));
                self.failing = true;
            }
        }
        self.times.push(u32::try_from(time.as_nanos()).unwrap_or(u32::MAX));
        !self.failing
    }

    /// Keeps what a run did to the state, on top of what the runs before it did.
    fn keep(&mut self, change: StateChange) {
        let earlier = std::mem::take(&mut self.state);
        self.state = match (earlier, change) {
            (earlier, StateChange::Unchanged) => earlier,
            (StateChange::Unchanged, change) => change,
            (earlier, change) => {
                let now = self.current.take().unwrap_or_else(|| earlier.applied_to(self.before));
                StateChange::Replaced(change.applied_to(&now).into())
            }
        };
    }

    /// Puts a fresh VM into the lease; gives whether that worked.
    fn renew(&self, lease: &mut Lease<Vm>) -> bool {
        let factory = &self.stage.pool.factory;
        factory.create().map(|vm| **lease = vm.in_place_of(lease)).is_ok()
    }

    /// Depends on the world's seed, the stage, the entity, the script, the callback, and on which run of
    /// it this is; not on the VM or on who ran before.
    fn seed(&self, callback: Callback) -> u64 {
        let unit = self.unit;
        let who = FixedHasher.hash_one((
            order(unit.entity),
            self.stage.frame.program(unit).name(),
            unit.slot(),
        ));
        // A missing callback is not a run: whether it had to be looked for depends on others.
        let number = self.times.len() as u64;
        mix(self.stage.frame.seed ^ who ^ mix(number << 8 | callback as u64))
    }
}
