//! Runs one invocation: all callbacks that are due, one after another.

use std::time::Duration;

use crate::error::{Failure, ScriptError};
use crate::run::execute::worker::Worker;
use crate::run::invocation::Invocation;
use crate::run::outcome::InvocationOutcome;
use crate::run::shares::FULL_RUN;
use crate::script::{Backoff, RetryPolicy, Verdicts};
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::{Call, CallResult, Callback, Program, StateChange, Used};

/// Messages that one script on one entity takes in a stage; the rest wait for the next.
const MAX_MESSAGES_TAKEN: usize = 1024;

/// A script on one entity takes messages until it has used so many times what one run may use.
const MESSAGE_RUNS: u32 = 4;

/// What a batch has done of an invocation before it is run on its own.
pub(super) enum DoneInBatch {
    /// Nothing.
    None,
    /// Its run began and must be repeated, less the time that it has used already.
    Repeat(Duration),
    /// Its run is over, and all that was due with it. The effects are in the worker's context.
    Over(CallResult),
}

impl Worker<'_> {
    /// Runs the invocation that has this turn.
    pub(super) fn run_invocation(
        &mut self,
        turn: usize,
        outcome: &mut InvocationOutcome,
        in_batch: DoneInBatch,
    ) {
        let stage = self.stage;
        let invocation = stage.turns.at(turn);
        let entity = stage.world.get_entity(invocation.entity).ok();
        let known = match invocation.stop() {
            Some(_) => None,
            None => entity.and_then(|entity| stage.state_of(invocation, entity)),
        };
        let state = invocation.stop().map(|last| (&last.fields, last.draws));
        let state = state.or(known.map(|state| (&state.fields, state.draws())));
        let Some((before, draws)) = state else {
            // The game removed it after it had been collected.
            stage.skip(turn, outcome);
            return;
        };
        let is_over = matches!(in_batch, DoneInBatch::Over(_));
        if !is_over {
            let limits = stage.limits(invocation);
            self.context.retarget(invocation.entity, entity, limits.commands);
            self.context.set_origin(stage.frame.shares.origin_of(invocation));
            self.context.set_script(stage.frame.program(invocation).name());
            self.context.set_allow_non_finite(limits.allow_non_finite);
        }
        let mut runs = InvocationRuns {
            worker: self,
            invocation,
            before,
            draws,
            backoff: known.map(|state| &state.attached.backoff),
            change: StateChange::Unchanged,
            current: None,
            failures: Vec::new(),
            verdicts: Verdicts::default(),
            failing: false,
            count: 0,
            time_used: None,
            work: 0,
            drew: false,
            mail_taken: 0,
            unfinished: false,
        };
        let started = match in_batch {
            DoneInBatch::Over(result) => {
                runs.record(stage.frame.stage.callback(), result);
                true
            }
            DoneInBatch::Repeat(used) => {
                runs.time_used = Some(used);
                runs.run_all()
            }
            DoneInBatch::None => runs.run_all(),
        };
        runs.hand_over(turn, outcome, started);
    }
}

/// The runs of one invocation, one after another: each sees what the earlier ones wrote.
struct InvocationRuns<'u, 's> {
    worker: &'u mut Worker<'s>,
    invocation: &'s Invocation,
    /// The state before the first run.
    before: &'u ScriptTable,
    /// How often the script had drawn random numbers before.
    draws: u64,
    /// The failures of earlier stages.
    backoff: Option<&'u Backoff>,
    /// What the runs so far did to the state.
    change: StateChange,
    /// The state after the runs so far, if it had to be put together for one of them.
    current: Option<ScriptTable>,
    failures: Vec<(Callback, Failure)>,
    verdicts: Verdicts,
    /// The last run failed.
    failing: bool,
    /// The runs so far.
    count: u32,
    /// The time that the first run used up in a batch.
    time_used: Option<Duration>,
    /// The sum of the work of all runs, in units of 1 / [`FULL_RUN`].
    work: u64,
    /// Random numbers were drawn.
    drew: bool,
    mail_taken: usize,
    /// There was no VM for the rest.
    unfinished: bool,
}

impl InvocationRuns<'_, '_> {
    /// Runs all that is due; gives whether the script has started.
    fn run_all(&mut self) -> bool {
        let due = self.invocation.due;
        if due.contains(Callback::Stop) {
            self.run(Callback::Stop, &[]);
            return true;
        }
        if due.contains(Callback::Start) && !self.run(Callback::Start, &[]) {
            return false;
        }
        if due.contains(Callback::Reload) && !self.is_despawned() {
            self.run(Callback::Reload, &[]);
            if self.unfinished {
                return true;
            }
        }
        let stage = self.worker.stage;
        for mail in stage.frame.mail(self.invocation).take(MAX_MESSAGES_TAKEN) {
            // At least one is taken: a small budget delays messages, but doesn't stop them.
            let is_enough = self.mail_taken > 0
                && (stage.budget.is_spent()
                    || self.has_used_enough()
                    || self.must_take_no_more_messages());
            if is_enough || self.is_despawned() {
                break;
            }
            let sender = mail.sender.map_or(ScriptValue::Nil, Into::into);
            let args = [mail.name.as_str().into(), mail.payload.clone(), sender];
            self.run(Callback::Message, &args);
            if self.unfinished {
                return true;
            }
            self.mail_taken += 1;
        }
        let tick = stage.frame.stage.callback();
        if due.contains(tick) && !self.is_despawned() {
            self.run(tick, &[self.invocation.delta.into()]);
        }
        true
    }

