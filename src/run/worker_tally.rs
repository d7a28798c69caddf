//! [`WorkerTally`]: what a worker counts while it executes a stage.

use std::time::Duration;

/// What a worker counts while it executes a stage. Applying the stage reports and empties it.
#[derive(Default)]
pub(crate) struct WorkerTally {
    /// The numbers of the invocations that change entities other than their own.
    pub(crate) reaching: Vec<usize>,
    /// Runs, by the program's number.
    pub(crate) runs: Vec<u64>,
    /// The durations of some runs, with their program's number.
    pub(crate) times: Vec<(u32, Duration)>,
    /// Runs that count as if they had not happened: the program's number, and how many.
    pub(crate) undone: Vec<(u32, u32)>,
}

impl WorkerTally {
    /// Forgets all that was counted.
    pub(super) fn clear(&mut self) {
        self.reaching.clear();
        self.runs.clear();
        self.times.clear();
        self.undone.clear();
    }
}
