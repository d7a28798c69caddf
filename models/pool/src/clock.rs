//! Time in the model: it stands still until a scenario moves it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::time::Duration;

use shuttle::sync::Condvar;
use shuttle::thread;

/// As [`std::time::Instant`], on the model's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

/// What is so far away never comes. The pool allows no longer timeouts, so one of this length is how a
/// scenario does without.
pub const NEVER: Duration = Duration::from_secs(60 * 60);

/// There is a time before the beginning of a scenario.
const BEGINNING: Duration = Duration::from_secs(24 * 60 * 60);

struct Clock {
    now: Duration,
    sleepers: BTreeMap<u64, Sleeper>,
    next: u64,
}

/// A thread that waits for a signal or for a time to come.
struct Sleeper {
    until: Instant,
    condvar: Arc<Condvar>,
}

thread_local! {
    // All threads of the model run on one thread of the system.
    static CLOCK: RefCell<Clock> =
        const { RefCell::new(Clock { now: BEGINNING, sleepers: BTreeMap::new(), next: 0 }) };
}

impl Instant {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        Self(CLOCK.with_borrow(|clock| clock.now))
    }

    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        (duration < NEVER).then(|| Self(self.0 + duration))
    }

    #[must_use]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

/// Sets the clock back to the beginning. Each execution of a scenario starts with this.
pub fn reset() {
    CLOCK.with_borrow_mut(|clock| {
        clock.now = BEGINNING;
        clock.sleepers.clear();
    });
}

/// Lets time pass, and wakes all whose time has come.
pub fn advance(duration: Duration) {
    CLOCK.with_borrow_mut(|clock| clock.now += duration);
    loop {
        let due = CLOCK.with_borrow(|clock| {
            let now = Instant(clock.now);
            let due = clock.sleepers.values().filter(|sleeper| sleeper.until <= now);
            due.map(|sleeper| Arc::clone(&sleeper.condvar)).collect::<Vec<_>>()
        });
        if due.is_empty() {
            return;
        }
        // One that hasn't fallen asleep yet doesn't hear it, and is woken the next time round.
        due.iter().for_each(|condvar| condvar.notify_all());
        thread::yield_now();
    }
}

/// How many threads wait for a time to come.
#[must_use]
pub fn sleepers() -> usize {
    CLOCK.with_borrow(|clock| clock.sleepers.len())
}

/// Notes that this thread is about to wait. Returns the number to [`wake`] with.
pub(crate) fn sleep(until: Instant, condvar: &Arc<Condvar>) -> u64 {
    CLOCK.with_borrow_mut(|clock| {
        clock.next += 1;
        clock.sleepers.insert(clock.next, Sleeper { until, condvar: Arc::clone(condvar) });
        clock.next
    })
}

/// Notes that a thread waits no longer.
pub(crate) fn wake(sleeper: u64) {
    CLOCK.with_borrow_mut(|clock| clock.sleepers.remove(&sleeper));
}
