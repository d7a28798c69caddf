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

use super::collect::{mix, order};
use super::frame::{Frame, LuaPool, Unit, UnitOutcome};
use crate::bindings::{Bindings, Effects, ScriptContext};
use crate::error::ScriptError;
use crate::pool::{DestroyReason, Lease};
use crate::script::ScriptStates;
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::{Call, Callback, Outcome, Program, RunLimits, Vm, with_native_stack};

/// Units that a worker takes at a time: few enough to spread the load, enough to make taking cheap.
const BATCH: usize = 64;

/// Messages that one script on one entity takes in a frame; the rest wait for the next.
const MAX_MESSAGES_TAKEN: usize = 1024;

/// Runs all units of [`Frame`] and puts their outcomes there, in the order of the units.
pub(crate) fn execute(world: &mut World) {
    let mut frame = std::mem::take(&mut *world.resource_mut::<Frame>());
    if !frame.units.is_empty() {
        let registry = world.resource::<AppTypeRegistry>().clone();
        let pool = world.resource::<LuaPool>().clone();
        let stage = ExecutingStage {
            world,
            frame: &frame,
            bindings: world.resource(),
            registry: &registry.read(),
            limits: RunLimits::from(pool.config()),
            deadline: pool.config().frame_budget.map(|budget| Instant::now() + budget),
            pool: &pool,
        };
        let (outcomes, leased) = stage.run();
        frame.outcomes = outcomes;
        frame.leased = leased;
    }
    *world.resource_mut::<Frame>() = frame;
}

/// All that the workers of one stage share, read-only.
struct ExecutingStage<'w> {
    world: &'w World,
    frame: &'w Frame,
    bindings: &'w Bindings,
    registry: &'w TypeRegistry,
    pool: &'w LuaPool,
    limits: RunLimits,
    deadline: Option<Instant>,
}

impl ExecutingStage<'_> {
    fn run(&self) -> (Vec<UnitOutcome>, usize) {
        let units = &self.frame.units;
        // Who has waited longest goes first; where nobody has, this is the stable order.
        let mut order: Vec<usize> = (0..units.len()).collect();
        order.sort_by_key(|unit| std::cmp::Reverse(units[*unit].waiting));
        let batches: Vec<&[usize]> = order.chunks(BATCH).collect();

        let tasks = ComputeTaskPool::get();
        let workers =
            batches.len().min(self.pool.config().max_size).min(tasks.thread_num() + 1).max(1);
        let next = AtomicUsize::new(0);
        let leased = AtomicUsize::new(0);
        let outcomes = Mutex::new(Vec::with_capacity(units.len()));
        tasks.scope(|scope| {
            for _ in 0..workers {
                scope.spawn(async {
                    let done = with_native_stack(|| self.work(&batches, &next, &leased));
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).extend(done);
                });
            }
        });
        let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);

        // What no worker took: there was no VM.
        let untaken = next.load(Ordering::Relaxed).min(batches.len());
        outcomes.extend(batches[untaken..].iter().copied().flatten().map(|unit| deferred(*unit)));
        outcomes.sort_unstable_by_key(|outcome| outcome.unit);
        (outcomes, leased.into_inner())
    }

    /// Takes batches until none is left. Without a VM it takes none: others may have one.
    fn work(
        &self,
        batches: &[&[usize]],
        next: &AtomicUsize,
        leased: &AtomicUsize,
    ) -> Vec<UnitOutcome> {
        let mut outcomes = Vec::new();
        // Most likely this will be its first batch.
        let Some(batch) = batches.get(next.load(Ordering::Relaxed)) else {
            return outcomes;
        };
        let mut lease = self.acquire(&self.frame.units[batch[0]].program);
        if lease.is_some() {
            leased.fetch_add(1, Ordering::Relaxed);
        }
        while lease.is_some() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(number) else {
                break;
            };
            outcomes.reserve(batch.len());
            for (place, unit) in batch.iter().enumerate() {
                // Who has waited longest runs however late it is: everybody does in the end.
                let first = (number, place) == (0, 0);
                let runs = (first || !self.is_late()) && lease.is_some();
                outcomes.push(if runs {
                    self.run_unit(*unit, &mut lease)
                } else {
                    deferred(*unit)
                });
                if lease.as_ref().is_some_and(|vm| vm.is_spent()) {
                    self.replace(&mut lease, &self.frame.units[*unit].program);
                }
            }
        }
        outcomes
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
            Some(state) => Some(state),
            None => self
                .world
                .get::<ScriptStates>(unit.entity)
                .and_then(|states| states.states.get(unit.slot))
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
            ),
            before: state.unwrap_or(&empty),
            state: None,
            failures: Vec::new(),
            failing: false,
            times: Vec::with_capacity(1),
            mail_taken: 0,
            unfinished: false,
        };
        let started = runs.all(lease);
        UnitOutcome {
            unit: index,
            deferred: false,
            started,
            mail_taken: runs.mail_taken,
            unfinished: runs.unfinished,
            state: runs.state,
            effects: runs.context.effects,
            failures: runs.failures,
            failing: runs.failing,
            times: runs.times,
        }
    }
}

