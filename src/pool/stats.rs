//! Plain snapshots of a pool: its figures and its VMs.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::incident::Incident;
use crate::pool::timing::Timing;

/// Why a VM was destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DestroyReason {
    /// It was idle for longer than `max_idle_time`.
    Idle,
    /// It reached the end of its life: `max_lifetime`, less its share of the jitter.
    Lifetime,
    /// It had served `max_use_count` leases.
    UseCount,
    /// It was made before the last `evict_all`.
    Evicted,
    /// Its resetter said that it is used up; see
    /// [`VmResetter::is_spent`](crate::pool::VmResetter::is_spent).
    Spent,
    /// It couldn't be cleaned at the end of a lease.
    ResetFailed,
    /// Its reset took longer than `reset_timeout`.
    ResetTimedOut,
    /// It was found unsound when it was about to be leased, or at a health check.
    ValidationFailed,
    /// Its borrower gave it up; see [`Lease::discard`](crate::pool::Lease::discard).
    Discarded,
    /// It held more than `max_resting_memory` while nobody used it.
    OverMemory,
    /// Its borrower, or the resetter, panicked.
    Panicked,
    /// The pool was made smaller.
    Shrunk,
    /// The pool was closed.
    Closed,
    /// It was made after `create_timeout`, when nobody counted on it any more.
    TooLate,
    /// It was not the VM that was leased: the borrower had put it in its place. See
    /// [`VmResetter::identity`](crate::pool::VmResetter::identity).
    Foreign,
}

impl DestroyReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Every reason, in the order of [`PoolStats::destroyed_by`].
    pub const ALL: [Self; 15] = [
        Self::Idle,
        Self::Lifetime,
        Self::UseCount,
        Self::Evicted,
        Self::Spent,
        Self::ResetFailed,
        Self::ResetTimedOut,
        Self::ValidationFailed,
        Self::Discarded,
        Self::OverMemory,
        Self::Panicked,
        Self::Shrunk,
        Self::Closed,
        Self::TooLate,
        Self::Foreign,
    ];

    /// A short name for tables and logs, such as `"use count"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::UseCount => "use count",
            Self::Evicted => "evicted",
            Self::Spent => "spent",
            Self::ResetFailed => "reset failed",
            Self::ResetTimedOut => "reset too slow",
            Self::ValidationFailed => "validation failed",
            Self::Discarded => "discarded",
            Self::OverMemory => "over memory",
            Self::Panicked => "panicked",
            Self::Shrunk => "shrunk",
            Self::Closed => "closed",
            Self::TooLate => "made too late",
            Self::Foreign => "foreign",
        }
    }
}

/// What a pool counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PoolCounts {
    pub(crate) created: u64,
    pub(crate) destroyed_by: [u64; DestroyReason::COUNT],
    pub(crate) acquired: u64,
    pub(crate) timeouts: u64,
    pub(crate) create_errors: u64,
    pub(crate) create_timeouts: u64,
    pub(crate) reset_errors: u64,
    pub(crate) reset_timeouts: u64,
    pub(crate) quarantines: u64,
    pub(crate) overdue: u64,
}

