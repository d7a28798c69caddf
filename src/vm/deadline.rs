//! The time limit of a run.
//!
//! The limit is one of CPU time: a run isn't charged for time in which the system ran something else, or in which
//! it waited; on a busy machine that would fail good scripts by accident. The [watchdog](super::watchdog) only
//! knows the clock on the wall. So when it says that a run is late, the thread's CPU clock is asked too. A look at
//! that one costs a system call, so it is read once in a tick of the watchdog, and not for every run.
//!
//! A call of an engine, or of a pool outside Bevy, may have a limit by the clock on the wall besides.

use std::cell::Cell;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use super::watchdog::{PERIOD, RunWatch, clock, ticks};
use crate::error::{ScriptError, Setting};

/// The CPU time of this thread, not long before a run.
#[derive(Clone, Copy, Debug)]
struct CpuReading {
    tick: u64,
    cpu: Duration,
    /// When it was taken, by the watchdog's clock.
    wall: Duration,
}

/// What bounds a call, besides the CPU time of its run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallBounds {
    /// CPU time that the call has used before the run: it was compiled.
    pub(crate) used: Duration,
    /// When it must be over by the clock on the wall.
    pub(crate) wall: Option<WallDeadline>,
    /// What cancels calls doesn't cancel this one.
    pub(crate) uncancelled: bool,
}

/// A limit by the clock on the wall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallDeadline {
    until: Instant,
    timeout: Duration,
}

impl WallDeadline {
    /// So much from now on. What is too long for an instant is for ever.
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

/// Why a run must end, if not for the CPU time that it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EarlyEnd {
    /// The VM is stopped for good.
    Interrupted,
    /// The call was cancelled.
    Cancelled,
    /// It is late by the clock on the wall.
    Overdue,
}

/// In place of a tick: the reading is that of the moment itself.
const EXACT: u64 = u64::MAX;

thread_local! {
    static LAST_READING: Cell<CpuReading> =
        const { Cell::new(CpuReading { tick: EXACT, cpu: Duration::ZERO, wall: Duration::ZERO }) };
}

impl CpuReading {
    fn now() -> Self {
        Self { tick: ticks(), cpu: ThreadTime::now().as_duration(), wall: clock() }
    }

    /// That of this tick.
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
    /// What it used before that.
    before: Duration,
    /// The CPU time that it used, once it was late.
    used: Duration,
    wall: Option<WallDeadline>,
    uncancelled: bool,
    ended: Option<EarlyEnd>,
    passed: bool,
}

impl<'w> RunDeadline<'w> {
    /// So much later may a built-in end that began in time.
    const GRACE: Duration = Duration::from_millis(1);

