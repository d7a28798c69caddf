//! Stores the states of scripts.

use bevy::ecs::change_detection::{DetectChanges, DetectChangesMut};
use bevy::prelude::World;

use crate::run::apply::stage::ApplyingStage;
use crate::run::invocation::Invocation;
use crate::run::outcome::InvocationOutcome;
use crate::run::stop::{SinceCollected, StopQueue, Stopped};
use crate::script::{Judgement, ScriptStates};
use crate::vm::{Callback, StateChange};

impl ApplyingStage<'_> {
    /// Stores `self` and what the frame knows of the script. Gives whether the script is put aside now.
    pub(super) fn store_state(
        &mut self,
        world: &mut World,
        invocation: &Invocation,
        outcome: &mut InvocationOutcome,
    ) -> bool {
        if invocation.due.contains(Callback::Stop) {
            return false;
        }
        let now = world.change_tick();
        let mut states = world.get_mut::<ScriptStates>(invocation.entity);
        // Changes that the game made since the runs ended win.
        let changed_by_game = self.last_stored != Some(invocation.entity)
            && states
                .as_ref()
                .is_some_and(|states| states.last_changed().is_newer_than(self.executed, now));
        if !changed_by_game {
            self.last_stored = Some(invocation.entity);
        }
        let state = states
            .as_mut()
            .and_then(|states| states.bypass_change_detection().states.get_mut(invocation.slot()))
            // The game may have put another state there in the same stage.
            .filter(|state| self.programs.is_run_by(invocation, state));
        let Some(state) = state else {
            let program = &self.programs.list[invocation.program as usize].program;
            let mut queue = world.resource_mut::<StopQueue>();
            let origin = self.shares.origin_of(invocation);
            let (known_stops, executed) = (self.known_stops, self.executed);
            let since = SinceCollected { known_stops, executed, now };
            let conflict = queue.catch_up(invocation, program, outcome, origin, &since);
            self.report.frame.conflicts += u64::from(conflict);
            return false;
        };
        // If the game started or stopped it since, it stays so.
        let had_started = !invocation.due.contains(Callback::Start);
        let mut changed = state.started == had_started && state.started != outcome.started;
        if changed {
            state.started = outcome.started;
        }
        if outcome.drew {
            state.draws = state.draws.wrapping_add(1);
            changed = true;
        }
        match std::mem::take(&mut outcome.state) {
            StateChange::Unchanged => {}
            _ if changed_by_game => self.report.frame.conflicts += 1,
            change => {
                changed |= change.apply(&mut state.fields);
            }
        }
        let attached = &mut state.attached;
        attached.waiting[self.stage as usize] = 0;
        attached.pending_delta[self.stage as usize] =
            if outcome.unfinished { invocation.delta } else { 0.0 };
        if invocation.due.contains(Callback::Reload) && !outcome.unfinished {
            attached.reload = false;
        }
        let was_put_aside = attached.backoff.is_put_aside();
        let (policy, frame) = (&self.retry_policy, self.frame);
        let judgement = match outcome.more.as_mut().and_then(|more| more.verdicts.take()) {
            Some(verdicts) => attached.backoff.judge(&verdicts, policy, frame, invocation.entity),
            None if outcome.runs > 0 && attached.backoff.has_failures() => {
                attached.backoff.succeeded(self.stage.callback(), policy)
            }
            None => Judgement::default(),
        };
        if judgement.tried {
            self.report.count_retry(self.figures[invocation.program as usize]);
        }
        let put_aside = attached.backoff.is_put_aside();
        let next_try = attached.backoff.next_try();
        if changed && let Some(mut states) = states {
            states.set_changed();
        }
        if let Some(newly) = judgement.newly {
            let carried = &mut self.programs.list[invocation.program as usize];
            if !was_put_aside {
                carried.count_aside(next_try);
            }
            let interval = next_try.map(|try_at| try_at.saturating_sub(frame));
            let (script, entity) = (carried.program.name(), invocation.entity);
            self.report.log_put_aside(script, entity, newly, interval);
        }
        put_aside
    }

    /// Leaves an invocation for the next stage: stores that it waits, and the time that passed for it.
    pub(super) fn store_deferral(&mut self, world: &mut World, invocation: &mut Invocation) {
        let stage = self.stage as usize;
        if let Some(mut last) = invocation.take_stop() {
            let program = self.program_of(invocation);
            last.waiting = last.waiting.saturating_add(1);
            let stopped = Stopped { entity: invocation.entity, program, last };
            world.resource_mut::<StopQueue>().stopped.push(stopped);
        } else if let Some(mut states) = world.get_mut::<ScriptStates>(invocation.entity)
            && let Some(state) = states.bypass_change_detection().states.get_mut(invocation.slot())
            && self.programs.is_run_by(invocation, state)
        {
            let waiting = &mut state.attached.waiting[stage];
            *waiting = waiting.saturating_add(1);
            state.attached.pending_delta[stage] = invocation.delta;
        } else {
            // The game removed it.
            return;
        }
        self.report.frame.deferred += 1;
    }
}
