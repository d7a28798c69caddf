//! [`WorkerCounts`]: what a worker counts, and which runs it times.

use std::time::{Duration, Instant};

use crate::run::budget::StageBudget;
use crate::run::invocation::Invocation;
use crate::run::worker_tally::WorkerTally;
use crate::snapshot::PathCounts;
use crate::vm::ticks;

/// What a worker counts, and what it knows of the time.
pub(super) struct WorkerCounts {
    stopwatch: Stopwatch,
    /// The frame's budget was spent when the clock was last read.
    is_late: bool,
    /// The program that ran last, and those of its runs that are not in the tally yet. The tally may share cache
    /// lines with those of other threads.
    recent: (u32, u64),
    tally: WorkerTally,
    /// Which ways the runs took.
    paths: PathCounts,
}

impl WorkerCounts {
    pub(super) fn new(tally: WorkerTally, is_late: bool) -> Self {
        let (stopwatch, paths) = (Stopwatch::new(), PathCounts::default());
        Self { stopwatch, is_late, recent: (0, 0), tally, paths }
    }

    /// All that was counted.
    pub(super) fn finish(mut self) -> (WorkerTally, PathCounts) {
        self.flush();
        (self.tally, self.paths)
    }

    /// So many runs were made in a batch.
    pub(super) fn note_batch(&mut self, runs: usize) {
        self.paths.run_in_batches += runs as u64;
    }

    /// A run was made on its own, perhaps on a file level that was executed for it.
    pub(super) fn note_single(&mut self, on_fresh_file_level: bool) {
        self.paths.run_one_by_one += 1;
        self.paths.run_on_fresh_file_level += u64::from(on_fresh_file_level);
    }

    /// Whether the frame's budget is spent, as far as is known: the clock is read only after a run that was timed.
    #[inline]
    pub(super) fn is_late(&mut self, budget: &StageBudget) -> bool {
        if !budget.is_limited() {
            return false;
        }
        if self.stopwatch.has_timed() {
            self.is_late = budget.is_spent();
        }
        self.is_late
    }

    /// Moves the recent runs to the tally.
    fn flush(&mut self) {
        let (program, runs) = &mut self.recent;
        self.tally.runs[*program as usize] += std::mem::take(runs);
    }

    /// The invocation of this number changes other entities than its own.
    pub(super) fn note_reach(&mut self, invocation: usize) {
        self.tally.reaching.push(invocation);
    }

    /// Takes back runs that were counted and are to be as if they had not been.
    pub(super) fn take_back(&mut self, invocation: &Invocation, runs: u32) {
        self.tally.undone.push((invocation.program, runs));
    }

    /// A run begins.
    #[inline]
    pub(super) fn begin_run(&mut self) {
        self.stopwatch.start();
    }

    /// Counts a run of an invocation, which is over.
    #[inline]
    pub(super) fn end_run(&mut self, invocation: &Invocation) {
        let time = self.stopwatch.stop();
        if self.recent.0 != invocation.program {
            self.flush();
            self.recent.0 = invocation.program;
        }
        self.recent.1 += 1;
        if let Some(time) = time {
            self.tally.times.push((invocation.program, time));
        }
    }
}

/// One run in so many is timed: reading the clock twice takes a fifth of the time of the shortest run.
const RUNS_PER_SAMPLE: u32 = 8;

/// Times a sample of the runs, and each that takes long.
struct Stopwatch {
    /// When the clock was last read, and the watchdog's tick at that time.
    read_at: Instant,
    tick: u64,
    /// Runs since one was timed, and this one.
    runs: u32,
    /// The run is in the sample.
    is_sample: bool,
}

impl Stopwatch {
    fn new() -> Self {
        let (read_at, tick) = (Instant::now(), ticks());
        Self { read_at, tick, runs: RUNS_PER_SAMPLE, is_sample: false }
    }

    /// A run begins.
    #[inline]
    fn start(&mut self) {
        self.runs += 1;
        self.is_sample = self.runs >= RUNS_PER_SAMPLE || self.tick != ticks();
        if self.is_sample {
            (self.read_at, self.tick, self.runs) = (Instant::now(), ticks(), 0);
        }
    }

    /// The run is over. Gives the time it took if that is to be counted. If the run is not in the sample but took
    /// long, the time is exact to a tick.
    #[inline]
    fn stop(&self) -> Option<Duration> {
        self.times_run_until(ticks()).then(|| self.read_at.elapsed())
    }

    /// Whether the last run was timed.
    #[inline]
    fn has_timed(&self) -> bool {
        self.times_run_until(ticks())
    }

    /// Whether a run that ends at this tick is timed.
    #[inline]
    fn times_run_until(&self, tick: u64) -> bool {
        self.is_sample || tick.saturating_sub(self.tick) >= 2
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
                stopwatch.is_sample
            })
            .collect();
        let expected: Vec<bool> = (0..17).map(|run| run % 8 == 0).collect();
        assert_eq!(timed, expected);
    }

    #[test]
    fn a_run_that_lasts_for_ticks_is_timed_even_if_it_is_not_its_turn() {
        let mut stopwatch = Stopwatch::new();
        stopwatch.runs = 0;
        stopwatch.start();
        stopwatch.is_sample = false;
        let tick = stopwatch.tick;
        assert!(!stopwatch.times_run_until(tick + 1), "it may have begun just before");
        assert!(stopwatch.times_run_until(tick + 2));
    }
}
