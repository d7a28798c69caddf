//! Runs invocations of one program in a batch: those for which nothing is due but `on_update`, or `on_fixed_update`.
//! Nearly all are of this kind.

use bevy::prelude::EntityRef;

use crate::bindings::{Effects, ScriptContext};
use crate::run::execute::counts::WorkerCounts;
use crate::run::execute::outcomes::OutcomeChunk;
use crate::run::execute::single::DoneInBatch;
use crate::run::execute::stage::ExecutingStage;
use crate::run::execute::worker::Worker;
use crate::run::invocation::Invocation;
use crate::script::ScriptState;
use crate::vm::{BatchEnd, CallArgs, CallBatch, Callback, Host, StateChange, Turn, Used, prefetch};

impl Worker<'_> {
    /// Runs invocations of one program in a batch, from the next one of the chunk on, as long as they allow it. Gives
    /// whether any was taken.
    pub(super) fn run_batch(&mut self, invocation: usize, chunk: &mut OutcomeChunk<'_>) -> bool {
        let stage = self.stage;
        let first = &stage.frame.invocations[invocation];
        let Some(vm) = &mut self.lease else { return false };
        let program = stage.program_of(invocation);
        let callback = stage.frame.stage.callback();
        if !first.is_due_alone(callback) || vm.is_spent() || !vm.is_ready_for(program, callback) {
            return false;
        }
        let position = chunk.position();
        let is_shared = first.more.is_some();
        // Only where something is shared are steps counted: that makes a run a little slower.
        vm.count_steps(is_shared);
        let limits = stage.limits(first);
        self.context.set_script(program.name());
        // Those that share nothing descend from nobody; the others have theirs set one by one.
        self.context.set_origin(None);
        self.context.set_allow_non_finite(limits.allow_non_finite);
        let mut batch = InvocationBatch {
            stage,
            counts: &mut self.counts,
            chunk,
            program: first.program,
            callback,
            is_shared,
            has_begun: false,
            running: false,
            next: None,
        };
        let host_and_batch = (&mut self.context, &mut batch);
        let end = vm.run_batch(program, callback, &limits.run, host_and_batch, self.engaged);
        let running = batch.running;
        let done = chunk.position() - position;
        let is_over = running && matches!(end, BatchEnd::With(_));
        self.counts.note_batch(done + usize::from(is_over));
        let in_batch = match end {
            BatchEnd::Done => return done > 0,
            // Something may have gone wrong before the first run began.
            _ if !running => return false,
            BatchEnd::With(result) => DoneInBatch::Over(result),
            BatchEnd::Again(used) => {
                self.context.effects = Effects::default();
                DoneInBatch::Repeat(used)
            }
        };
        let (turn, outcome) = chunk.take();
        self.run_invocation(turn, outcome, in_batch);
        true
    }
}

/// Invocations of one program for which one callback is due, as a VM runs them in a batch.
struct InvocationBatch<'r, 'c, 's> {
    stage: &'s ExecutingStage<'s>,
    counts: &'r mut WorkerCounts,
    chunk: &'r mut OutcomeChunk<'c>,
    /// The number of the program.
    program: u32,
    callback: Callback,
    /// Whether they share something with others, so that their work is counted.
    is_shared: bool,
    /// The first run has begun.
    has_begun: bool,
    /// The run of the chunk's next invocation has begun and is not over.
    running: bool,
    /// The invocation after that, if it was looked up.
    next: Option<PreparedRun<'s>>,
}

/// An invocation that can run in the batch, and what that needs from the world.
struct PreparedRun<'s> {
    invocation: &'s Invocation,
    entity: EntityRef<'s>,
    state: &'s ScriptState,
}

impl<'s> InvocationBatch<'_, '_, 's> {
    /// Looks up the invocation at a position of the chunk, if it can run in this batch.
    #[inline]
    fn prepare(&self, position: usize) -> Option<PreparedRun<'s>> {
        let stage = self.stage;
        let invocation = &stage.frame.invocations[self.chunk.invocation_at(position)?];
        if invocation.program != self.program
            || invocation.more.is_some() != self.is_shared
            || !invocation.is_due_alone(self.callback)
        {
            return None;
        }
        let entity = stage.world.get_entity(invocation.entity).ok()?;
        let state = stage.state_of(invocation, entity)?;
        Some(PreparedRun { invocation, entity, state })
    }
}

impl<'s> CallBatch<'s, ScriptContext<'s>> for InvocationBatch<'_, '_, 's> {
    #[inline]
    fn as_host<'h>(context: &'h mut ScriptContext<'s>) -> &'h mut (dyn Host + 'h) {
        context
    }

    #[inline]
    fn next(&mut self, context: &mut ScriptContext<'s>) -> Option<Turn<'s>> {
        let (stage, position) = (self.stage, self.chunk.position());
        let prepared = self.next.take().or_else(|| self.prepare(position))?;
        let PreparedRun { invocation, entity, state } = prepared;
        // For the first one the worker has checked it.
        let may_run = !self.has_begun
            || !self.counts.is_late(stage.budget) && stage.frame.shares.may_run(invocation);
        if !may_run {
            return None;
        }
        // While this one runs, the memory that the next one needs is fetched.
        self.next = self.prepare(position + 1);
        if let Some((_, value)) = self.next.as_ref().and_then(|next| next.state.fields.fields.at(0))
        {
            prefetch(value);
        }
        context.retarget(invocation.entity, Some(entity), stage.limits(invocation).commands);
        if self.is_shared {
            context.set_origin(stage.frame.shares.origin_of(invocation));
        }
        (self.has_begun, self.running) = (true, true);
        self.counts.begin_run();
        Some(Turn {
            entity: invocation.entity,
            state: &state.fields,
            args: CallArgs::Number(invocation.delta),
            seed: stage.seed(invocation, state.draws(), self.callback, 0),
        })
    }

    #[inline]
    fn finish(&mut self, context: &mut ScriptContext<'s>, change: StateChange, used: Used) {
        if !std::mem::take(&mut self.running) {
            return;
        }
        let (turn, outcome) = self.chunk.take();
        let invocation = self.stage.turns.at(turn);
        self.counts.end_run(invocation);
        outcome.state = change;
        outcome.set_ran(false);
        outcome.drew = used.drew;
        let work = if self.is_shared { self.stage.limits(invocation).work(used, false) } else { 0 };
        self.stage.hand_over(turn, work, (context, self.counts), outcome);
    }
}
