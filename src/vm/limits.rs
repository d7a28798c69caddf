//! Time limits of a run.
//!
//! The limit is wall time, but a run isn't charged for time in which the system ran something else: on a
//! busy machine that would fail good scripts by accident. So when the wall clock says that a run is late,
//! the thread's CPU clock is asked too. A look at that one costs a system call, so it is not read for
//! every run: the clock's reading at the start of a run is taken from an earlier run if little has
//! happened since.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use crate::error::ScriptError;

/// How many safepoints pass between two looks at the wall clock. A look costs about as much as ten
/// safepoints.
const SAFEPOINTS_PER_LOOK: u32 = 16;

/// Runs that may share one reading of the CPU clock.
const RUNS_PER_READING: u32 = 64;

/// The CPU time of a thread at some moment not long before a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuClock {
    thread: ThreadId,
    reading: Duration,
    runs: u32,
}

impl CpuClock {
    pub(super) fn read() -> Self {
        let thread = std::thread::current().id();
        Self { thread, reading: ThreadTime::now().as_duration(), runs: 0 }
    }

    /// To be called before each run. Reads anew so often that the runs before it can't have used up half
    /// of the limit since: every so many runs, after a long one, and on another thread.
    pub(super) fn before_run(&mut self, last_run: Duration, limit: Duration) {
        self.runs += 1;
        let long = last_run > limit / (2 * RUNS_PER_READING);
        if long || self.runs >= RUNS_PER_READING || self.thread != std::thread::current().id() {
            *self = Self::read();
        }
    }

    /// At most so much CPU time did the current run use.
    fn elapsed(&self) -> Duration {
        ThreadTime::now().as_duration().saturating_sub(self.reading)
    }
}

/// When a run must be over. Once it has passed, it stays passed: no script can catch that.
#[derive(Debug)]
pub(super) struct Deadline {
    start: Instant,
    /// The wall time after which the CPU clock is asked.
    wall: Duration,
    limit: Duration,
    cpu: CpuClock,
    countdown: u32,
    /// Set from outside when the run must end now.
    stop: Arc<AtomicBool>,
    interrupted: bool,
    passed: bool,
}

impl Deadline {
    pub(super) fn new(
        start: Instant,
        limit: Duration,
        cpu: CpuClock,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let countdown = SAFEPOINTS_PER_LOOK;
        let (interrupted, passed) = (false, false);
        Self { start, wall: limit, limit, cpu, countdown, stop, interrupted, passed }
    }

    /// Looks at the clock now and then; to be called at every safepoint.
    pub(super) fn has_passed(&mut self) -> bool {
        if self.passed {
            return true;
        }
        self.countdown -= 1;
        if self.countdown == 0 {
            self.countdown = SAFEPOINTS_PER_LOOK;
            self.interrupted = self.stop.load(Ordering::Relaxed);
            self.passed = self.interrupted;
            self.judge(self.start.elapsed());
        }
        self.passed
    }

    /// Judges a run that took so much wall time until now.
    pub(super) fn judge(&mut self, took: Duration) -> bool {
        if !self.passed && took > self.wall {
            match self.limit.checked_sub(self.cpu.elapsed()) {
                // The system ran something else meanwhile: that much is left.
                Some(left) => self.wall = took + left,
                None => self.passed = true,
            }
        }
        self.passed
    }

    /// Whether work that takes so long and can't be interrupted may begin: it ends not much after the
    /// deadline.
    pub(super) fn affords(&self, work: Duration) -> bool {
        /// So much later may a built-in end that began in time.
        const GRACE: Duration = Duration::from_millis(2);
        !self.passed
            && (self.start.elapsed() + work <= self.wall + GRACE
                || self.cpu.elapsed() + work <= self.limit + GRACE)
    }

    pub(super) fn error(&self) -> ScriptError {
        if self.interrupted {
            return ScriptError::Interrupted;
        }
        ScriptError::TimedOut { limit: self.limit, setting: "run_time_limit" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn deadline(limit: Duration, cpu: CpuClock) -> Deadline {
        Deadline::new(Instant::now(), limit, cpu, Arc::default())
    }

    /// A clock whose reading lies so far back.
    fn used(cpu: Duration) -> CpuClock {
        let now = CpuClock::read();
        CpuClock { reading: now.reading.saturating_sub(cpu), ..now }
    }

    /// Uses a little CPU time, so that every clock has moved.
    fn work() {
        let start = ThreadTime::now();
        while start.elapsed() < Duration::from_millis(5) {}
    }

    #[test]
    fn a_deadline_that_has_passed_stays_passed() {
        let mut deadline = deadline(Duration::ZERO, CpuClock::read());
        while !deadline.has_passed() {}
        assert!(deadline.has_passed());
        assert!(deadline.judge(Duration::ZERO), "also for one who claims to have been quick");
    }

    #[test]
    fn a_run_that_is_stopped_from_outside_ends_soon_and_says_why() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut deadline = Deadline::new(Instant::now(), HOUR, CpuClock::read(), Arc::clone(&stop));
        assert!((0..100).all(|_| !deadline.has_passed()));
        stop.store(true, Ordering::Relaxed);
        assert!((0..SAFEPOINTS_PER_LOOK).any(|_| deadline.has_passed()));
        assert_eq!(deadline.error(), ScriptError::Interrupted);
        assert!(deadline.judge(Duration::ZERO), "and stays stopped");
    }

    #[test]
    fn a_run_is_judged_by_the_time_it_took_even_if_it_met_no_safepoint() {
        work();
        let limit = Duration::from_millis(1);
        let mut deadline = deadline(limit, used(2 * limit));
        assert!(!deadline.judge(limit), "the limit itself is allowed");
        assert!(deadline.judge(limit + Duration::from_nanos(1)));
    }

    #[test]
    fn a_run_is_not_charged_for_time_in_which_the_system_ran_something_else() {
        let mut deadline = deadline(HOUR, CpuClock::read());
        assert!(!deadline.judge(2 * HOUR), "it has used no CPU time to speak of");
        assert!(deadline.wall > 2 * HOUR, "and has nearly all of its time left");
    }

    #[test]
    fn the_cpu_clock_is_read_anew_before_others_have_used_up_the_limit() {
        let limit = Duration::from_millis(128);
        let old = CpuClock { reading: Duration::ZERO, ..CpuClock::read() };
        work();
        let after = move |mut clock: CpuClock, last_run| {
            clock.before_run(last_run, limit);
            clock.reading > Duration::ZERO
        };
        assert!(!after(old, Duration::from_millis(1)), "a short run changes little");
        assert!(after(old, Duration::from_millis(2)), "a long one much");
        let many = CpuClock { runs: RUNS_PER_READING - 1, ..old };
        assert!(after(many, Duration::ZERO), "many short ones too");
        let elsewhere = std::thread::spawn(move || after(old, Duration::ZERO));
        assert!(elsewhere.join().expect("it ran"), "another thread has another clock");
    }
}
