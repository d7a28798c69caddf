//! [`MaintenanceClock`]: when a pool was maintained last, and when a refill that failed may be tried again.

use std::time::Duration;

use crate::pool::sync::Instant;

/// The pause after a failed refill, so that a broken factory isn't called, and reported, in every frame.
const REFILL_REST: Duration = Duration::from_secs(1);

/// When the pool was checked and maintained last, and when a refill failed.
#[derive(Debug, Default)]
pub(crate) struct MaintenanceClock {
    pub(crate) last_check: Option<Instant>,
    /// The last `now` of `maintain`.
    pub(crate) maintained: Option<Instant>,
    refill_failed: Option<FailedRefill>,
}

/// When a refill failed, on each of the two clocks on which the next one may be asked for.
#[derive(Clone, Copy, Debug)]
struct FailedRefill {
    really: Instant,
    /// On the clock that is passed to `maintain`, which may be far ahead or behind.
    maintained: Option<Instant>,
}

/// Who asks for a refill, and the time on its clock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RefillCaller {
    /// A thread that wants a VM; the real time.
    Borrower(Instant),
    /// `maintain`; the time that was passed to it.
    Maintenance(Instant),
}

impl MaintenanceClock {
    pub(crate) fn note_failed_refill(&mut self) {
        let (really, maintained) = (Instant::now(), self.maintained);
        self.refill_failed = Some(FailedRefill { really, maintained });
    }

    pub(crate) fn note_made_vm(&mut self) {
        self.refill_failed = None;
    }

    /// Whether the pause after a failed refill isn't over. `now` may be a moment before the failure: the caller read
    /// its clock earlier. A clock that was set back by more than the pause doesn't delay the next try.
    pub(crate) fn is_resting(&self, caller: RefillCaller) -> bool {
        self.refill_failed.is_some_and(|failed| {
            let (now, failed) = match caller {
                RefillCaller::Borrower(now) => (now, failed.really),
                RefillCaller::Maintenance(now) => (now, failed.maintained.unwrap_or(failed.really)),
            };
            let since = now.saturating_duration_since(failed);
            since.max(failed.saturating_duration_since(now)) < REFILL_REST
        })
    }
}
