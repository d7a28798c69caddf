//! [`InvocationBatch`]: invocations that are alike, one after another, as a VM takes them.

use bevy::prelude::EntityRef;

use crate::bindings::ScriptContext;
use crate::run::execute::ExecutingStage;
use crate::run::execute::counts::Counts;
use crate::run::invocation::{Invocation, InvocationOutcome};
use crate::script::ScriptState;
use crate::vm::{CallBatch, Callback, StateChange, Turn, Used, prefetch};

/// Invocations that one worker takes, with room for what comes of them.
pub(super) struct Batch<'b> {
    /// The place of the first one, in the order of the stage.
    pub(super) first: usize,
    pub(super) outcomes: &'b mut [InvocationOutcome],
    /// The order of the stage, if it is not that of the invocations.
    pub(super) order: Option<&'b [usize]>,
    /// In which order they take their turns, if it is not that in which they lie here.
    pub(super) turns: &'b [u16],
    /// How many are done.
    pub(super) done: usize,
}

impl Batch<'_> {
    /// The number of the invocation that has this turn, and where its outcome is.
    #[inline]
    pub(super) fn at(&self, turn: usize) -> Option<(usize, usize)> {
        let within = self.turns.get(turn).map_or(turn, |within| usize::from(*within));
        if turn >= self.outcomes.len() {
            return None;
        }
        let place = self.first + within;
        Some((self.order.map_or(place, |order| order[place]), within))
    }

    /// Which turn in the stage the invocation has whose turn it is.
    ///
    /// # Panics
    /// If all are done.
    #[inline]
    pub(super) fn turn(&self) -> usize {
        let (_, within) = self.at(self.done).expect("its turn is there");
        self.first + within
    }

    /// Whether nothing in the stage has its turn before.
    #[inline]
    pub(super) fn is_first(&self) -> bool {
        self.first == 0 && self.done == 0
    }

    /// The outcome of the invocation whose turn it is, which is done then.
    ///
    /// # Panics
    /// If all are done.
    #[inline]
    pub(super) fn take(&mut self) -> &mut InvocationOutcome {
        let (_, within) = self.at(self.done).expect("its turn is there");
        self.done += 1;
        &mut self.outcomes[within]
    }
}

/// Puts invocations of one program side by side: gives the order in which they take their turns, which is none where
/// they lie so. There are fewer of them than 65,536.
pub(super) fn sort(invocations: &[Invocation], turns: &mut Vec<u16>) {
    turns.clear();
    if invocations.is_sorted_by_key(|invocation| invocation.program) {
        return;
    }
    turns.extend((0..=u16::MAX).take(invocations.len()));
    turns.sort_unstable_by_key(|turn| (invocations[usize::from(*turn)].program, *turn));
}

/// Invocations of one program for which nothing is due but `on_update`, or `on_fixed_update`: nearly all are of this
/// kind.
pub(super) struct InvocationBatch<'r, 'b, 's> {
    pub(super) stage: &'s ExecutingStage<'s>,
    pub(super) counts: &'r mut Counts,
    pub(super) batch: &'r mut Batch<'b>,
    /// The number of the program.
    pub(super) program: u32,
    pub(super) callback: Callback,
    /// They share something with others.
    pub(super) counts_steps: bool,
    /// One has had its turn already.
    pub(super) began: bool,
    /// The invocation whose turn it is.
    pub(super) current: Option<usize>,
    /// The one whose turn is next, once it was looked up.
    pub(super) next: Option<Found<'s>>,
}

/// An invocation of this kind, and what it needs from the world.
pub(super) struct Found<'s> {
    index: usize,
    invocation: &'s Invocation,
    entity: EntityRef<'s>,
    state: &'s ScriptState,
}

