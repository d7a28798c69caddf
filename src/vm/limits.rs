//! Time limits of a run.

use std::time::{Duration, Instant};

use crate::error::ScriptError;

/// How many safepoints pass between two looks at the clock. A look costs about as much as ten
/// safepoints.
const SAFEPOINTS_PER_LOOK: u32 = 16;

/// When a run must be over. Once it has passed, it stays passed: no script can catch that.
#[derive(Debug)]
pub(super) struct Deadline {
    start: Instant,
    limit: Duration,
    countdown: u32,
    passed: bool,
}

impl Deadline {
    pub(super) fn new(start: Instant, limit: Duration) -> Self {
        Self { start, limit, countdown: SAFEPOINTS_PER_LOOK, passed: false }
    }

    /// Looks at the clock now and then; to be called at every safepoint.
    pub(super) fn has_passed(&mut self) -> bool {
        if self.passed {
            return true;
        }
        self.countdown -= 1;
        if self.countdown == 0 {
            self.countdown = SAFEPOINTS_PER_LOOK;
            self.passed = self.start.elapsed() > self.limit;
        }
        self.passed
    }

    /// Judges a run that took this long altogether.
    pub(super) fn judge(&mut self, took: Duration) -> bool {
        self.passed |= took > self.limit;
        self.passed
    }

    pub(super) fn error(&self) -> ScriptError {
        ScriptError::TimedOut { limit: self.limit, setting: "run_time_limit" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_has_passed_stays_passed() {
        let start = Instant::now();
        let mut deadline = Deadline::new(start, Duration::ZERO);
        while !deadline.has_passed() {}
        assert!(deadline.has_passed());
        assert!(deadline.judge(Duration::ZERO), "also for one who claims to have been quick");
    }

    #[test]
    fn a_run_is_judged_by_the_time_it_took_even_if_it_met_no_safepoint() {
        let mut deadline = Deadline::new(Instant::now(), Duration::from_secs(3600));
        assert!(!deadline.judge(Duration::from_secs(3600)));
        assert!(deadline.judge(Duration::from_secs(3601)));
    }
}