    /// Whether the runs so far have used up what one script on one entity may use for messages in one stage.
    fn has_used_enough(&self) -> bool {
        self.work > u64::from(MESSAGE_RUNS) * FULL_RUN
            || self.worker.context.is_replete(MESSAGE_RUNS as usize)
    }

    /// Whether the runs so far despawned their own entity, so that nothing more is due.
    fn is_despawned(&self) -> bool {
        self.worker.context.has_despawned_own()
    }

    /// Whether so many messages failed in a row that `on_message` is put aside.
    fn must_take_no_more_messages(&self) -> bool {
        let policy = || RetryPolicy::from(self.worker.stage.pool.config());
        self.failing
            && self
                .backoff
                .is_some_and(|backoff| backoff.is_enough_of_messages(&self.verdicts, &policy()))
    }

    /// Runs one callback if the script defines it; gives whether it did not fail.
    fn run(&mut self, callback: Callback, args: &[ScriptValue]) -> bool {
        let stage = self.worker.stage;
        let program = stage.frame.program(self.invocation);
        if program.callbacks().is_some_and(|known| !known.contains(callback)) {
            return true;
        }
        if self.current.is_none()
            && matches!(self.change, StateChange::Number(..) | StateChange::Fields(_))
        {
            self.current = Some(self.change.clone().applied_to(self.before));
        }
        let seed = stage.seed(self.invocation, self.draws, callback, self.count);
        self.worker.counts.begin_run();
        match self.call(program, callback, args, seed) {
            Some(result) => {
                if !matches!(result, Ok(None)) {
                    self.worker.counts.note_single(program.mutable().is_some());
                }
                self.record(callback, result)
            }
            None => {
                self.unfinished = true;
                false
            }
        }
    }

    /// Calls the callback on the worker's VM, or on another if that one is spent; `None` if there is none.
    fn call(
        &mut self,
        program: &Program,
        callback: Callback,
        args: &[ScriptValue],
        seed: u64,
    ) -> Option<CallResult> {
        let worker = &mut *self.worker;
        if worker.lease.as_ref().is_none_or(|vm| vm.is_spent()) {
            worker.replace_vm(program);
        }
        let vm = worker.lease.as_mut()?;
        let state = match (&self.current, &self.change) {
            (Some(current), _) => current,
            (None, StateChange::Replaced(state)) => state,
            (None, _) => self.before,
        };
        let call = Call { callback, state, args, seed };
        let limits = &worker.stage.limits(self.invocation).run;
        let used = self.time_used.take();
        // Only what shares with others has its steps counted: that makes a run a little slower.
        vm.count_steps(self.invocation.more.is_some());
        Some(vm.run_change(program, call, &mut worker.context, limits, used, worker.engaged))
    }

    /// Takes in what a run of the worker's VM came to; gives whether it did not fail. The effects of a failed run are
    /// rolled back.
    fn record(&mut self, callback: Callback, result: CallResult) -> bool {
        let worker = &mut *self.worker;
        let used = worker.lease.as_ref().map_or_else(Used::default, |vm| vm.used());
        let met_limit = met_limit(&result);
        match result {
            // That doesn't count as a run: whether the callback had to be looked for depends on other runs.
            Ok(None) => return true,
            Ok(Some(change)) => {
                self.failing = false;
                self.add_change(change);
            }
            Err(failure) => {
                worker.context.roll_back();
                self.failing = true;
                self.failures.push((callback, *failure));
            }
        }
        let limits = self.worker.stage.limits(self.invocation);
        self.verdicts.note(callback, !self.failing);
        self.count += 1;
        self.work = self.work.saturating_add(limits.work(used, met_limit));
        self.drew |= used.drew;
        self.worker.counts.end_run(self.invocation);
        !self.failing
    }

    /// Adds what a run did to the state to what the runs before it did.
    fn add_change(&mut self, change: StateChange) {
        let earlier = std::mem::take(&mut self.change);
        self.change = match (earlier, change) {
            (earlier, StateChange::Unchanged) => earlier,
            (StateChange::Unchanged, change) => change,
            (earlier, change) => {
                let now = self.current.take().unwrap_or_else(|| earlier.applied_to(self.before));
                StateChange::Replaced(change.applied_to(&now).into())
            }
        };
    }

    /// Makes the outcome, after the last run.
    fn hand_over(self, turn: usize, outcome: &mut InvocationOutcome, started: bool) {
        outcome.started = started;
        outcome.state = self.change;
        outcome.failing = self.failing;
        outcome.unfinished = self.unfinished;
        outcome.drew = self.drew;
        outcome.runs = self.count;
        let Worker { stage, context, counts, .. } = self.worker;
        if !stage.hand_over(turn, self.work, (context, counts), outcome) {
            return;
        }
        if !self.failures.is_empty() || self.mail_taken > 0 {
            let more = outcome.more.get_or_insert_default();
            (more.failures, more.mail_taken) = (self.failures, self.mail_taken);
        }
        if self.verdicts.any_failures() || self.backoff.is_some_and(Backoff::has_failures) {
            outcome.more.get_or_insert_default().verdicts = Some(self.verdicts);
        }
    }
}

/// Whether a run met a limit that depends on the machine, or panicked, so that its VM is thrown away.
fn met_limit(result: &CallResult) -> bool {
    let Err(failure) = result else { return false };
    matches!(
        failure.error,
        ScriptError::TimedOut { .. }
            | ScriptError::OutOfMemory { .. }
            | ScriptError::HostPanicked { .. }
    )
}
