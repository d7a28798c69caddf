//! The watchdog: a thread that notices runs that last too long.
//!
//! A run within its time limit costs a few stores to memory: it reads no clock, and Luau calls nothing at its
//! safepoints. The watchdog looks at all VMs every [`PERIOD`]. When a run has lasted longer than its limit, it raises
//! the alarm: it installs the function that Luau calls at the next safepoint, which then decides (see
//! [`RunDeadline`](super::deadline::RunDeadline)).
//!
//! The thread sleeps while nothing runs. A thread that is about to run scripts wakes it by [`Engaged`].

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use mlua::Lua;

/// How often the watchdog looks. A late run is noticed with at most this delay.
pub(super) const PERIOD: Duration = Duration::from_micros(500);

/// How often the thread looks after the last run before it falls asleep: a game runs scripts again in the next frame.
const LINGER: u32 = 200;

/// How often the watchdog has looked: a clock that costs nothing to read.
static TICKS: AtomicU64 = AtomicU64::new(0);
/// The threads that run scripts, or are about to.
static ENGAGED: AtomicUsize = AtomicUsize::new(0);
static ASLEEP: AtomicBool = AtomicBool::new(false);
static BED: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
static WATCHED: Mutex<Vec<Weak<RunWatch>>> = Mutex::new(Vec::new());

/// How often the watchdog has looked.
#[inline]
pub(crate) fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Keeps the watchdog awake. Scripts run only on threads that hold one.
#[derive(Debug)]
#[must_use]
pub(crate) struct Engaged(());

impl Engaged {
    pub(crate) fn new() -> Self {
        // Either this thread sees that the watchdog falls asleep, or that one sees this thread.
        ENGAGED.fetch_add(1, Ordering::SeqCst);
        if ASLEEP.load(Ordering::SeqCst) {
            // Clock readings that were taken in the last tick are out of date.
            TICKS.fetch_add(1, Ordering::Relaxed);
            let _bed = lock(&BED.0);
            BED.1.notify_all();
        }
        Self(())
    }
}

impl Drop for Engaged {
    fn drop(&mut self) {
        ENGAGED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Has a VM ask at each safepoint whether its run must end.
pub(super) trait SafepointHook: fmt::Debug + Send {
    /// It asks from now on. From any thread.
    fn install(&self);

    /// It no longer asks. From any thread.
    fn remove(&self);

    /// Whether it is the hook of this VM.
    fn is_of(&self, lua: &Lua) -> bool;
}

/// The watchdog's clock.
pub(super) fn clock() -> Duration {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed()
}

/// What the watchdog knows of one VM, and how it stops a run there.
///
/// Each run writes to it. The alignment prevents false sharing with that of another VM: processors fetch cache lines
/// in pairs of 64 bytes.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct RunWatch {
    /// The number of the current run: odd while it lasts, different for each.
    turn: AtomicU64,
    /// Wall time that the current run may last before the alarm, in nanoseconds.
    limit: AtomicU64,
    /// The turn of the last alarm.
    alarm: AtomicU64,
    /// Set from outside: the current run and all later ones end.
    stop: AtomicBool,
    /// Set from outside: the current call ends.
    cancelled: AtomicBool,
    /// Luau asks at every safepoint, alarm or not, so that steps are counted.
    counts: AtomicBool,
    hook: Mutex<Option<Box<dyn SafepointHook>>>,
    /// The turn that the watchdog saw when it last looked.
    seen: AtomicU64,
    /// When it first saw that turn, in nanoseconds by its clock.
    seen_since: AtomicU64,
}

impl RunWatch {
    /// Watches a VM from now on.
    ///
    /// # Errors
    /// If the system gives no thread for the watchdog.
    pub(super) fn new(hook: Box<dyn SafepointHook>) -> std::io::Result<Arc<Self>> {
        wake_up()?;
        let watch = Arc::new(Self::unwatched(Some(hook)));
        lock(&WATCHED).push(Arc::downgrade(&watch));
        Ok(watch)
    }

