//! [`OutcomeChunk`]: the invocations that a worker takes at a time, with room for their outcomes.

use crate::run::invocation::Invocation;
use crate::run::outcome::InvocationOutcome;

/// The invocations that a worker takes at a time, with room for their outcomes.
///
/// They have consecutive turns in the stage. The worker may run them in another order, [`sort_by_program`]: a
/// *position* here is a place in that.
pub(super) struct OutcomeChunk<'c> {
    /// The turn of the first one.
    first: usize,
    /// In the order of turns.
    outcomes: &'c mut [InvocationOutcome],
    /// The number of the invocation that has each turn of the stage; `None`: the turn is the number.
    turn_order: Option<&'c [usize]>,
    /// The index in `outcomes` at each position; empty: the position is the index.
    positions: &'c [u16],
    /// How many were taken.
    taken: usize,
}

impl<'c> OutcomeChunk<'c> {
    pub(super) fn new(
        first: usize,
        outcomes: &'c mut [InvocationOutcome],
        turn_order: Option<&'c [usize]>,
        positions: &'c [u16],
    ) -> Self {
        Self { first, outcomes, turn_order, positions, taken: 0 }
    }

    /// The position of the next invocation, which is also the number of those that were taken.
    #[inline]
    pub(super) fn position(&self) -> usize {
        self.taken
    }

    /// The number of the invocation at a position.
    #[inline]
    pub(super) fn invocation_at(&self, position: usize) -> Option<usize> {
        if position >= self.outcomes.len() {
            return None;
        }
        let turn = self.first + self.index(position);
        Some(self.turn_order.map_or(turn, |order| order[turn]))
    }

    #[inline]
    fn index(&self, position: usize) -> usize {
        self.positions.get(position).map_or(position, |index| usize::from(*index))
    }

    /// Whether no other invocation of the stage has its turn before the next one.
    #[inline]
    pub(super) fn is_first(&self) -> bool {
        self.first == 0 && self.taken == 0
    }

    /// Takes the next invocation: gives its turn in the stage, and its outcome.
    ///
    /// # Panics
    /// If all were taken.
    #[inline]
    pub(super) fn take(&mut self) -> (usize, &mut InvocationOutcome) {
        let index = self.index(self.taken);
        self.taken += 1;
        (self.first + index, &mut self.outcomes[index])
    }
}

/// Sorts invocations by program, so that those of one lie side by side: gives the positions of a chunk, none if they
/// are sorted already. There are fewer of them than 65,536.
pub(super) fn sort_by_program(invocations: &[Invocation], positions: &mut Vec<u16>) {
    positions.clear();
    if invocations.is_sorted_by_key(|invocation| invocation.program) {
        return;
    }
    positions.extend((0..=u16::MAX).take(invocations.len()));
    positions.sort_unstable_by_key(|index| (invocations[usize::from(*index)].program, *index));
}

#[cfg(test)]
mod tests {
    use bevy::prelude::Entity;

    use super::*;

    fn invocations(programs: &[u32]) -> Vec<Invocation> {
        programs.iter().map(|program| Invocation::new(Entity::PLACEHOLDER, 0, *program)).collect()
    }

    #[test]
    fn invocations_of_one_program_are_run_side_by_side_and_otherwise_in_their_order() {
        let mut positions = vec![7];
        sort_by_program(&invocations(&[2, 0, 1, 0, 2, 1, 0]), &mut positions);
        assert_eq!(positions, [1, 3, 6, 2, 5, 0, 4]);
        for sorted in [&[3, 3, 3][..], &[0, 1, 1, 4], &[]] {
            sort_by_program(&invocations(sorted), &mut positions);
            assert!(positions.is_empty(), "{sorted:?}");
        }
    }

    #[test]
    fn every_invocation_has_an_outcome_of_its_own() {
        let mut outcomes: Vec<_> = (0..3).map(|_| InvocationOutcome::default()).collect();
        let order = [9, 8, 7, 6, 5];
        let positions = [2, 0, 1];
        for (order, numbers) in [(None, [4, 2, 3]), (Some(&order[..]), [5, 7, 6])] {
            let first = 2;
            let mut chunk = OutcomeChunk::new(first, &mut outcomes, order, &positions);
            for (index, number) in [2, 0, 1].into_iter().zip(numbers) {
                assert_eq!(chunk.invocation_at(chunk.position()), Some(number));
                let (turn, outcome) = chunk.take();
                assert_eq!(turn, first + index);
                outcome.runs = 1;
                assert_eq!(chunk.outcomes[index].runs, 1);
            }
            assert_eq!(chunk.invocation_at(chunk.position()), None);
        }
    }
}
