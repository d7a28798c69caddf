//! [`Turns`]: the invocations of a stage in the order of their turns.

use crate::run::invocation::Invocation;
use crate::run::shares::limits::ProgramLimits;

/// The invocations of a stage in the order of their turns, and what they may use up.
///
/// Who has to wait is decided in this order: see [`Shares`](super::Shares). Threads take turns side by side.
#[derive(Clone, Copy)]
pub(crate) struct Turns<'s> {
    invocations: &'s [Invocation],
    /// The number of the invocation that has each turn; `None`: the turn is the number.
    order: Option<&'s [usize]>,
    /// By the numbers of the programs.
    limits: &'s [ProgramLimits],
    /// The smallest limit of any of them on what a descent spawns.
    least_spawned: u64,
}

impl<'s> Turns<'s> {
    pub(crate) fn new(
        invocations: &'s [Invocation],
        order: Option<&'s [usize]>,
        limits: &'s [ProgramLimits],
    ) -> Self {
        let least_spawned = limits.iter().map(|limits| limits.spawned).min().unwrap_or(0);
        Self { invocations, order, limits, least_spawned }
    }

    pub(super) fn len(self) -> usize {
        self.invocations.len()
    }

    pub(crate) fn order(self) -> Option<&'s [usize]> {
        self.order
    }

    /// The number of the invocation that has this turn.
    #[inline]
    pub(crate) fn index_of(self, turn: usize) -> usize {
        self.order.map_or(turn, |order| order[turn])
    }

    /// The invocation that has this turn.
    #[inline]
    pub(crate) fn at(self, turn: usize) -> &'s Invocation {
        &self.invocations[self.index_of(turn)]
    }

    /// What the runs of an invocation may use up.
    #[inline]
    pub(crate) fn limits(self, invocation: &Invocation) -> &'s ProgramLimits {
        &self.limits[invocation.program as usize]
    }

    pub(super) fn least_spawned(self) -> u64 {
        self.least_spawned
    }
}
