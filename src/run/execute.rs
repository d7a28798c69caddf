//! Runs what is due, in parallel, on pooled VMs. Nothing in the world changes meanwhile.

pub(super) mod batch;
pub(super) mod counts;
pub(super) mod turns;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bevy::ecs::reflect::AppTypeRegistry;
use bevy::prelude::{EntityRef, Local, World};
use bevy::reflect::TypeRegistry;
use bevy::tasks::ComputeTaskPool;

use crate::bindings::{
    Bindings, ColumnQuery, Effects, ScriptContext, StageColumns, TableColumn, UsedColumns,
};
use crate::error::{Failure, ScriptError};
use crate::pool::{DestroyReason, Lease};
use crate::run::budget::StageBudget;
use crate::run::execute::batch::{Batch, InvocationBatch, sort};
use crate::run::execute::counts::Counts;
use crate::run::frame::Frame;
use crate::run::invocation::{Invocation, InvocationOutcome, OutcomeExtras, Tally};
use crate::run::lua_pool::LuaPool;
use crate::run::order::mix;
use crate::run::shares::{Invocations, Limits, Spent, WHOLE};
use crate::script::{Backoff, RetryPolicy, ScriptState, ScriptStates, Verdicts};
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::{BatchEnd, Call, Callback, Engaged, Program, Ran, StateChange, Used, Vm, engage};

/// Invocations that a worker takes at a time, at least.
const BATCH: usize = 64;

/// Into how many batches the share of a worker is divided, so that none has much to do when the others are
/// done, and the most invocations in one: those lie side by side in memory, and where they do, the processor knows
/// what comes next.
const ALIKE: (usize, usize) = (16, 1024);

/// The same where invocations of different scripts are mixed: of many, more are of one script.
const MIXED: (usize, usize) = (2, 8192);

/// Messages that one script on one entity takes in a frame; the rest wait for the next.
const MAX_MESSAGES_TAKEN: usize = 1024;

/// A script on one entity takes messages until it has used so many times what one run may use.
const REPLETE: u32 = 4;

/// Runs all invocations of [`Frame`] and puts their outcomes there, in the order of the invocations.
///
/// `states` finds what nearly all runs use, `used` what scripts use.
pub(crate) fn execute(
    world: &mut World,
    states: &mut ColumnQuery<ScriptStates>,
    mut used: Local<UsedColumns>,
) {
    let mut frame = std::mem::take(&mut *world.resource_mut::<Frame>());
    let Some(pool) = world.get_resource::<LuaPool>().cloned() else {
        panic!("{}", LuaPool::UNFINISHED)
    };
    let budget = frame.budget.begin(frame.stage, frame.number, pool.config().frame_budget);
    let mut anything_waits = false;
    if frame.is_pending() {
        let registry = world.resource::<AppTypeRegistry>().clone();
        let mut outcomes = std::mem::take(&mut frame.outcomes);
        outcomes.resize_with(frame.invocations.len(), InvocationOutcome::default);
        let tallies = std::mem::take(&mut frame.tallies);
        let order = turns::order(&frame);
        frame.shares.line_up(&mut frame.invocations, order.as_deref());
        let limits = frame.limits(pool.config());
        let world = &*world;
        let bindings: &Bindings = world.resource();
        let columns = used.of_stage(world, &bindings.exposure);
        let stage = ExecutingStage {
            world,
            frame: &frame,
            invocations: Invocations::new(&frame.invocations, order.as_deref(), &limits),
            states: TableColumn::new(world, states),
            columns: &columns,
            bindings,
            registry: &registry.read(),
            budget: &budget,
            pool: &pool,
            leased: AtomicUsize::new(0),
            anything_waits: AtomicBool::new(false),
            tallies: Mutex::new(tallies),
        };
        stage.run(&mut outcomes);
        anything_waits = stage.anything_waits.into_inner();
        let tallies = stage.tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
        frame.leased = stage.leased.into_inner();
        frame.tallies = tallies;
        frame.outcomes = outcomes;
        frame.shares.tell(&frame.programs, &limits);
    } else {
        frame.outcomes.clear();
    }
    frame.budget.end(frame.stage, &budget, anything_waits);
    let kind = frame.stage as usize;
    frame.crowded[kind] += u64::from(anything_waits);
    let lately = &mut frame.crowded_lately[kind];
    *lately = if anything_waits { turns::LATELY } else { lately.saturating_sub(1) };
    frame.executed = Some(world.increment_change_tick());
    *world.resource_mut::<Frame>() = frame;
}

