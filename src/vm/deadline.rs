//! [`RunDeadline`]: the time limit of a run.
//!
//! The limit is CPU time. Wall time would fail good scripts on a busy machine, since it includes the time in which the
//! system runs something else. The [watchdog](super::watchdog) knows wall time only, so when it says that a run is
//! late, the CPU clock of the thread decides. Reading that takes a system call, so it is read once per tick of the
//! watchdog, and not for every run.
//!
//! A call of an engine, or of a pool outside Bevy, can have a limit of wall time too.

use std::cell::Cell;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use super::watchdog::{PERIOD, RunWatch, clock, ticks};
use crate::error::{ScriptError, Setting};

/// The CPU time of this thread, shortly before a run.
#[derive(Clone, Copy, Debug)]
struct CpuReading {
    tick: u64,
    cpu: Duration,
    /// When it was read, by the watchdog's clock.
    wall: Duration,
}

/// The bounds of a call, besides the time limit of its run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallBounds {
    /// CPU time that the call used before the run, to compile.
    pub(crate) used: Duration,
    /// When it must be over, by wall time.
    pub(crate) wall: Option<WallDeadline>,
    /// Cancelling calls doesn't cancel this one.
    pub(crate) uncancelled: bool,
}

/// A limit of wall time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallDeadline {
    until: Instant,
    timeout: Duration,
}

impl WallDeadline {
    /// After `timeout` from now on; `None` if that is too long for an [`Instant`].
    pub(crate) fn within(timeout: Duration) -> Option<Self> {
        Instant::now().checked_add(timeout).map(|until| Self { until, timeout })
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.left().is_zero()
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    pub(crate) fn error(&self) -> ScriptError {
        ScriptError::Overdue { timeout: self.timeout, setting: Setting::CallTimeout }
    }
}

/// Why a run must end, other than for its CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EarlyEnd {
    /// The VM is stopped for good.
    Interrupted,
    /// The call was cancelled.
    Cancelled,
    /// It is late by wall time.
    Overdue,
}

/// In place of a tick: the reading is exact, not that of a tick.
const EXACT: u64 = u64::MAX;

thread_local! {
    static LAST_READING: Cell<CpuReading> =
        const { Cell::new(CpuReading { tick: EXACT, cpu: Duration::ZERO, wall: Duration::ZERO }) };
}

impl CpuReading {
    fn now() -> Self {
        Self { tick: ticks(), cpu: ThreadTime::now().as_duration(), wall: clock() }
    }

    /// The reading of this tick.
    #[inline]
    fn recent() -> Self {
        let last = LAST_READING.get();
        if last.tick == ticks() {
            return last;
        }
        let now = Self::now();
        LAST_READING.set(now);
        now
    }
}

/// When a run must be over. Once it has passed, it stays passed: no script can catch that.
#[derive(Debug)]
pub(super) struct RunDeadline<'w> {
    watch: &'w RunWatch,
    turn: u64,
    limit: Duration,
    began: CpuReading,
    /// The CPU time that it used before `began`.
    before: Duration,
    /// The CPU time that it used, once it was late.
    used: Duration,
    wall: Option<WallDeadline>,
    uncancelled: bool,
    ended: Option<EarlyEnd>,
    passed: bool,
}

impl<'w> RunDeadline<'w> {
    /// How much later a built-in may end that began in time.
    const GRACE: Duration = Duration::from_millis(1);

    /// A run begins that may take `limit`.
    pub(super) fn begin(watch: &'w RunWatch, limit: Duration) -> Self {
        let began = CpuReading::recent();
        let turn = watch.begin(limit);
        Self {
            watch,
            turn,
            limit,
            began,
            before: Duration::ZERO,
            used: Duration::ZERO,
            wall: None,
            uncancelled: false,
            ended: None,
            passed: false,
        }
    }

    /// The run of a call begins.
    pub(super) fn of_call(watch: &'w RunWatch, limit: Duration, bounds: CallBounds) -> Self {
        let CallBounds { used, wall, uncancelled } = bounds;
        let left = wall.map_or(Duration::MAX, |wall| wall.left());
        let mut deadline = if used.is_zero() {
            Self::begin(watch, limit.min(left))
        } else {
            Self::resume(watch, limit.min(used.saturating_add(left)), used)
        };
        deadline.limit = limit;
        deadline.wall = wall;
        deadline.uncancelled = uncancelled;
        deadline
    }

    /// The next run begins, with the same limit, which the last one kept.
    #[inline]
    pub(super) fn begin_again(&mut self) {
        debug_assert!(!self.passed);
        self.began = CpuReading::recent();
        self.before = Duration::ZERO;
        self.turn = self.watch.begin(self.limit);
    }

    /// Work of our own begins, once for many runs, with `times` the limit of one.
    pub(super) fn continue_for_many(&mut self, times: u32) {
        self.limit = self.limit.saturating_mul(times);
        self.begin_again();
    }

    /// How much time the run has used, to a tick.
    pub(super) fn roughly_used(&self) -> Duration {
        if self.began.tick == EXACT {
            return self.before + CpuReading::now().cpu.saturating_sub(self.began.cpu);
        }
        let lasted = ticks().saturating_sub(self.began.tick);
        self.before + PERIOD.saturating_mul(u32::try_from(lasted).unwrap_or(u32::MAX))
    }