fn deferred(unit: usize) -> UnitOutcome {
    UnitOutcome {
        unit,
        deferred: true,
        started: false,
        mail_taken: 0,
        unfinished: true,
        state: None,
        effects: Effects::default(),
        failures: Vec::new(),
        failing: false,
        times: Vec::new(),
    }
}

/// The runs of one unit, one after another: each sees what the earlier ones wrote.
struct UnitRuns<'s> {
    stage: &'s ExecutingStage<'s>,
    unit: &'s Unit,
    context: ScriptContext<'s>,
    before: &'s ScriptTable,
    state: Option<ScriptTable>,
    failures: Vec<(Callback, crate::error::Failure)>,
    failing: bool,
    times: Vec<Duration>,
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
            if self.mail_taken > 0 && stage.is_late() {
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
        if let Some((tick, delta)) = self.unit.tick {
            self.one(vm, tick, &[delta.into()]);
        }
        true
    }

    /// Runs one callback if the script defines it; gives whether it did not fail.
    fn one(
        &mut self,
        lease: &mut Option<Lease<Vm>>,
        callback: Callback,
        args: &[ScriptValue],
    ) -> bool {
        let program = &self.unit.program;
        if program.callbacks().is_some_and(|known| !known.contains(callback)) {
            return true;
        }
        let seed = self.seed(callback);
        let mut outcome = None;
        let mut time = Duration::ZERO;
        let logs = self.context.effects.logs.len();
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
            let state = self.state.as_ref().unwrap_or(self.before);
            self.context.effects.logs.truncate(logs);
            let before = self.context.begin_run();
            let call = Call { callback, state, args, seed };
            let result = vm.run(program, call, &mut self.context, &self.stage.limits);
            if matches!(result, Outcome::Failed(_)) {
                self.context.effects.roll_back(before);
            }
            time = vm.last_run_time();
            let out_of_memory = matches!(&result, Outcome::Failed(failure)
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
            Some(Outcome::Missing) => return true,
            Some(Outcome::Done(state)) => {
                self.state = Some(state);
                self.failing = false;
            }
            Some(Outcome::Failed(failure)) => {
                self.failures.push((callback, failure));
                self.failing = true;
            }
        }
        self.times.push(time);
        !self.failing
    }

    /// Puts a fresh VM into the lease; gives whether that worked.
    fn renew(&self, lease: &mut Lease<Vm>) -> bool {
        let memory_limit = self.stage.pool.config().memory_limit;
        Vm::new(self.stage.bindings.api(), memory_limit)
            .map(|vm| **lease = vm.in_place_of(lease))
            .is_ok()
    }

    /// Depends on the world's seed, the stage, the entity, the script, the callback, and on which run of
    /// it this is; not on the VM or on who ran before.
    fn seed(&self, callback: Callback) -> u64 {
        let unit = self.unit;
        let who = FixedHasher.hash_one((order(unit.entity), unit.program.name(), unit.slot));
        // A missing callback is not a run: whether it had to be looked for depends on others.
        let number = self.times.len() as u64;
        mix(self.stage.frame.seed ^ who ^ mix(number << 8 | callback as u64))
    }
}