/// All that the workers of one stage share, read-only.
pub(super) struct ExecutingStage<'w> {
    pub(super) world: &'w World,
    pub(super) frame: &'w Frame,
    pub(super) invocations: Invocations<'w>,
    states: TableColumn<'w, ScriptStates>,
    columns: &'w StageColumns<'w>,
    bindings: &'w Bindings,
    registry: &'w TypeRegistry,
    pool: &'w LuaPool,
    pub(super) budget: &'w StageBudget,
    /// How many workers had a VM.
    leased: AtomicUsize,
    /// Some invocation has to wait for the next stage.
    anything_waits: AtomicBool,
    /// What the workers count, while none of them counts in it.
    tallies: Mutex<Vec<Tally>>,
}

impl<'w> ExecutingStage<'w> {
    /// Runs all invocations; their outcomes are in their order afterwards.
    fn run(&self, outcomes: &mut [InvocationOutcome]) {
        let order = self.invocations.order;
        let tasks = ComputeTaskPool::get();
        let batches = outcomes.len().div_ceil(BATCH);
        let workers =
            batches.min(self.pool.config().pool.max_size).min(tasks.thread_num() + 1).max(1);
        // Invocations of different scripts are sorted within their batch.
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
                        self.worker(engaged).work(sorts, next);
                    });
                });
            }
        });
        // What no worker took: there was no VM.
        let untaken = batches.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (outcomes, first) in untaken {
            for (outcome, turn) in outcomes.iter_mut().zip(first..) {
                self.skip(turn, outcome);
            }
        }
        let mut undone = Vec::new();
        self.frame.shares.settle(self.invocations, outcomes, |turn, outcome| {
            undone.push((self.invocations.at(turn).program, outcome.runs));
            self.defer(outcome);
        });
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) = tallies.first_mut() {
            tally.undone.append(&mut undone);
        }
        drop(tallies);
        if let Some(order) = order {
            let mut sorted = Vec::new();
            sorted.resize_with(outcomes.len(), InvocationOutcome::default);
            for (outcome, invocation) in outcomes.iter_mut().zip(order) {
                sorted[*invocation] = std::mem::take(outcome);
            }
            outcomes.swap_with_slice(&mut sorted);
        }
    }

    /// The invocation that has this turn doesn't run.
    fn skip(&self, turn: usize, outcome: &mut InvocationOutcome) {
        self.frame.shares.skip(self.invocations.at(turn));
        self.defer(outcome);
    }

    /// An invocation has to wait for the next stage, whatever came of its runs.
    fn defer(&self, outcome: &mut InvocationOutcome) {
        *outcome = InvocationOutcome::deferred();
        self.anything_waits.store(true, Ordering::Relaxed);
    }

    fn worker<'s>(&'s self, engaged: &'s Engaged) -> Worker<'s> {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody takes were emptied when they were reported.
        let mut tally = tallies.pop().unwrap_or_default();
        tally.runs.resize(self.frame.programs.list.len(), 0);
        Worker {
            stage: self,
            engaged,
            context: self.bindings.context(
                self.world,
                self.registry,
                self.pool.config(),
                self.columns,
            ),
            lease: None,
            counts: Counts::new(tally, self.budget.is_spent()),
        }
    }

    fn program(&self, invocation: usize) -> &Program {
        self.frame.program(&self.frame.invocations[invocation])
    }

    /// What the runs of an invocation may use up.
    #[inline]
    pub(super) fn limits(&self, invocation: &Invocation) -> &'w Limits {
        self.invocations.limits(invocation)
    }

    /// What an invocation's script remembers, if the invocation was collected for that: the game may have put something else in
    /// its place.
    #[inline]
    pub(super) fn state_of(
        &self,
        invocation: &Invocation,
        entity: EntityRef<'w>,
    ) -> Option<&'w ScriptState> {
        let state = self.states.get(entity.location())?.states.get(invocation.slot())?;
        let runs = self.frame.program(invocation);
        let is_its = |program: &Arc<Program>| Arc::ptr_eq(program, runs);
        state.attached.program.as_ref().is_some_and(is_its).then_some(state)
    }

    /// Where the random numbers of a run start. Depends on the world's seed, the entity, the script, the callback,
    /// on how often the script has drawn numbers before, and on which run of the invocation this is; not on the VM, on
    /// who ran before, or on what happened before the script was loaded.
    #[inline]
    pub(super) fn seed(
        &self,
        invocation: &Invocation,
        draws: u64,
        callback: Callback,
        run: u32,
    ) -> u64 {
        let which = u64::from(invocation.slot) << 40 | u64::from(run) << 8 | callback as u64;
        let who = mix(invocation.entity.to_bits() ^ self.frame.program(invocation).name_hash());
        let when = draws.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mix(self.frame.seed ^ who ^ mix(which ^ when))
    }

    /// Moves what the runs of the invocation that has this turn want to change to its outcome. Gives whether there is room
    /// for it still; if not, it is dropped.
    #[inline]
    pub(super) fn hand_over(
        &self,
        turn: usize,
        work: u64,
        context: &mut ScriptContext<'_>,
        outcome: &mut InvocationOutcome,
    ) -> bool {
        let (bytes, spawned) = (context.bytes_handed_over(), context.effects.spawned.len());
        if (bytes > 0 || self.invocations.at(turn).more.is_some())
            && !self.frame.shares.spend(self.invocations, turn, Spent { work, bytes, spawned })
        {
            context.effects = Effects::default();
            self.defer(outcome);
            return false;
        }
        let effects = &mut context.effects;
        if !effects.writes.is_empty() {
            outcome.writes = std::mem::take(&mut effects.writes);
        }
        if !effects.is_plain() {
            let effects = std::mem::take(&mut context.effects);
            outcome.more = Some(Box::new(OutcomeExtras { effects, ..OutcomeExtras::default() }));
        }
        true
    }
}

