//! [`ExecutingStage`]: what the workers of one stage share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bevy::prelude::{EntityRef, World};
use bevy::reflect::TypeRegistry;

use crate::bindings::{Bindings, ComponentColumn, Effects, ScriptContext, StageColumns};
use crate::run::budget::StageBudget;
use crate::run::execute::counts::WorkerCounts;
use crate::run::execute::seed::seed_of_run;
use crate::run::frame::Frame;
use crate::run::invocation::Invocation;
use crate::run::lua_pool::LuaPool;
use crate::run::outcome::{InvocationOutcome, OutcomeExtras};
use crate::run::shares::{InvocationUsage, ProgramLimits, Turns};
use crate::run::worker_tally::WorkerTally;
use crate::script::{ScriptState, ScriptStates};
use crate::snapshot::PathCounts;
use crate::vm::{Callback, Program};

/// What the workers of one stage share.
pub(super) struct ExecutingStage<'w> {
    pub(super) world: &'w World,
    pub(super) frame: &'w Frame,
    pub(super) turns: Turns<'w>,
    pub(super) states: ComponentColumn<'w, ScriptStates>,
    pub(super) columns: &'w StageColumns<'w>,
    pub(super) bindings: &'w Bindings,
    pub(super) registry: &'w TypeRegistry,
    pub(super) pool: &'w LuaPool,
    pub(super) budget: &'w StageBudget,
    /// How many workers got a VM.
    pub(super) leased: AtomicUsize,
    /// Some invocation has to wait for the next stage.
    pub(super) anything_waits: AtomicBool,
    /// Tallies that no worker holds: each takes one when it begins and puts it back at the end.
    pub(super) tallies: Mutex<Vec<WorkerTally>>,
    /// Which ways the runs took, of the workers that are done.
    pub(super) paths: Mutex<PathCounts>,
}

impl<'w> ExecutingStage<'w> {
    /// Leaves the invocation that has this turn for the next stage without running it.
    pub(super) fn skip(&self, turn: usize, outcome: &mut InvocationOutcome) {
        self.frame.shares.skip(self.turns.at(turn));
        self.defer(outcome);
    }

    /// Leaves an invocation for the next stage, and drops what its runs did.
    pub(super) fn defer(&self, outcome: &mut InvocationOutcome) {
        *outcome = InvocationOutcome::deferred();
        self.anything_waits.store(true, Ordering::Relaxed);
    }

    /// Takes a tally to count in. It may be one that was used before.
    pub(super) fn take_tally(&self) -> WorkerTally {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of earlier stages were emptied when they were reported.
        let mut tally = tallies.pop().unwrap_or_default();
        tally.runs.resize(self.frame.programs.list.len(), 0);
        tally
    }

    /// A worker is done, which counted so much.
    pub(super) fn put_back(&self, tally: WorkerTally, paths: PathCounts) {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).push(tally);
        *self.paths.lock().unwrap_or_else(PoisonError::into_inner) += paths;
    }

    /// The program of the invocation of this number.
    pub(super) fn program_of(&self, invocation: usize) -> &Program {
        self.frame.program(&self.frame.invocations[invocation])
    }

    #[inline]
    pub(super) fn limits(&self, invocation: &Invocation) -> &'w ProgramLimits {
        self.turns.limits(invocation)
    }

    /// The state of an invocation's script, unless the game has removed it or has put that of another program in its
    /// place.
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

    /// Where the random numbers of a run start; `run` counts the runs of the invocation before it.
    #[inline]
    pub(super) fn seed(
        &self,
        invocation: &Invocation,
        draws: u64,
        callback: Callback,
        run: u32,
    ) -> u64 {
        let program = self.frame.program(invocation);
        seed_of_run(self.frame.seed, (invocation, program), draws, (callback, run))
    }

    /// Moves the effects of the invocation that has this turn into its outcome, after its last run. The rest of the
    /// outcome is there already; `work` is that of all its runs.
    ///
    /// Gives `false` if that is too much together with other invocations: then it is deferred, as if it had not
    /// run.
    #[inline(always)]
    pub(super) fn hand_over(
        &self,
        turn: usize,
        work: u64,
        (context, counts): (&mut ScriptContext<'_>, &mut WorkerCounts),
        outcome: &mut InvocationOutcome,
    ) -> bool {
        let invocation = self.turns.at(turn);
        let (bytes, spawned) = (context.bytes_handed_over(), context.effects.spawned.len());
        if (bytes > 0 || invocation.more.is_some())
            && !self.frame.shares.charge(self.turns, turn, InvocationUsage { work, bytes, spawned })
        {
            context.effects = Effects::default();
            counts.take_back(invocation, outcome.runs);
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
        if outcome.reaches_out(invocation.entity) {
            counts.note_reach(self.turns.index_of(turn));
        }
        true
    }
}
