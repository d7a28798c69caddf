//! [`Record`]: what a pool knows about one VM.

use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::pool::config::PoolConfig;
use crate::pool::factory::{InterruptFn, VmReport};
use crate::pool::stats::{DestroyReason, VmInfo};
use crate::pool::sync::{Arc, AtomicU64, Instant};

/// The source line that took a lease; `None` for the pool itself.
pub(crate) type Borrower = Option<&'static Location<'static>>;

/// The life of one VM so far.
pub(crate) struct Record {
    pub(crate) id: u64,
    made: Instant,
    /// When its lease or its idleness began.
    pub(crate) since: Instant,
    pub(crate) generation: u64,
    /// Leases so far.
    pub(crate) uses: u64,
    pub(crate) state: VmState,
    /// Whether its present lease was found overdue.
    overdue: bool,
    pub(crate) report: VmReport,
    pub(crate) reset_timer: Arc<ResetTimer>,
    pub(crate) interrupter: Option<InterruptFn>,
}

/// What a VM is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VmState {
    Idle,
    /// Leased, or held by the pool itself.
    Out(Borrower),
    /// Never to be leased again, and not destroyed yet. Whether its slot was given back.
    Quarantined {
        slotless: bool,
    },
}

/// Since when a VM is being reset. Written without a lock by the thread that resets it, and read by the search for
/// hung resets.
#[derive(Debug, Default)]
pub(crate) struct ResetTimer(AtomicU64);

impl ResetTimer {
    /// The reset begins, `since_epoch` nanoseconds after the epoch.
    #[inline]
    pub(crate) fn begin(&self, since_epoch: u64) {
        self.0.store(since_epoch.max(1), Ordering::Release);
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// When the present reset began, after the epoch.
    fn began(&self) -> Option<Duration> {
        let nanos = self.0.load(Ordering::Acquire);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }
}

/// What a new record starts with.
pub(crate) struct NewRecord {
    pub(crate) id: u64,
    pub(crate) generation: u64,
    pub(crate) made: Instant,
    pub(crate) report: VmReport,
    pub(crate) interrupter: Option<InterruptFn>,
}

impl Record {
    /// A VM that is out at once.
    pub(crate) fn new(new: NewRecord, borrower: Borrower) -> Self {
        let NewRecord { id, generation, made, report, interrupter } = new;
        Self {
            id,
            made,
            since: made,
            generation,
            uses: u64::from(borrower.is_some()),
            state: VmState::Out(borrower),
            overdue: false,
            report,
            reset_timer: Arc::default(),
            interrupter,
        }
    }

    /// A lease begins.
    #[inline]
    pub(crate) fn begin_lease(&mut self, borrower: Borrower, now: Instant) {
        self.state = VmState::Out(borrower);
        self.since = now;
        self.uses += u64::from(borrower.is_some());
    }

    /// The VM is idle again.
    #[inline]
    pub(crate) fn become_idle(&mut self, now: Instant) {
        self.state = VmState::Idle;
        self.overdue = false;
        self.since = now;
    }

    /// Why the VM may not be leased again, if so.
    #[inline]
    pub(crate) fn expiry_reason(
        &self,
        config: &PoolConfig,
        generation: u64,
        now: Instant,
    ) -> Option<DestroyReason> {
        let limit = config.max_use_count;
        if self.generation < generation {
            return Some(DestroyReason::Evicted);
        }
        if limit > 0 && self.uses >= limit {
            return Some(DestroyReason::UseCount);
        }
        if self.report.memory_bytes > config.resting_memory() {
            return Some(DestroyReason::OverMemory);
        }
        let age = now.saturating_duration_since(self.made);
        // Nearly always the VM is far too young. Skip the exact figure: the jitter never halves a lifetime.
        if 2 * age.as_secs() + 2 <= config.max_lifetime.as_secs() {
            return None;
        }
        (age >= self.lifetime(config)).then_some(DestroyReason::Lifetime)
    }

    /// The first time that a lease is found overdue: who has the VM and since when.
    pub(crate) fn note_overdue(&mut self, threshold: Duration, now: Instant) -> Option<String> {
        let borrower = self.borrower()?;
        let held = now.saturating_duration_since(self.since);
        if self.overdue || held < threshold {
            return None;
        }
        self.overdue = true;
        Some(format!(
            "leased for {held:?} at {borrower}; drop the lease there, or raise `leak_threshold`"
        ))
    }

    /// How long the present reset has lasted, if there is one.
    pub(crate) fn resetting_for(&self, epoch: Instant, now: Instant) -> Option<Duration> {
        let began = epoch + self.reset_timer.began()?;
        matches!(self.state, VmState::Out(_)).then(|| now.saturating_duration_since(began))
    }

    pub(crate) fn info(&self, now: Instant) -> VmInfo {
        VmInfo {
            id: self.id,
            age: now.saturating_duration_since(self.made),
            uses: self.uses,
            leased: matches!(self.state, VmState::Out(_)),
            quarantined: matches!(self.state, VmState::Quarantined { .. }),
            memory_bytes: self.report.memory_bytes,
            last_program: self.report.last_program.clone(),
            since: now.saturating_duration_since(self.since),
            leased_at: self.borrower(),
            overdue: self.overdue,
        }
    }

    pub(crate) fn borrower(&self) -> Borrower {
        match self.state {
            VmState::Out(borrower) => borrower,
            _ => None,
        }
    }

    fn lifetime(&self, config: &PoolConfig) -> Duration {
        let share = 1.0 - config.lifetime_jitter * spread(self.id);
        config.max_lifetime.mul_f64(share)
    }
}
/// A number in `0.0..1.0` that looks random for consecutive ids (the finalizer of splitmix64,
/// Steele, Lea and Flood 2014).
fn spread(id: u64) -> f64 {
    let mut z = id.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // 53 bits are what an `f64` holds exactly.
    (z >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_lifetimes_fills_its_range() {
        let shares: Vec<f64> = (0..1000).map(spread).collect();
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
        for tenth in 0..10 {
            let from = f64::from(tenth) / 10.0;
            let here = shares.iter().filter(|share| (from..from + 0.1).contains(*share));
            assert!(here.count() > 60, "few lifetimes between {from} and {}", from + 0.1);
        }
    }
}