    pub(super) fn unwatched(hook: Option<Box<dyn SafepointHook>>) -> Self {
        Self {
            turn: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            alarm: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            counts: AtomicBool::new(false),
            hook: Mutex::new(hook),
            seen: AtomicU64::new(0),
            seen_since: AtomicU64::new(0),
        }
    }

    /// A run begins that may last for `limit`. Gives its turn.
    #[inline]
    pub(super) fn begin(&self, limit: Duration) -> u64 {
        let turn = (self.turn.load(Ordering::Relaxed) + 2) | 1;
        self.continue_as(turn, limit)
    }

    /// The run goes on, and may last longer by `by` from now on. Gives its new turn.
    pub(super) fn extend(&self, turn: u64, by: Duration) -> u64 {
        self.extend_at(turn, by, clock())
    }

    fn extend_at(&self, turn: u64, by: Duration, now: Duration) -> u64 {
        self.seen_since.store(nanos(now), Ordering::Relaxed);
        self.seen.store(turn + 2, Ordering::Relaxed);
        self.continue_as(turn + 2, by)
    }

    #[inline]
    fn continue_as(&self, turn: u64, limit: Duration) -> u64 {
        self.limit.store(nanos(limit), Ordering::Relaxed);
        self.turn.store(turn, Ordering::Release);
        turn
    }

    /// The run is over.
    #[inline]
    pub(super) fn end(&self, turn: u64) {
        self.turn.store(turn + 1, Ordering::Release);
    }

    /// Whether the alarm was raised for this turn.
    #[inline]
    pub(super) fn is_alarmed(&self, turn: u64) -> bool {
        self.alarm.load(Ordering::Acquire) == turn
    }

    /// When the watchdog first saw the run of the last alarm, by its clock. That run has been going on since.
    pub(super) fn seen_since(&self) -> Duration {
        Duration::from_nanos(self.seen_since.load(Ordering::Relaxed))
    }