/// One thread that runs invocations.
struct Worker<'s> {
    stage: &'s ExecutingStage<'s>,
    engaged: &'s Engaged,
    /// The world as the invocation sees it whose turn it is.
    context: ScriptContext<'s>,
    lease: Option<Lease<Vm>>,
    counts: Counts,
}

impl<'s> Worker<'s> {
    /// Takes batches until none is left. Without a VM it takes none: others may have one.
    fn work<'f>(
        mut self,
        sorts: bool,
        next: impl Fn() -> Option<(&'f mut [InvocationOutcome], usize)>,
    ) {
        let stage = self.stage;
        // A VM that ran the script of the first invocations is as good a guess as any.
        self.acquire(stage.frame.program(stage.invocations.at(0)));
        if self.lease.is_some() {
            stage.leased.fetch_add(1, Ordering::Relaxed);
        }
        let mut turns = Vec::new();
        while self.lease.is_some()
            && let Some((outcomes, first)) = next()
        {
            if sorts {
                sort(&stage.frame.invocations[first..first + outcomes.len()], &mut turns);
            }
            let order = stage.invocations.order;
            let mut batch = Batch { first, outcomes, order, turns: &turns, done: 0 };
            while let Some((invocation, _)) = batch.at(batch.done) {
                // Who has waited longest runs however late it is: everybody does in the end.
                let must = batch.is_first() && stage.budget.one_may_run;
                let in_time = must || !self.counts.is_late(stage);
                let runs =
                    in_time && stage.frame.shares.may_run(&stage.frame.invocations[invocation]);
                if !runs || self.lease.is_none() {
                    stage.skip(batch.turn(), batch.take());
                } else if !self.run_batch(invocation, &mut batch) {
                    self.run_invocation(batch.turn(), batch.take(), None);
                }
                if self.lease.as_ref().is_some_and(|vm| vm.is_spent()) {
                    self.replace(stage.program(invocation));
                }
            }
        }
        if let Some(vm) = &self.lease {
            vm.count_steps(false);
        }
        let tally = self.counts.into_tally();
        stage.tallies.lock().unwrap_or_else(PoisonError::into_inner).push(tally);
    }

    /// Takes a VM, one that ran the program last if there is one. Whyever there is none: what would have
    /// run on it runs in the next frame.
    fn acquire(&mut self, program: &Program) {
        self.lease = self.stage.pool.vms().acquire_for(program.name()).ok();
    }

    /// Throws a spent VM away and takes another.
    fn replace(&mut self, program: &Program) {
        if let Some(spent) = self.lease.take() {
            Lease::discard(spent, DestroyReason::Spent);
        }
        self.acquire(program);
    }