    /// A run begins that may take so long.
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
            Self::go_on(watch, limit.min(used.saturating_add(left)), used)
        };
        deadline.limit = limit;
        deadline.wall = wall;
        deadline.uncancelled = uncancelled;
        deadline
    }

    /// The next run begins, with as much time as this one had, which kept to it.
    #[inline]
    pub(super) fn begin_again(&mut self) {
        debug_assert!(!self.passed);
        self.began = CpuReading::recent();
        self.before = Duration::ZERO;
        self.turn = self.watch.begin(self.limit);
    }

    /// What is ours begins, once for many runs: it has so many times the time that this run had, which kept to it.
    pub(super) fn go_on_for_many(&mut self, times: u32) {
        self.limit = self.limit.saturating_mul(times);
        self.begin_again();
    }

    /// How much of its time the run has used, as far as ticks tell.
    pub(super) fn roughly_used(&self) -> Duration {
        if self.began.tick == EXACT {
            return self.before + CpuReading::now().cpu.saturating_sub(self.began.cpu);
        }
        let lasted = ticks().saturating_sub(self.began.tick);
        self.before + PERIOD.saturating_mul(u32::try_from(lasted).unwrap_or(u32::MAX))
    }

    /// A run goes on in another way that has used so much of its time already.
    pub(super) fn go_on(watch: &'w RunWatch, limit: Duration, used: Duration) -> Self {
        let mut deadline = Self::begin(watch, limit.saturating_sub(used));
        deadline.limit = limit;
        deadline.began = CpuReading { tick: EXACT, ..CpuReading::now() };
        deadline.before = used;
        deadline
    }

    /// Whether the run must end now; for when Luau asks at a safepoint, and for built-ins that work for
    /// long. Costs next to nothing as long as there was no alarm.
    pub(super) fn has_passed(&mut self) -> bool {
        if self.passed {
            return true;
        }
        if self.watch.is_stopped() {
            self.end_as(EarlyEnd::Interrupted);
        } else if self.watch.is_cancelled() && !self.uncancelled {
            self.end_as(EarlyEnd::Cancelled);
        } else if self.watch.is_alarmed(self.turn) {
            self.judge();
        }
        self.passed
    }

    fn end_as(&mut self, why: EarlyEnd) {
        self.ended = Some(why);
        self.passed = true;
    }

    /// As [`RunDeadline::has_passed`], at a safepoint: Luau asks no more if it has not.
    pub(super) fn has_passed_at_safepoint(&mut self) -> bool {
        let passed = self.has_passed();
        if !passed && !self.watch.counts_steps() {
            self.watch.calm(self.turn);
        }
        passed
    }

    /// The run is over: whether it kept to its time, even if it met no safepoint. For it, the answer is
    /// final.
    #[inline]
    pub(super) fn end(&mut self) -> bool {
        if !self.passed && self.watch.is_alarmed(self.turn) {
            self.judge();
        }
        self.watch.end(self.turn);
        if self.passed {
            self.used = self.before + CpuReading::now().cpu.saturating_sub(self.began.cpu);
            // Nothing runs now, and no alarm is ever sounded for that.
            self.watch.calm(self.turn + 1);
        }
        self.passed
    }

    /// The wall clock says that it is late: so the CPU clock has the last word, unless it has no time left by
    /// either.
    fn judge(&mut self) {
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
            // Others on this thread may have used up what passed from the reading until the watchdog saw the
            // run; not more, for all since then was the run's own.
            let unknown = self.watch.seen_since().saturating_sub(self.began.wall);
            measured.saturating_sub(unknown)
        };
        match self.limit.checked_sub(used) {
            Some(left) if !left.is_zero() => {
                // From now on it is known what it uses.
                self.began = CpuReading { tick: EXACT, ..now };
                self.before = used;
                self.turn = self.watch.extend(self.turn, left.min(wall));
            }
            _ => self.passed = true,
        }
    }

    /// Whether work that takes so long and can't be interrupted is ever begun, whatever the clock says.
    pub(super) fn allows(&self, work: Duration) -> bool {
        work <= self.limit.saturating_add(Self::GRACE)
    }

    /// Begins work that takes so long and can't be interrupted: it ends not much after the deadline. If there is
    /// too little time left for that, the run is over: that depends on the clock, and a script that could catch it
    /// would read the clock by it. Gives whether the work may begin.
    pub(super) fn begin_work(&mut self, work: Duration) -> bool {
        let used = self.before + CpuReading::now().cpu.saturating_sub(self.began.cpu);
        // Without an alarm the reading may be an old one: on a busy machine nobody looked for a while.
        let known = self.began.tick == EXACT || self.watch.is_alarmed(self.turn);
        let used = if known { used } else { used.min(self.limit / 2) };
        if !self.passed && !self.allows(used + work) {
            self.passed = true;
            self.watch.sound(self.turn);
        }
        !self.passed
    }

    /// Whether work that takes so long and can't be interrupted may be done again and again, with safepoints in
    /// between: the last time may begin when the run has just as much time left as it takes to begin it.
    pub(super) fn affords_often(&self, work: Duration) -> bool {
        /// What a run may be late, besides a share of its limit.
        const GRACE: Duration = Duration::from_millis(2);
        work <= self.limit / 8 + GRACE
    }

    /// Why the run must end. The script doesn't hear from it what the clock says.
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
