//! Runs what is due, in parallel, on pooled VMs. Nothing in the world changes meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bevy::ecs::reflect::AppTypeRegistry;
use bevy::prelude::{Transform, World};
use bevy::reflect::TypeRegistry;
use bevy::tasks::ComputeTaskPool;

use super::collect::mix;
use super::counts::Counts;
use super::frame::{Frame, LuaPool, MoreOutcome, Tally, Unit, UnitOutcome};
use super::row::{Batch, UnitRow, sort};
use crate::bindings::{Bindings, Column, Effects, ScriptContext};
use crate::error::{Failure, ScriptError};
use crate::pool::{DestroyReason, Lease};
use crate::script::ScriptStates;
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::{
    Call, Callback, Engaged, Program, Ran, RowEnd, RunLimits, StateChange, Vm, engage,
};

/// Units that a worker takes at a time, at least.
const BATCH: usize = 64;

/// Into how many batches the share of a worker is divided, so that none has much to do when the others are
/// done, and the most units in one: those lie side by side in memory, and where they do, the processor knows
/// what comes next.
const ALIKE: (usize, usize) = (16, 1024);

/// The same where units of different scripts are mixed: of many, more are of one script.
const MIXED: (usize, usize) = (2, 8192);

/// Messages that one script on one entity takes in a frame; the rest wait for the next.
const MAX_MESSAGES_TAKEN: usize = 1024;

/// Bytes that all runs of one stage may hand over; what comes after them runs in the next frame.
const MAX_STAGE_BYTES: usize = 256 * 1024 * 1024;

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
        let tallies = std::mem::take(&mut frame.tallies);
        let columns = frame.columns.take();
        let (mut states, mut transforms) =
            columns.unwrap_or_else(|| (world.query(), world.query()));
        let stage = ExecutingStage {
            world,
            frame: &frame,
            states: Column::new(world, &mut states),
            transforms: &Column::new(world, &mut transforms),
            bindings: world.resource(),
            registry: &registry.read(),
            limits: frame.limits(pool.config()),
            deadline: pool.config().frame_budget.map(|budget| Instant::now() + budget),
            pool: &pool,
            leased: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            tallies: Mutex::new(tallies),
        };
        stage.run(&mut outcomes);
        let tallies = stage.tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
        frame.leased = stage.leased.into_inner();
        frame.tallies = tallies;
        frame.columns = Some((states, transforms));
        frame.outcomes = outcomes;
    } else {
        frame.outcomes.clear();
    }
    frame.executed = Some(world.increment_change_tick());
    *world.resource_mut::<Frame>() = frame;
}

/// All that the workers of one stage share, read-only.
pub(super) struct ExecutingStage<'w> {
    pub(super) world: &'w World,
    pub(super) frame: &'w Frame,
    pub(super) states: Column<'w, ScriptStates>,
    transforms: &'w Column<'w, Transform>,
    bindings: &'w Bindings,
    registry: &'w TypeRegistry,
    pool: &'w LuaPool,
    /// Of each program, by number.
    limits: Vec<RunLimits>,
    pub(super) deadline: Option<Instant>,
    /// How many workers had a VM.
    leased: AtomicUsize,
    /// Bytes that the runs handed over in messages, components and log lines.
    bytes: AtomicUsize,
    /// What the workers count, while none of them counts in it.
    tallies: Mutex<Vec<Tally>>,
}

