//! [`Counts`]: what a worker knows of the time, and counts.

use std::time::{Duration, Instant};

use crate::run::execute::ExecutingStage;
use crate::run::invocation::{Invocation, InvocationOutcome, Tally};
use crate::vm::ticks;

/// What a worker knows of the time, and counts.
pub(super) struct Counts {
    pub(super) stopwatch: Stopwatch,
    /// The frame's budget was spent when the clock was looked at last.
    late: bool,
    /// The program that ran last, and its runs that the tally doesn't have yet: that lies beside those of other
    /// threads, which would have to wait.
    recent: (u32, u64),
    tally: Tally,
}

impl Counts {
    pub(super) fn new(tally: Tally, late: bool) -> Self {
        Self { stopwatch: Stopwatch::new(), late, recent: (0, 0), tally }
    }

    /// All that was counted.
    pub(super) fn into_tally(mut self) -> Tally {
        self.settle_up();
        self.tally
    }

    /// Whether the frame's budget is spent, as far as is known: the clock is looked at when a run was timed.
    #[inline]
    pub(super) fn is_late(&mut self, stage: &ExecutingStage<'_>) -> bool {
        if !stage.budget.is_limited() {
            return false;
        }
        if self.stopwatch.has_looked() {
            self.late = stage.budget.is_spent();
        }
        self.late
    }

    /// Adds the runs to the tally that it doesn't have yet.
    fn settle_up(&mut self) {
        let (program, runs) = &mut self.recent;
        self.tally.runs[*program as usize] += std::mem::take(runs);
    }

    /// Notes an invocation if it changes other entities than its own.
    #[inline]
    pub(super) fn note_reach(
        &mut self,
        index: usize,
        invocation: &Invocation,
        outcome: &InvocationOutcome,
    ) {
        if outcome.reaches_out(invocation.entity) {
            self.tally.reaching.push(index);
        }
    }

    /// Runs of an invocation are to be as if they had not been.
    pub(super) fn undo(&mut self, invocation: &Invocation, runs: u32) {
        self.tally.undone.push((invocation.program, runs));
    }

    /// A run of an invocation is over: counts it.
    #[inline]
    pub(super) fn ran(&mut self, invocation: &Invocation) {
        let time = self.stopwatch.stop();
        if self.recent.0 != invocation.program {
            self.settle_up();
            self.recent.0 = invocation.program;
        }
        self.recent.1 += 1;
        if let Some(time) = time {
            self.tally.times.push((invocation.program, time));
        }
    }
}

/// Runs of which one is timed: two looks at a clock take a fifth of the time of the shortest run.
const RUNS_PER_SAMPLE: u32 = 8;

/// Times some of the runs: one in so many, and each that takes long.
pub(super) struct Stopwatch {
    /// A time not long ago, and the watchdog's tick at that time.
    known: Instant,
    tick: u64,
    /// Runs since one was timed.
    untimed: u32,
    /// The run is one that is timed.
    exact: bool,
}

impl Stopwatch {
    fn new() -> Self {
        let (known, tick) = (Instant::now(), ticks());
        Self { known, tick, untimed: RUNS_PER_SAMPLE, exact: false }
    }

    /// A run begins.
    #[inline]
    pub(super) fn start(&mut self) {
        self.untimed += 1;
        self.exact = self.untimed >= RUNS_PER_SAMPLE || self.tick != ticks();
        if self.exact {
            (self.known, self.tick, self.untimed) = (Instant::now(), ticks(), 0);
        }
    }

    /// The run is over. Gives the time it took, to be counted: exactly, or to a tick if it was none that is
    /// timed, and took long.
    #[inline]
    fn stop(&self) -> Option<Duration> {
        self.is_due(ticks()).then(|| self.known.elapsed())
    }

    /// Whether the last run was timed.
    #[inline]
    fn has_looked(&self) -> bool {
        self.is_due(ticks())
    }

    #[inline]
    fn is_due(&self, tick: u64) -> bool {
        self.exact || tick.saturating_sub(self.tick) >= 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_and_one_in_eight_after_it_are_timed() {
        let mut stopwatch = Stopwatch::new();
        let timed: Vec<bool> = (0..17)
            .map(|_| {
                // As if the watchdog were not looking.
                stopwatch.tick = ticks();
                stopwatch.start();
                stopwatch.exact
            })
            .collect();
        let expected: Vec<bool> = (0..17).map(|run| run % 8 == 0).collect();
        assert_eq!(timed, expected);
    }

    #[test]
    fn a_run_that_lasts_for_ticks_is_timed_even_if_it_is_not_its_turn() {
        let mut stopwatch = Stopwatch::new();
        stopwatch.untimed = 0;
        stopwatch.start();
        stopwatch.exact = false;
        let tick = stopwatch.tick;
        assert!(!stopwatch.is_due(tick + 1), "it may have begun just before");
        assert!(stopwatch.is_due(tick + 2));
    }
}