    /// Runs invocations that are alike from one on, if they are of the common kind: gives whether it ran any.
    fn run_batch(&mut self, invocation: usize, batch: &mut Batch<'_>) -> bool {
        let stage = self.stage;
        let kind = &stage.frame.invocations[invocation];
        let Some(vm) = &mut self.lease else { return false };
        let program = stage.program(invocation);
        let callback = stage.frame.stage.callback();
        if !kind.is_due_alone(callback) || vm.is_spent() || !vm.is_ready_for(program, callback) {
            return false;
        }
        let before = batch.done;
        let counts_steps = kind.more.is_some();
        vm.count_steps(counts_steps);
        self.context.set_script(program.name());
        let mut row = InvocationBatch {
            stage,
            counts: &mut self.counts,
            batch,
            program: kind.program,
            callback,
            counts_steps,
            began: false,
            current: None,
            next: None,
        };
        let limits = stage.limits(kind);
        self.context.set_allow_non_finite(limits.allow_non_finite);
        let host_and_row = (&mut self.context, &mut row);
        let end = vm.run_batch(program, callback, &limits.run, host_and_row, self.engaged);
        let of_run = vm.used();
        let current = row.current;
        let (ran, used) = match end {
            BatchEnd::Done => return batch.done > before,
            BatchEnd::Again(used) => (None, Some(used)),
            BatchEnd::With(ran) => (Some(ran), None),
        };
        // Something else may have gone wrong before the first one began.
        let Some(index) = current else { return false };
        let turn = batch.turn();
        let outcome = batch.take();
        let Some(ran) = ran else {
            self.context.effects = Effects::default();
            self.run_invocation(turn, outcome, used);
            return true;
        };
        let invocation = &stage.frame.invocations[index];
        self.counts.ran(invocation);
        let work = limits.work(of_run, met_limit(&ran));
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
        outcome.drew = of_run.drew;
        if !stage.hand_over(turn, work, &mut self.context, outcome) {
            self.counts.undo(invocation, 1);
        } else if outcome.failing {
            let mut verdicts = Verdicts::default();
            verdicts.note(callback, false);
            let more = outcome.more.get_or_insert_default();
            (more.failures, more.verdicts) = (failures, Some(verdicts));
        }
        self.counts.note_reach(index, invocation, outcome);
        true
    }

    /// Runs the invocation that has this turn.
    fn run_invocation(
        &mut self,
        turn: usize,
        outcome: &mut InvocationOutcome,
        used: Option<Duration>,
    ) {
        let stage = self.stage;
        let invocation = stage.invocations.at(turn);
        let entity = stage.world.get_entity(invocation.entity).ok();
        let known = match invocation.stop() {
            Some(_) => None,
            None => entity.and_then(|entity| stage.state_of(invocation, entity)),
        };
        let state = invocation.stop().map(|last| (&last.fields, last.draws));
        let state = state.or(known.map(|state| (&state.fields, state.draws())));
        let aside = known.map(|state| &state.attached.aside);
        let Some((before, draws)) = state else {
            // The game took it away after it was collected.
            stage.skip(turn, outcome);
            return;
        };
        let limits = stage.limits(invocation);
        self.context.turn_to(invocation.entity, entity, limits.commands);
        self.context.set_origin(stage.frame.shares.origin_of(invocation));
        self.context.set_script(stage.frame.program(invocation).name());
        self.context.set_allow_non_finite(limits.allow_non_finite);
        let mut runs = InvocationRuns {
            worker: self,
            invocation,
            before,
            draws,
            state: StateChange::Unchanged,
            current: None,
            failures: Vec::new(),
            aside,
            verdicts: Verdicts::default(),
            failing: false,
            ran: 0,
            used,
            work: 0,
            drew: false,
            mail_taken: 0,
            unfinished: false,
        };
        outcome.started = runs.all();
        let InvocationRuns {
            state,
            failures,
            verdicts,
            failing,
            ran,
            work,
            drew,
            mail_taken,
            unfinished,
            ..
        } = runs;
        outcome.state = state;
        outcome.failing = failing;
        outcome.unfinished = unfinished;
        outcome.drew = drew;
        outcome.runs = ran;
        if !stage.hand_over(turn, work, &mut self.context, outcome) {
            self.counts.undo(invocation, ran);
        } else {
            if !failures.is_empty() || mail_taken > 0 {
                let more = outcome.more.get_or_insert_default();
                (more.failures, more.mail_taken) = (failures, mail_taken);
            }
            if verdicts.any_failures() || aside.is_some_and(Backoff::has_failures) {
                outcome.more.get_or_insert_default().verdicts = Some(verdicts);
            }
        }
        let index = stage.invocations.index_of(turn);
        self.counts.note_reach(index, invocation, outcome);
    }
}