/// The figures of a pool at one moment, over its whole life.
///
/// `created - destroyed == idle + leased + quarantined` holds in every snapshot. A VM counts as
/// leased from the moment it leaves the idle ones until it is back or its `drop` is done, so also
/// while the pool itself checks, resets or destroys it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolStats {
    /// VMs made.
    pub created: u64,
    /// VMs destroyed, for any reason.
    pub destroyed: u64,
    /// VMs destroyed, by reason, in the order of [`DestroyReason::ALL`].
    pub destroyed_by: [u64; DestroyReason::COUNT],
    /// VMs ready to be leased.
    pub idle: usize,
    /// VMs out of the pool's hands, or being checked, reset or destroyed.
    pub leased: usize,
    /// VMs that are never leased again and not destroyed yet: found changed, or stuck in a reset
    /// that doesn't come back. Those of the second kind have no slot, so that another VM may take
    /// their place.
    pub quarantined: usize,
    /// VMs being made.
    pub building: usize,
    /// VMs whose making took longer than `create_timeout` and hasn't come back. They have no slot.
    pub hung_builds: usize,
    /// Callers that wait for a VM.
    pub waiting: usize,
    /// Whether the pool is suspended: see [`VmPool::suspend`](crate::pool::VmPool::suspend).
    pub suspended: bool,
    /// Leases given.
    pub acquired: u64,
    /// Calls that got no VM in time, those of `try_acquire` and deferred ones included.
    pub timeouts: u64,
    /// VMs that couldn't be made, or not in time.
    pub create_errors: u64,
    /// VMs that weren't made within `create_timeout`.
    pub create_timeouts: u64,
    /// Resets that came to an end, the failed ones included.
    pub resets: u64,
    /// Resets that failed or panicked.
    pub reset_errors: u64,
    /// Resets that took longer than `reset_timeout`.
    pub reset_timeouts: u64,
    /// VMs that were ever put into quarantine.
    pub quarantines: u64,
    /// Leases that were held for longer than `leak_threshold`, each counted once.
    pub overdue: u64,
    /// From the call of `acquire` to the lease, waiting and making included; zero where an idle VM
    /// was there. One for each lease that has ended, and one for each call that waited and got none.
    pub wait: Timing,
    /// The making of VMs; successes only.
    pub create: Timing,
    /// The resets, failed ones included.
    pub reset: Timing,
    /// How long leases lasted, resets excluded. One for each lease that has ended.
    pub use_time: Timing,
    /// The configured `min_size`, or `max_size` where that is less.
    pub min_size: usize,
    /// The configured `max_size`.
    pub max_size: usize,
}

impl PoolStats {
    /// VMs destroyed for one reason.
    #[must_use]
    pub fn destroyed_by(&self, reason: DestroyReason) -> u64 {
        self.destroyed_by[reason as usize]
    }
}

/// One living VM of a pool at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VmInfo {
    /// Its number: unique in the pool, never used again.
    pub id: u64,
    /// The time since it was made.
    pub age: Duration,
    /// Leases it has had, the present one included.
    pub uses: u64,
    /// Whether it is out of the pool's hands.
    pub leased: bool,
    /// Whether it is in quarantine: never to be leased again, and not destroyed yet.
    pub quarantined: bool,
    /// Bytes it held when it was last inspected.
    pub memory_bytes: usize,
    /// The program it had run when it was last inspected.
    pub last_program: Option<Arc<str>>,
    /// The time since its lease or its idleness began.
    pub since: Duration,
    /// Where in the source its present lease was taken; `None` when idle.
    pub leased_at: Option<&'static Location<'static>>,
    /// Whether its present lease has lasted for longer than `leak_threshold`.
    pub overdue: bool,
}

/// What [`VmPool::maintain`](crate::pool::VmPool::maintain) did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it carries the incidents since the last time, which nobody else reports"]
pub struct Maintained {
    /// VMs destroyed because they were idle for too long.
    pub idle: usize,
    /// VMs destroyed because of their age.
    pub lifetime: usize,
    /// VMs destroyed because of their number of leases.
    pub use_count: usize,
    /// VMs destroyed because they were made before the last `evict_all`.
    pub stale: usize,
    /// VMs destroyed because they held more than `max_resting_memory`.
    pub over_memory: usize,
    /// VMs destroyed because they were found unsound.
    pub unsound: usize,
    /// VMs whose making was begun to reach `min_size`. They are there when they are done; failures
    /// are among the incidents of a later call.
    pub started: usize,
    /// What went wrong since the last call, oldest first.
    pub incidents: Vec<Incident>,
    /// Incidents that were left out because there were more than
    /// [`Incident::KEPT`] since the last call.
    pub incidents_lost: u64,
}

impl Maintained {
    /// VMs destroyed, for any reason.
    #[must_use]
    pub fn evicted(&self) -> usize {
        self.idle + self.lifetime + self.use_count + self.stale + self.over_memory + self.unsound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        let mut names = std::collections::HashSet::new();
        for (index, reason) in DestroyReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert!(names.insert(reason.name()));
        }
    }
}
