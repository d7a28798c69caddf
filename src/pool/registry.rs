//! [`Registry`]: what a pool knows about its VMs and about the threads that want one. Plain data behind the
//! pool's only lock. No user code runs in here.
//!
//! A slot is taken by a VM, by a VM that is being made, or by a thread that is about to make one. All three are
//! counted here and nowhere else. A slot is taken only under the lock and only if fewer than `max_size` are taken:
//! that is the bound.

mod ask;
mod builds;
mod figures;
mod health;

use std::time::Duration;

use crate::pool::builds::{BuildOwner, BuildTable};
use crate::pool::config::PoolConfig;
use crate::pool::factory::InterruptFn;
use crate::pool::incident::{Incident, IncidentKind, IncidentLog};
use crate::pool::queue::{WaitQueue, Waiter};
use crate::pool::record::{Borrower, NewRecord, Record, VmState};
use crate::pool::records::Records;
use crate::pool::refill::MaintenanceClock;
use crate::pool::slot::{Grant, OccupiedSlot};
use crate::pool::stats::{DestroyReason, PoolCounts};
use crate::pool::sync::{Arc, Instant};
use crate::pool::timing::TimingHistogram;

pub(crate) use self::ask::{AcquireOutcome, WaitPolicy};

/// The times of a lease that ended.
pub(crate) struct LeaseTimes {
    pub(crate) waited: Duration,
    pub(crate) use_time: Duration,
    pub(crate) reset_time: Option<Duration>,
}

/// The histograms of a pool.
#[derive(Default)]
pub(crate) struct PoolTimings {
    pub(crate) wait: TimingHistogram,
    pub(crate) create: TimingHistogram,
    pub(crate) reset: TimingHistogram,
    pub(crate) use_time: TimingHistogram,
}

/// Counts, records, idle VMs and waiters of a pool.
pub(crate) struct Registry<V> {
    pub(crate) config: PoolConfig,
    /// A stack: the VM used last is leased first, so that the surplus stays idle and expires.
    idle: Vec<OccupiedSlot<V>>,
    /// One for each living VM.
    records: Records,
    builds: BuildTable<V>,
    /// Slots of threads that are about to make a VM.
    reserved: usize,
    /// VMs in quarantine, and how many of them have given their slot back.
    quarantined: usize,
    slotless: usize,
    queue: WaitQueue<Grant<V>>,
    /// Raised by `evict_all`; VMs of an older one aren't leased again.
    generation: u64,
    next_id: u64,
    closed: bool,
    pub(crate) suspended: bool,
    /// How many threads wait until no VM is left.
    pub(crate) awaiting_empty: usize,
    pub(crate) counts: PoolCounts,
    pub(crate) timings: PoolTimings,
    incidents: IncidentLog,
    health: MaintenanceClock,
}