/// The runs of one invocation, one after another: each sees what the earlier ones wrote.
struct InvocationRuns<'u, 's> {
    worker: &'u mut Worker<'s>,
    invocation: &'s Invocation,
    before: &'u ScriptTable,
    /// Where the random numbers go on.
    draws: u64,
    /// What the runs so far did to it.
    state: StateChange,
    /// The state as the runs so far left it, once there was more than one.
    current: Option<ScriptTable>,
    failures: Vec<(Callback, Failure)>,
    /// The failures before this stage.
    aside: Option<&'u Backoff>,
    verdicts: Verdicts,
    failing: bool,
    /// How many there were.
    ran: u32,
    /// Time that the first one has used already, in another way.
    used: Option<Duration>,
    /// How much they worked.
    work: u64,
    /// They drew random numbers.
    drew: bool,
    mail_taken: usize,
    /// There was no VM for the rest.
    unfinished: bool,
}

impl InvocationRuns<'_, '_> {
    /// Runs all that is due; gives whether the script has started.
    fn all(&mut self) -> bool {
        let due = self.invocation.due;
        if due.contains(Callback::Stop) {
            self.one(Callback::Stop, &[]);
            return true;
        }
        if due.contains(Callback::Start) && !self.one(Callback::Start, &[]) {
            return false;
        }
        if due.contains(Callback::Reload) && !self.is_gone() {
            self.one(Callback::Reload, &[]);
            if self.unfinished {
                return true;
            }
        }
        let stage = self.worker.stage;
        for mail in stage.frame.mail(self.invocation).take(MAX_MESSAGES_TAKEN) {
            // One at least, so that a small budget delays messages and doesn't stop them.
            let is_enough = self.mail_taken > 0
                && (stage.budget.is_spent() || self.is_replete() || self.has_enough_of_messages());
            if is_enough || self.is_gone() {
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
        let tick = stage.frame.stage.callback();
        if due.contains(tick) && !self.is_gone() {
            self.one(tick, &[self.invocation.delta.into()]);
        }
        true
    }

    /// Whether the runs so far have used up what one script on one entity may use in one stage, so that
    /// further messages wait for the next frame.
    fn is_replete(&self) -> bool {
        self.work > u64::from(REPLETE) * WHOLE || self.worker.context.is_replete(REPLETE as usize)
    }

    /// Whether the runs so far despawned their own entity, which is done then.
    fn is_gone(&self) -> bool {
        self.worker.context.has_despawned_own()
    }

    /// Whether so many of its messages failed in a row that it takes no more of them for now.
    fn has_enough_of_messages(&self) -> bool {
        let patience = || RetryPolicy::from(self.worker.stage.pool.config());
        self.failing
            && self
                .aside
                .is_some_and(|aside| aside.is_enough_of_messages(&self.verdicts, &patience()))
    }

    /// Runs one callback if the script defines it; gives whether it did not fail.
    fn one(&mut self, callback: Callback, args: &[ScriptValue]) -> bool {
        let stage = self.worker.stage;
        let program = stage.frame.program(self.invocation);
        if program.callbacks().is_some_and(|known| !known.contains(callback)) {
            return true;
        }
        if self.current.is_none()
            && matches!(self.state, StateChange::Number(..) | StateChange::Fields(_))
        {
            self.current = Some(self.state.clone().applied_to(self.before));
        }
        // A missing callback is not a run: whether it had to be looked for depends on others.
        let seed = stage.seed(self.invocation, self.draws, callback, self.ran);
        self.worker.counts.stopwatch.start();
        let Some(ran) = self.attempt(program, callback, args, seed) else {
            self.unfinished = true;
            return false;
        };
        let used = self.worker.lease.as_ref().map_or_else(Used::default, |vm| vm.used());
        let met_limit = met_limit(&ran);
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
        self.verdicts.note(callback, !self.failing);
        self.ran += 1;
        self.work = self.work.saturating_add(stage.limits(self.invocation).work(used, met_limit));
        self.drew |= used.drew;
        self.worker.counts.ran(self.invocation);
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
        let limits = &worker.stage.limits(self.invocation).run;
        let used = self.used.take();
        // Who may run often in a frame is told when it is enough.
        vm.count_steps(self.invocation.more.is_some());
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

/// Whether a run met a limit that depends on the machine, or threw its VM away.
fn met_limit(ran: &Ran) -> bool {
    let Ran::Failed(failure) = ran else { return false };
    matches!(
        failure.error,
        ScriptError::TimedOut { .. }
            | ScriptError::OutOfMemory { .. }
            | ScriptError::HostPanicked { .. }
    )
}