    /// Ends the current run and all later ones, from any thread.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(hook) = &*lock(&self.hook) {
            hook.install();
        }
    }

    /// Whether it was stopped from outside.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Ends the current call alone, from any thread.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        if let Some(hook) = &*lock(&self.hook) {
            hook.install();
        }
    }

    /// A call begins, or is over: a cancellation from before is not meant for the next one.
    pub(super) fn forget_cancelled(&self) {
        self.cancelled.store(false, Ordering::Release);
    }

    /// Whether the current call was cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Has Luau ask no more until the next alarm, unless there is a reason to ask.
    pub(super) fn calm(&self, turn: u64) {
        if let Some(hook) = &*lock(&self.hook)
            && !self.is_stopped()
            && !self.is_cancelled()
            && !self.counts_steps()
            && !self.is_alarmed(turn)
        {
            hook.remove();
        }
    }

    /// Whether Luau asks at every safepoint, so that the steps of a run are counted.
    #[inline]
    pub(super) fn counts_steps(&self) -> bool {
        self.counts.load(Ordering::Relaxed)
    }

    /// Turns the counting of steps on or off, from the next run on.
    pub(super) fn count_steps(&self, counts: bool) {
        let hook = lock(&self.hook);
        self.counts.store(counts, Ordering::Relaxed);
        match &*hook {
            Some(hook) if counts || self.is_stopped() => hook.install(),
            Some(hook) => hook.remove(),
            None => {}
        }
    }

    /// Watches another VM instead.
    pub(super) fn turn_to(&self, hook: Box<dyn SafepointHook>) {
        let mut current = lock(&self.hook);
        if self.is_stopped() || self.is_cancelled() || self.counts_steps() {
            hook.install();
        }
        *current = Some(hook);
    }

    /// The VM is dropped. Does nothing if another one is watched by now.
    pub(super) fn leave(&self, lua: &Lua) {
        let mut hook = lock(&self.hook);
        if hook.as_ref().is_some_and(|hook| hook.is_of(lua)) {
            *hook = None;
        }
    }

    /// The watchdog looks, at this time of its clock.
    pub(super) fn look(&self, now: Duration) {
        let now = nanos(now);
        let turn = self.turn.load(Ordering::Acquire);
        if self.seen.swap(turn, Ordering::Relaxed) != turn {
            self.seen_since.store(now, Ordering::Relaxed);
            return;
        }
        let running = turn % 2 == 1 && !self.is_alarmed(turn);
        let lasted = now.saturating_sub(self.seen_since.load(Ordering::Relaxed));
        if running && lasted > self.limit.load(Ordering::Relaxed) {
            self.raise_alarm(turn);
        }
    }

    /// Raises the alarm: Luau asks at every safepoint from now on. Does nothing if this is no longer the turn.
    pub(super) fn raise_alarm(&self, turn: u64) {
        let hook = lock(&self.hook);
        if self.turn.load(Ordering::Acquire) == turn {
            self.alarm.store(turn, Ordering::Release);
            if let Some(hook) = &*hook {
                hook.install();
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Starts the thread, once per process.
fn wake_up() -> std::io::Result<()> {
    static STARTED: OnceLock<Result<(), std::io::ErrorKind>> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        let builder = thread::Builder::new().name("lua watchdog".to_owned());
        builder.spawn(watch_all).map(drop).map_err(|error| error.kind())
    });
    started.map_err(Into::into)
}

fn watch_all() {
    let mut idle = 0;
    loop {
        thread::sleep(PERIOD);
        let now = clock();
        TICKS.fetch_add(1, Ordering::Relaxed);
        lock(&WATCHED).retain(|watch| match watch.upgrade() {
            Some(watch) => {
                watch.look(now);
                true
            }
            None => false,
        });
        idle = if ENGAGED.load(Ordering::Relaxed) > 0 { 0 } else { idle + 1 };
        if idle > LINGER {
            sleep();
            idle = 0;
        }
    }
}

/// Sleeps until a thread is about to run scripts.
fn sleep() {
    let mut bed = lock(&BED.0);
    ASLEEP.store(true, Ordering::SeqCst);
    while ENGAGED.load(Ordering::SeqCst) == 0 {
        bed = BED.1.wait(bed).unwrap_or_else(PoisonError::into_inner);
    }
    ASLEEP.store(false, Ordering::SeqCst);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(2);

    fn at(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn the_alarm_is_for_a_run_that_lasted_longer_than_it_may() {
        let watch = RunWatch::unwatched(None);
        let turn = watch.begin(LIMIT);
        watch.look(at(1000));
        watch.look(at(3000));
        assert!(!watch.is_alarmed(turn), "the limit itself is allowed");
        watch.look(at(3001));
        assert!(watch.is_alarmed(turn));
    }

    #[test]
    fn many_short_runs_are_not_taken_for_a_long_one() {
        let watch = RunWatch::unwatched(None);
        for micros in (0..100_000).step_by(1000) {
            let turn = watch.begin(LIMIT);
            watch.look(at(micros));
            assert!(!watch.is_alarmed(turn));
            watch.end(turn);
        }
        watch.look(at(200_000));
        watch.look(at(300_000));
        assert!(!watch.is_alarmed(watch.turn.load(Ordering::Relaxed)), "nothing runs");
    }

    #[test]
    fn a_run_that_gets_more_time_is_looked_at_anew() {
        let watch = RunWatch::unwatched(None);
        let first = watch.begin(LIMIT);
        watch.look(at(0));
        watch.look(at(5000));
        assert!(watch.is_alarmed(first));
        let second = watch.extend_at(first, LIMIT, at(6000));
        watch.look(at(8000));
        assert!(!watch.is_alarmed(second));
        watch.look(at(8001));
        assert!(watch.is_alarmed(second));
    }

    #[test]
    fn a_run_that_did_not_come_to_its_end_is_not_taken_for_the_next() {
        let watch = RunWatch::unwatched(None);
        let lost = watch.begin(LIMIT);
        watch.look(at(0));
        watch.look(at(9000));
        let next = watch.begin(LIMIT);
        assert!(watch.is_alarmed(lost) && !watch.is_alarmed(next));
    }
}
