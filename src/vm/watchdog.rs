//! The watchdog: a thread that notices runs that last too long.
//!
//! A run that keeps to its time costs nothing but a few stores to memory: nobody looks at a clock for it,
//! and Luau has nobody to ask at its safepoints. A thread looks at all VMs every [`PERIOD`]. When a run
//! has lasted for longer than its limit, the thread sounds the alarm: it installs the function that Luau
//! calls at the next safepoint, and that one judges the run (see [`RunDeadline`](super::deadline::RunDeadline)).
//!
//! The thread sleeps while nobody runs anything: who is going to says so by [`Engaged`].

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use mlua::Lua;

/// How often the watchdog looks. A run is found to be late at most so much later than it is.
pub(super) const PERIOD: Duration = Duration::from_micros(500);

/// Looks after the last run before the thread falls asleep: a game runs again in the next frame.
const LINGER: u32 = 200;

/// How often the watchdog has looked so far: a clock that costs nothing to read.
static TICKS: AtomicU64 = AtomicU64::new(0);
/// Threads that run something, or are going to.
static ENGAGED: AtomicUsize = AtomicUsize::new(0);
static ASLEEP: AtomicBool = AtomicBool::new(false);
static BED: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
static WATCHED: Mutex<Vec<Weak<RunWatch>>> = Mutex::new(Vec::new());

/// How often the watchdog has looked so far.
#[inline]
pub(crate) fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Keeps the watchdog awake. Runs take place only while there is one on their thread.
#[derive(Debug)]
#[must_use]
pub(crate) struct Engaged(());

impl Engaged {
    pub(crate) fn new() -> Self {
        // Either this thread sees that the watchdog falls asleep, or that one sees this thread.
        ENGAGED.fetch_add(1, Ordering::SeqCst);
        if ASLEEP.load(Ordering::SeqCst) {
            // What was read from clocks at the last tick is old.
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

/// How a VM is told to ask, at each safepoint, whether its run is to end.
pub(super) trait SafepointHook: fmt::Debug + Send {
    /// From now on it asks.
    fn install(&self);

    /// It asks no more.
    fn remove(&self);

    /// Whether it is the hook of this VM.
    fn is_of(&self, lua: &Lua) -> bool;
}

/// The watchdog's clock.
pub(super) fn clock() -> Duration {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed()
}

/// What the watchdog knows of one VM, and how a run of it is stopped.
///
/// Each run writes to it. So none shares a line of the processor's cache with that of another VM, whose thread
/// would have to wait; lines are fetched in pairs of 64 bytes.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct RunWatch {
    /// Odd while a run lasts; another one for each.
    turn: AtomicU64,
    /// Wall time that the current run may last before the alarm, in nanoseconds.
    limit: AtomicU64,
    /// The turn for which the alarm was sounded last.
    alarm: AtomicU64,
    /// Set from outside: the current run ends, and so do all later ones.
    stop: AtomicBool,
    /// Set from outside: the current call ends.
    cancelled: AtomicBool,
    /// Luau is to ask at every safepoint, whatever the clock says.
    counts: AtomicBool,
    hook: Mutex<Option<Box<dyn SafepointHook>>>,
    /// The turn that the watchdog saw when it looked last, and when it first saw that one, in
    /// nanoseconds by its clock.
    seen: AtomicU64,
    seen_since: AtomicU64,
}

impl RunWatch {
    /// Has a VM watched from now on.
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

    /// A run begins that may last so long. Gives its turn.
    #[inline]
    pub(super) fn begin(&self, limit: Duration) -> u64 {
        let turn = (self.turn.load(Ordering::Relaxed) + 2) | 1;
        self.continue_as(turn, limit)
    }

    /// The run goes on, and may last so much longer from now on. Gives its turn from now on.
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

    /// Whether the alarm was sounded for this turn.
    #[inline]
    pub(super) fn is_alarmed(&self, turn: u64) -> bool {
        self.alarm.load(Ordering::Acquire) == turn
    }

    /// When the watchdog first saw the run for which the alarm was sounded last, by its clock: all since then was
    /// that run's.
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

    /// Ends the current call and no later one, from any thread.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        if let Some(hook) = &*lock(&self.hook) {
            hook.install();
        }
    }

    /// A call begins, or is over: what was cancelled before is not this one.
    pub(super) fn forget_cancelled(&self) {
        self.cancelled.store(false, Ordering::Release);
    }

    /// Whether the current call was cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Luau need not ask any more, until the next alarm; unless that was sounded for this turn.
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

    /// Has the steps of runs counted from the next run on, or no more.
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

    /// The VM goes away, if it is still this one that is watched.
    pub(super) fn leave(&self, lua: &Lua) {
        let mut hook = lock(&self.hook);
        if hook.as_ref().is_some_and(|hook| hook.is_of(lua)) {
            *hook = None;
        }
    }

    /// The watchdog looks, at this moment of its clock.
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
            self.sound(turn);
        }
    }

    /// From now on Luau asks at every safepoint, if this is still the turn.
    pub(super) fn sound(&self, turn: u64) {
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

/// Starts the thread, once in a process.
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

/// Sleeps until somebody is going to run something.
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