impl<'w> ExecutingStage<'w> {
    /// Runs all units; their outcomes are in their order afterwards.
    fn run(&self, outcomes: &mut [UnitOutcome]) {
        let units = &self.frame.units;
        // Who has waited longest goes first; where nobody has, this is the stable order.
        let order = self.frame.any_waits.then(|| {
            let mut order: Vec<usize> = (0..units.len()).collect();
            order.sort_by_key(|unit| std::cmp::Reverse(units[*unit].waiting));
            order
        });
        let order = order.as_deref();

        let tasks = ComputeTaskPool::get();
        let batches = outcomes.len().div_ceil(BATCH);
        let workers = batches.min(self.pool.config().max_size).min(tasks.thread_num() + 1).max(1);
        // Units of different scripts are sorted within their batch.
        let sorts = order.is_none()
            && self.frame.programs.list.iter().filter(|program| program.in_use).nth(1).is_some();
        let (shares, largest) = if sorts { MIXED } else { ALIKE };
        let size = match order {
            None => (outcomes.len() / (workers * shares)).clamp(BATCH, largest),
            // Those who have waited are to go first on all threads.
            Some(_) => BATCH,
        };
        let batches = Mutex::new(outcomes.chunks_mut(size).zip((0..).step_by(size)));
        tasks.scope(|scope| {
            for _ in 0..workers {
                scope.spawn(async {
                    engage(|engaged| {
                        let next = || {
                            let mut batches =
                                batches.lock().unwrap_or_else(PoisonError::into_inner);
                            batches.next()
                        };
                        self.worker(engaged).work(order, sorts, next);
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

    fn worker<'s>(&'s self, engaged: &'s Engaged) -> Worker<'s> {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody takes were emptied when they were reported.
        let mut tally = tallies.pop().unwrap_or_default();
        tally.runs.resize(self.frame.programs.list.len(), 0);
        Worker {
            stage: self,
            engaged,
            context: ScriptContext::new(
                self.world,
                self.bindings,
                self.registry,
                self.pool.config(),
                self.transforms,
            ),
            lease: None,
            counts: Counts::new(tally, self.is_late()),
        }
    }

    fn program(&self, unit: usize) -> &Program {
        self.frame.program(&self.frame.units[unit])
    }

    /// What the runs of a unit may use up.
    #[inline]
    pub(super) fn limits(&self, unit: &Unit) -> &RunLimits {
        &self.limits[unit.program as usize]
    }

    /// Whether a unit may still run in this stage: what the runs handed over so far is not all that a stage may
    /// hold, and all that descend from where the unit does have not run for long enough.
    #[inline]
    pub(super) fn may_run(&self, unit: &Unit) -> bool {
        self.bytes.load(Ordering::Relaxed) <= MAX_STAGE_BYTES
            && !self.frame.origins.are_spent(unit, self.limits(unit).time, self.pool.config())
    }

    /// Where the random numbers of a run start. Depends on the world's seed, the stage, the entity, the script,
    /// the callback, and on which run of the unit this is; not on the VM or on who ran before.
    #[inline]
    pub(super) fn seed(&self, unit: &Unit, callback: Callback, run: u32) -> u64 {
        let which = u64::from(unit.slot) << 40 | u64::from(run) << 8 | callback as u64;
        let who = mix(unit.entity.to_bits() ^ self.frame.program(unit).name_hash());
        mix(self.frame.seed ^ who ^ mix(which))
    }

    /// Moves what the runs of a unit want to change to its outcome.
    #[inline]
    pub(super) fn hand_over(
        &self,
        unit: &Unit,
        context: &mut ScriptContext<'_>,
        outcome: &mut UnitOutcome,
    ) {
        let bytes = context.bytes_handed_over();
        if bytes > 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.frame.origins.hand_over(unit, bytes);
        }
        let effects = &mut context.effects;
        if !effects.leaves.is_empty() {
            outcome.leaves = std::mem::take(&mut effects.leaves);
        }
        if effects.is_plain() {
            return;
        }
        let effects = std::mem::take(&mut context.effects);
        outcome.more = Some(Box::new(MoreOutcome { effects, ..MoreOutcome::default() }));
    }

    /// Whether the frame's budget is spent.
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// One thread that runs units.
struct Worker<'s> {
    stage: &'s ExecutingStage<'s>,
    engaged: &'s Engaged,
    /// The world as the unit sees it whose turn it is.
    context: ScriptContext<'s>,
    lease: Option<Lease<Vm>>,
    counts: Counts,
}

impl<'s> Worker<'s> {
    /// Takes batches until none is left. Without a VM it takes none: others may have one.
    fn work<'f>(
        mut self,
        order: Option<&[usize]>,
        sorts: bool,
        next: impl Fn() -> Option<(&'f mut [UnitOutcome], usize)>,
    ) {
        let stage = self.stage;
        // A VM that ran the script of the first units is as good a guess as any.
        self.acquire(stage.program(order.map_or(0, |order| order[0])));
        if self.lease.is_some() {
            stage.leased.fetch_add(1, Ordering::Relaxed);
        }
        let mut turns = Vec::new();
        while self.lease.is_some()
            && let Some((outcomes, first)) = next()
        {
            if sorts {
                sort(&stage.frame.units[first..first + outcomes.len()], &mut turns);
            }
            let mut batch = Batch { first, outcomes, order, turns: &turns, done: 0 };
            while let Some((unit, _)) = batch.at(batch.done) {
                // Who has waited longest runs however late it is: everybody does in the end.
                let in_time = batch.is_first() || !self.counts.is_late(stage);
                let runs = in_time && stage.may_run(&stage.frame.units[unit]);
                if !runs || self.lease.is_none() {
                    *batch.take() = deferred();
                } else if !self.run_row(unit, &mut batch) {
                    self.run_unit(unit, batch.take(), None);
                }
                if self.lease.as_ref().is_some_and(|vm| vm.is_spent()) {
                    self.replace(stage.program(unit));
                }
            }
        }
        let tally = self.counts.into_tally();
        stage.tallies.lock().unwrap_or_else(PoisonError::into_inner).push(tally);
    }

    /// Takes a VM, one that ran the program last if there is one. Whyever there is none: what would have
    /// run on it runs in the next frame.
    fn acquire(&mut self, program: &Program) {
        self.lease = self.stage.pool.pool.acquire_for(program.name()).ok();
    }

    /// Throws a spent VM away and takes another.
    fn replace(&mut self, program: &Program) {
        if let Some(spent) = self.lease.take() {
            Lease::discard(spent, DestroyReason::Spent);
        }
        self.acquire(program);
    }

    /// Takes a VM that nobody used in the place of the one that it has; gives whether that worked.
    fn renew(&mut self) -> bool {
        let lease = self.lease.take();
        self.lease = lease.and_then(|lease| Lease::renew(lease, DestroyReason::Spent).ok());
        self.lease.is_some()
    }

    /// Runs units that are alike from one on, if they are of the common kind: gives whether it ran any.
    fn run_row(&mut self, unit: usize, batch: &mut Batch<'_>) -> bool {
        let stage = self.stage;
        let kind = &stage.frame.units[unit];
        let Some(vm) = &mut self.lease else { return false };
        let program = stage.program(unit);
        let callback = stage.frame.stage.callback();
        if !kind.only_ticks() || vm.is_spent() || !vm.is_ready_for(program, callback) {
            return false;
        }
        let before = batch.done;
        let mut row = UnitRow {
            stage,
            counts: &mut self.counts,
            batch,
            program: kind.program,
            callback,
            began: false,
            current: None,
            next: None,
        };
        let host_and_row = (&mut self.context, &mut row);
        let limits = stage.limits(kind);
        let end = vm.run_row(program, callback, limits, host_and_row, self.engaged);
        let fresh = vm.runs() <= 1;
        let current = row.current;
        let (ran, used) = match end {
            RowEnd::Done => return batch.done > before,
            RowEnd::Again(used) => (None, Some(used)),
            // As in `UnitRuns::one`.
            RowEnd::With(ran) if !fresh && is_out_of_memory(&ran) && self.renew() => (None, None),
            RowEnd::With(ran) => (Some(ran), None),
        };
        // Something else may have gone wrong before the first one began.
        let Some(index) = current else { return false };
        let outcome = batch.take();
        let Some(ran) = ran else {
            self.context.effects = Effects::default();
            self.run_unit(index, outcome, used);
            return true;
        };
        let unit = &stage.frame.units[index];
        self.counts.ran(stage, unit);
        let mut failures = Vec::new();
        match ran {
            Ran::Missing => {}
            Ran::Done(change) => outcome.state = change,
            Ran::Failed(failure) => {
                self.context.roll_back();
                failures.push((callback, *failure));
            }
        }
        outcome.set_ran(!failures.is_empty());
        stage.hand_over(unit, &mut self.context, outcome);
        if outcome.failing {
            outcome.more.get_or_insert_default().failures = failures;
        }
        self.counts.note_reach(index, unit, outcome);
        true
    }

    fn run_unit(&mut self, index: usize, outcome: &mut UnitOutcome, used: Option<Duration>) {
        let unit = &self.stage.frame.units[index];
        let entity = self.stage.world.get_entity(unit.entity).ok();
        self.context.turn_to(unit.entity, entity, unit.spawns());
        let state = match unit.stop() {
            Some(state) => Some(state),
            None => entity
                .and_then(|entity| self.stage.states.get(entity.location()))
                .and_then(|states| states.states.get(unit.slot()))
                .map(|state| &state.fields),
        };
        let empty = ScriptTable::default();
        let mut runs = UnitRuns {
            worker: self,
            unit,
            before: state.unwrap_or(&empty),
            state: StateChange::Unchanged,
            current: None,
            failures: Vec::new(),
            failing: false,
            ran: 0,
            used,
            spent: Duration::ZERO,
            mail_taken: 0,
            unfinished: false,
        };
        outcome.started = runs.all();
        let UnitRuns { state, failures, failing, ran, mail_taken, unfinished, .. } = runs;
        outcome.state = state;
        outcome.failing = failing;
        outcome.unfinished = unfinished;
        outcome.ran = ran > 0;
        self.stage.hand_over(unit, &mut self.context, outcome);
        if !failures.is_empty() || mail_taken > 0 {
            let more = outcome.more.get_or_insert_default();
            (more.failures, more.mail_taken) = (failures, mail_taken);
        }
        self.counts.note_reach(index, unit, outcome);
    }
}

fn deferred() -> UnitOutcome {
    UnitOutcome { deferred: true, unfinished: true, ..UnitOutcome::default() }
}

/// The runs of one unit, one after another: each sees what the earlier ones wrote.
struct UnitRuns<'u, 's> {
    worker: &'u mut Worker<'s>,
    unit: &'s Unit,
    before: &'u ScriptTable,
    /// What the runs so far did to it.
    state: StateChange,
    /// The state as the runs so far left it, once there was more than one.
    current: Option<ScriptTable>,
    failures: Vec<(Callback, Failure)>,
    failing: bool,
    /// How many there were.
    ran: u32,
    /// Time that the first one has used already, in another way.
    used: Option<Duration>,
    /// How long those took that were timed.
    spent: Duration,
    mail_taken: usize,
    /// There was no VM for the rest.
    unfinished: bool,
}

impl UnitRuns<'_, '_> {
    /// Runs all that is due; gives whether the script has started.
    fn all(&mut self) -> bool {
        if self.unit.stop().is_some() {
            self.one(Callback::Stop, &[]);
            return true;
        }
        if !self.unit.started && !self.one(Callback::Start, &[]) {
            return false;
        }
        if self.unit.reload {
            self.one(Callback::Reload, &[]);
            if self.unfinished {
                return true;
            }
        }
        let stage = self.worker.stage;
        for mail in stage.frame.mail(self.unit).take(MAX_MESSAGES_TAKEN) {
            // One at least, so that a small budget delays messages and doesn't stop them.
            if self.mail_taken > 0 && (stage.is_late() || self.is_replete()) {
                break;
            }
            let sender = mail.sender.map_or(ScriptValue::Nil, Into::into);
            let args = [mail.name.as_str().into(), mail.payload.clone(), sender];
            self.one(Callback::Message, &args);
            if self.unfinished {
                return true;
            }
            self.mail_taken += 1;
        }
        if self.unit.ticks {
            let tick = stage.frame.stage.callback();
            self.one(tick, &[self.unit.delta.into()]);
        }
        true
    }

    /// Whether the runs so far have used up what one script on one entity may use in one stage, so that
    /// further messages wait for the next frame.
    fn is_replete(&self) -> bool {
        let worker = &*self.worker;
        self.spent > REPLETE * worker.stage.limits(self.unit).time
            || worker.context.is_replete(REPLETE as usize)
    }

    /// Runs one callback if the script defines it; gives whether it did not fail.
    fn one(&mut self, callback: Callback, args: &[ScriptValue]) -> bool {
        let stage = self.worker.stage;
        let program = stage.frame.program(self.unit);
        if program.callbacks().is_some_and(|known| !known.contains(callback)) {
            return true;
        }
        if self.current.is_none()
            && matches!(self.state, StateChange::Number(..) | StateChange::Fields(_))
        {
            self.current = Some(self.state.clone().applied_to(self.before));
        }
        // A missing callback is not a run: whether it had to be looked for depends on others.
        let seed = stage.seed(self.unit, callback, self.ran);
        let logs = self.worker.context.effects.logs.len();
        // Who may run often in a frame is told when it is enough.
        let must = self.unit.more.is_some();
        self.worker.counts.stopwatch.start(must);
        let Some(mut ran) = self.attempt(program, callback, args, seed) else {
            self.unfinished = true;
            return false;
        };
        // A run that ran out of memory on a used VM gets a second chance on a fresh one, so that the
        // verdict doesn't depend on who ran before.
        let used = self.worker.lease.as_ref().is_some_and(|vm| vm.runs() > 1);
        if used && is_out_of_memory(&ran) && self.worker.renew() {
            self.worker.context.effects.logs.truncate(logs);
            match self.attempt(program, callback, args, seed) {
                Some(again) => ran = again,
                None => {
                    self.unfinished = true;
                    return false;
                }
            }
        }
        match ran {
            Ran::Missing => return true,
            Ran::Done(change) => {
                self.keep(change);
                self.failing = false;
            }
            Ran::Failed(failure) => {
                self.failures.push((callback, *failure));
                self.failing = true;
            }
        }
        self.ran += 1;
        let worker = &mut *self.worker;
        if let Some(time) = worker.counts.ran(worker.stage, self.unit) {
            self.spent += time;
        }
        !self.failing
    }

    /// Runs a callback on the worker's VM, or on another if that one is spent; `None` if there is none.
    /// What a failed run asked for is taken back.
    fn attempt(
        &mut self,
        program: &Program,
        callback: Callback,
        args: &[ScriptValue],
        seed: u64,
    ) -> Option<Ran> {
        let worker = &mut *self.worker;
        if worker.lease.as_ref().is_none_or(|vm| vm.is_spent()) {
            worker.replace(program);
        }
        let vm = worker.lease.as_mut()?;
        let state = match (&self.current, &self.state) {
            (Some(current), _) => current,
            (None, StateChange::Replaced(state)) => state,
            (None, _) => self.before,
        };
        let call = Call { callback, state, args, seed };
        let limits = worker.stage.limits(self.unit);
        let used = self.used.take();
        let ran = vm.run_change(program, call, &mut worker.context, limits, used, worker.engaged);
        if matches!(ran, Ran::Failed(_)) {
            worker.context.roll_back();
        }
        Some(ran)
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
}

fn is_out_of_memory(ran: &Ran) -> bool {
    matches!(ran, Ran::Failed(failure) if matches!(failure.error, ScriptError::OutOfMemory { .. }))
}