impl<V> Registry<V> {
    pub(crate) fn new(config: PoolConfig) -> Self {
        Self {
            config,
            idle: Vec::new(),
            records: Records::default(),
            builds: BuildTable::default(),
            reserved: 0,
            quarantined: 0,
            slotless: 0,
            queue: WaitQueue::default(),
            generation: 0,
            next_id: 0,
            closed: false,
            suspended: false,
            awaiting_empty: 0,
            counts: PoolCounts::default(),
            timings: PoolTimings::default(),
            incidents: IncidentLog::default(),
            health: MaintenanceClock::default(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    pub(crate) fn leased(&self) -> usize {
        self.records.len() - self.idle.len() - self.quarantined
    }

    /// Whether more slots are taken than there may be, because the pool was made smaller.
    pub(crate) fn is_too_large(&self) -> bool {
        self.taken() > self.config.max_size
    }

    /// Whether no VM is alive and none is being made.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.len() + self.builds.len() + self.reserved == 0
    }

    /// Whether no thread waits: neither for a VM nor for the pool to be empty.
    pub(crate) fn is_awaited_by_nobody(&self) -> bool {
        self.queue.is_empty() && self.awaiting_empty == 0
    }

    /// Slots that are taken: never more than `max_size`, except after the pool was made smaller.
    fn taken(&self) -> usize {
        self.records.len() - self.slotless + self.builds.len() + self.reserved
    }

    fn has_room(&self) -> bool {
        self.taken() < self.config.max_size
    }

    /// Enters a new VM. It is out at once.
    fn admit(
        &mut self,
        vm: V,
        identity: Option<u64>,
        new: NewRecord,
        borrower: Borrower,
    ) -> OccupiedSlot<V> {
        let record = Record::new(new, borrower);
        let (id, reset_timer) = (record.id, Arc::clone(&record.reset_timer));
        self.counts.created += 1;
        self.counts.acquired += u64::from(borrower.is_some());
        OccupiedSlot { place: self.records.insert(record), id, reset_timer, identity, vm }
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Records the times of a lease.
    pub(crate) fn record_lease(&mut self, ended: &LeaseTimes) {
        self.timings.wait.record(ended.waited);
        self.timings.use_time.record(ended.use_time);
        if let Some(reset_time) = ended.reset_time {
            self.timings.reset.record(reset_time);
        }
    }

    /// Makes a VM idle. Returns it if it may not be leased again, with the reason.
    pub(crate) fn check_in(
        &mut self,
        slot: OccupiedSlot<V>,
        now: Instant,
    ) -> Result<(), (OccupiedSlot<V>, DestroyReason)> {
        if let Some(reason) = self.unwanted(&slot, now) {
            return Err((slot, reason));
        }
        let record = &mut self.records[slot.place];
        record.reset_timer.end();
        record.become_idle(now);
        self.idle.push(slot);
        Ok(())
    }

    /// Why a VM that is out may not become idle, if so.
    fn unwanted(&self, slot: &OccupiedSlot<V>, now: Instant) -> Option<DestroyReason> {
        let record = &self.records[slot.place];
        if self.is_quarantined(slot) {
            return Some(DestroyReason::ResetTimedOut);
        }
        if self.closed {
            return Some(DestroyReason::Closed);
        }
        if self.is_too_large() {
            return Some(DestroyReason::Shrunk);
        }
        record.expiry_reason(&self.config, self.generation, now)
    }

    pub(crate) fn is_quarantined(&self, slot: &OccupiedSlot<V>) -> bool {
        matches!(self.records[slot.place].state, VmState::Quarantined { .. })
    }

    pub(crate) fn record_mut(&mut self, slot: &OccupiedSlot<V>) -> &mut Record {
        &mut self.records[slot.place]
    }

    /// Takes a VM out of use for good. It keeps its slot until it is destroyed, or gives it back at once
    /// (`slotless`) if nobody knows when that will be.
    pub(crate) fn quarantine(&mut self, place: usize, slotless: bool) {
        let record = &mut self.records[place];
        if matches!(record.state, VmState::Quarantined { .. }) {
            return;
        }
        record.state = VmState::Quarantined { slotless };
        self.quarantined += 1;
        self.slotless += usize::from(slotless);
    }

    /// Removes the record of a VM that was destroyed. Returns whether the VM still had its slot.
    pub(crate) fn remove(&mut self, place: usize, reason: DestroyReason) -> bool {
        let record = self.records.remove(place);
        self.counts.destroyed_by[reason as usize] += 1;
        let VmState::Quarantined { slotless } = record.state else {
            return true;
        };
        self.quarantined -= 1;
        self.slotless -= usize::from(slotless);
        !slotless
    }

    /// As [`remove`](Self::remove), but reserves the slot to make another VM in it. Returns the generation.
    pub(crate) fn remove_keep_slot(&mut self, place: usize, reason: DestroyReason) -> u64 {
        let had_slot = self.remove(place, reason);
        debug_assert!(had_slot, "only a VM that is being reset loses its slot");
        self.reserved += 1;
        self.generation
    }

    /// Takes all idle VMs out.
    pub(crate) fn take_all_idle(&mut self) -> Vec<OccupiedSlot<V>> {
        let now = Instant::now();
        let idle = std::mem::take(&mut self.idle);
        idle.iter().for_each(|slot| self.records[slot.place].begin_lease(None, now));
        idle
    }

    /// Closes the pool. The threads that wait for a lease or for a VM learn it when the caller drops what is
    /// returned.
    pub(crate) fn close(&mut self) -> (Vec<Waiter<Grant<V>>>, Vec<BuildOwner<V>>) {
        self.closed = true;
        (self.queue.clear(), self.builds.abandon_all())
    }

    /// What interrupts the VMs that are leased.
    pub(crate) fn interrupters(&self) -> Vec<InterruptFn> {
        let out = self.records.iter().filter(|record| matches!(record.state, VmState::Out(_)));
        out.filter_map(|record| record.interrupter.clone()).collect()
    }

    /// Makes all VMs there are too old to be leased again.
    pub(crate) fn raise_generation(&mut self) {
        self.generation += 1;
    }

    /// Keeps an incident for the next `maintain`.
    pub(crate) fn note(&mut self, kind: IncidentKind, place: Option<usize>, message: String) {
        let record = place.map(|place| &self.records[place]);
        let program = record.and_then(|record| record.report.last_program.clone());
        let vm = record.map(|record| record.id);
        self.incidents.push(Incident { kind, vm, program, message });
    }
}
