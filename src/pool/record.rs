//! [`Record`]: what a pool knows about one VM.

use std::panic::Location;
use std::time::{Duration, Instant};

use crate::pool::config::PoolConfig;
use crate::pool::factory::VmReport;
use crate::pool::stats::{DestroyReason, VmInfo};

/// The source line that took a lease; `None` for the pool itself.
pub(crate) type Borrower = Option<&'static Location<'static>>;

/// The life of one VM so far.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: u64,
    made: Instant,
    /// When its lease or its idleness began.
    pub(crate) since: Instant,
    pub(crate) generation: u64,
    /// Leases so far.
    pub(crate) uses: u64,
    /// Who has it; `None` while it is idle.
    out: Option<Borrower>,
    /// Whether its present lease was found overdue.
    overdue: bool,
    pub(crate) report: VmReport,
}

impl Record {
    /// A VM that was made now and is out at once.
    pub(crate) fn new(id: u64, generation: u64, report: VmReport, borrower: Borrower) -> Self {
        let now = Instant::now();
        Self {
            id,
            made: now,
            since: now,
            generation,
            uses: u64::from(borrower.is_some()),
            out: Some(borrower),
            overdue: false,
            report,
        }
    }

    pub(crate) fn leave(&mut self, borrower: Borrower) {
        self.out = Some(borrower);
        self.since = Instant::now();
        self.uses += u64::from(borrower.is_some());
    }

    pub(crate) fn come_back(&mut self, now: Instant) {
        self.out = None;
        self.overdue = false;
        self.since = now;
    }

    /// Why the VM may not be leased again, if so.
    pub(crate) fn worn(
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
        let age = now.saturating_duration_since(self.made);
        (age >= self.lifetime(config)).then_some(DestroyReason::Lifetime)
    }

    /// Says who has the VM and since when, the first time that its lease is found overdue.
    pub(crate) fn note_overdue(&mut self, threshold: Duration, now: Instant) -> Option<String> {
        let borrower = self.out.flatten()?;
        let held = now.saturating_duration_since(self.since);
        if self.overdue || held < threshold {
            return None;
        }
        self.overdue = true;
        Some(format!("leased for {held:?} at {borrower}"))
    }

    pub(crate) fn info(&self, now: Instant) -> VmInfo {
        VmInfo {
            id: self.id,
            age: now.saturating_duration_since(self.made),
            uses: self.uses,
            leased: self.out.is_some(),
            memory_bytes: self.report.memory_bytes,
            last_program: self.report.last_program.clone(),
            since: now.saturating_duration_since(self.since),
            leased_at: self.out.flatten(),
            overdue: self.overdue,
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