impl<'s> InvocationBatch<'_, '_, 's> {
    /// Looks up the invocation that has this turn, if it is of this kind.
    #[inline]
    fn find(&self, turn: usize) -> Option<Found<'s>> {
        let stage = self.stage;
        let (index, _) = self.batch.at(turn)?;
        let invocation = &stage.frame.invocations[index];
        if invocation.program != self.program
            || invocation.more.is_some() != self.counts_steps
            || !invocation.is_due_alone(self.callback)
        {
            return None;
        }
        let entity = stage.world.get_entity(invocation.entity).ok()?;
        let state = stage.state_of(invocation, entity)?;
        Some(Found { index, invocation, entity, state })
    }
}

impl<'s> CallBatch<'s, ScriptContext<'s>> for InvocationBatch<'_, '_, 's> {
    #[inline]
    fn turn(&mut self, context: &mut ScriptContext<'s>) -> Option<Turn<'s>> {
        let found = self.next.take().or_else(|| self.find(self.batch.done))?;
        let Found { index, invocation, entity, state } = found;
        // The first one may run.
        let may_run = !self.began
            || !self.counts.is_late(self.stage) && self.stage.frame.shares.may_run(invocation);
        if !may_run {
            return None;
        }
        // By the time that this one is done, what the next one needs is here.
        self.next = self.find(self.batch.done + 1);
        if let Some((_, value)) = self.next.as_ref().and_then(|next| next.state.fields.fields.at(0))
        {
            prefetch(value);
        }
        context.turn_to(invocation.entity, Some(entity), self.stage.limits(invocation).commands);
        (self.began, self.current) = (true, Some(index));
        self.counts.stopwatch.start();
        Some(Turn {
            entity: invocation.entity,
            state: &state.fields,
            argument: invocation.delta,
            seed: self.stage.seed(invocation, state.draws(), self.callback, 0),
        })
    }

    #[inline]
    fn done(&mut self, context: &mut ScriptContext<'s>, change: StateChange, used: Used) {
        let Some(index) = self.current.take() else { return };
        let invocation = &self.stage.frame.invocations[index];
        self.counts.ran(invocation);
        let turn = self.batch.turn();
        let outcome = self.batch.take();
        outcome.state = change;
        outcome.set_ran(false);
        outcome.drew = used.drew;
        let work =
            if self.counts_steps { self.stage.limits(invocation).work(used, false) } else { 0 };
        if !self.stage.hand_over(turn, work, context, outcome) {
            self.counts.undo(invocation, 1);
        }
        self.counts.note_reach(index, invocation, outcome);
    }
}

#[cfg(test)]
mod tests {
    use bevy::prelude::Entity;

    use super::*;

    fn invocations(programs: &[u32]) -> Vec<Invocation> {
        programs.iter().map(|program| Invocation::new(Entity::PLACEHOLDER, 0, *program)).collect()
    }

    #[test]
    fn invocations_of_one_program_take_their_turns_side_by_side_and_otherwise_in_their_order() {
        let mut turns = vec![7];
        sort(&invocations(&[2, 0, 1, 0, 2, 1, 0]), &mut turns);
        assert_eq!(turns, [1, 3, 6, 2, 5, 0, 4]);
        for lie_so in [&[3, 3, 3][..], &[0, 1, 1, 4], &[]] {
            sort(&invocations(lie_so), &mut turns);
            assert!(turns.is_empty(), "{lie_so:?}");
        }
    }

    #[test]
    fn every_turn_has_an_outcome_of_its_own() {
        let mut outcomes: Vec<_> = (0..3).map(|_| InvocationOutcome::default()).collect();
        let order = [9, 8, 7, 6, 5];
        let turns = [2, 0, 1];
        for (order, numbers) in [(None, [4, 2, 3]), (Some(&order[..]), [5, 7, 6])] {
            let first = 2;
            let mut batch = Batch { first, outcomes: &mut outcomes, order, turns: &turns, done: 0 };
            for (within, number) in [2, 0, 1].into_iter().zip(numbers) {
                assert_eq!(batch.at(batch.done), Some((number, within)));
                batch.take().runs = 1;
                assert_eq!(batch.outcomes[within].runs, 1);
            }
            assert_eq!(batch.at(batch.done), None);
        }
    }
}