    /// A run begins that has used some of its time already, in an earlier attempt.
    pub(super) fn resume(watch: &'w RunWatch, limit: Duration, used: Duration) -> Self {
        let mut deadline = Self::begin(watch, limit.saturating_sub(used));
        deadline.limit = limit;
        deadline.began = CpuReading { tick: EXACT, ..CpuReading::now() };
        deadline.before = used;
        deadline
    }

    /// Whether the run must end now. For safepoints, and for built-ins that work for long. Cheap as long as there
    /// was no alarm.
    pub(super) fn has_passed(&mut self) -> bool {
        if self.passed {
            return true;
        }
        if self.watch.is_stopped() {
            self.end_as(EarlyEnd::Interrupted);
        } else if self.watch.is_cancelled() && !self.uncancelled {
            self.end_as(EarlyEnd::Cancelled);
        } else if self.watch.is_alarmed(self.turn) {
            self.check_cpu_time();
        }
        self.passed
    }

    fn end_as(&mut self, why: EarlyEnd) {
        self.ended = Some(why);
        self.passed = true;
    }

    /// As [`RunDeadline::has_passed`], at a safepoint. If it has not passed, Luau asks no more.
    pub(super) fn has_passed_at_safepoint(&mut self) -> bool {
        let passed = self.has_passed();
        if !passed && !self.watch.counts_steps() {
            self.watch.calm(self.turn);
        }
        passed
    }

    /// The run is over. Gives whether it was late, even if it met no safepoint. The answer is final.
    #[inline(always)]
    pub(super) fn end(&mut self) -> bool {
        if !self.passed && self.watch.is_alarmed(self.turn) {
            self.check_cpu_time();
        }
        self.watch.end(self.turn);
        if self.passed {
            self.end_late();
        }
        self.passed
    }

    #[cold]
    fn end_late(&mut self) {
        self.used = self.before + CpuReading::now().cpu.saturating_sub(self.began.cpu);
        // Nothing runs now: an even turn never has an alarm.
        self.watch.calm(self.turn + 1);
    }

    /// The watchdog says that the run is late: decides by the CPU clock, unless its wall time is over too.
    fn check_cpu_time(&mut self) {
        let wall = self.wall.map_or(Duration::MAX, |wall| wall.left());
        if wall.is_zero() {
            self.end_as(EarlyEnd::Overdue);
            return;
        }
        let now = CpuReading::now();
        let measured = now.cpu.saturating_sub(self.began.cpu);
        let used = if self.began.tick == EXACT {
            self.before + measured
        } else {
            // Earlier runs on this thread may have used the time between the reading and the moment when the
            // watchdog first saw this run. All time since then is its own.
            let unknown = self.watch.seen_since().saturating_sub(self.began.wall);
            measured.saturating_sub(unknown)
        };
        match self.limit.checked_sub(used) {
            Some(left) if !left.is_zero() => {
                // From now on, the time that it uses is known exactly.
                self.began = CpuReading { tick: EXACT, ..now };
                self.before = used;
                self.turn = self.watch.extend(self.turn, left.min(wall));
            }
            _ => self.passed = true,
        }
    }

    /// Whether a run ever has time for work that takes so long and can't be interrupted.
    pub(super) fn allows(&self, work: Duration) -> bool {
        work <= self.limit.saturating_add(Self::GRACE)
    }

    /// Begins work that takes so long and can't be interrupted. Gives whether there is enough time left. If not, the
    /// run is over: a script that could catch that would learn what the clock says.
    pub(super) fn begin_work(&mut self, work: Duration) -> bool {
        let used = self.before + CpuReading::now().cpu.saturating_sub(self.began.cpu);
        // Without an alarm the reading may be old: on a busy machine the watchdog may be late itself.
        let known = self.began.tick == EXACT || self.watch.is_alarmed(self.turn);
        let used = if known { used } else { used.min(self.limit / 2) };
        if !self.passed && !self.allows(used + work) {
            self.passed = true;
            self.watch.raise_alarm(self.turn);
        }
        !self.passed
    }

    /// Whether work that takes so long and can't be interrupted may be repeated, with safepoints in between: the last
    /// one may begin just before the deadline.
    pub(super) fn affords_often(&self, work: Duration) -> bool {
        /// How late a run may be, besides a share of its limit.
        const GRACE: Duration = Duration::from_millis(2);
        work <= self.limit / 8 + GRACE
    }

    /// Why the run must end, for the script: without the time that it used.
    pub(super) fn error(&self) -> ScriptError {
        self.error_with(self.limit)
    }

    /// Why the run ended, with the CPU time that it used.
    pub(super) fn verdict(&self) -> ScriptError {
        self.error_with(self.used.max(self.limit))
    }

    fn error_with(&self, used: Duration) -> ScriptError {
        match (self.ended, &self.wall) {
            (Some(EarlyEnd::Interrupted), _) => return ScriptError::Interrupted,
            (Some(EarlyEnd::Cancelled), _) => return ScriptError::Cancelled,
            (Some(EarlyEnd::Overdue), Some(wall)) => return wall.error(),
            _ => {}
        }
        ScriptError::TimedOut { limit: self.limit, used, setting: Setting::RunTimeLimit }
    }
}
#[cfg(test)]
mod tests;
