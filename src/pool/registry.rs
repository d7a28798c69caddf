//! [`Registry`]: what a pool knows about its VMs and about those who want one. Plain data behind the
//! pool's one lock; no user code runs in here.
//!
//! A slot is taken by a VM, by a VM that is being made, or by somebody who is about to make one. All
//! three are counted here and nowhere else, and a slot is taken only by who finds fewer than
//! `max_size` of them under the lock: that is the bound.

mod builds;
mod health;

use std::time::Duration;

use crate::pool::config::{Overflow, PoolConfig};
use crate::pool::error::PoolError;
use crate::pool::factory::Interrupter;
use crate::pool::incident::{Incident, IncidentKind, IncidentLog};
use crate::pool::queue::{Place, WaitQueue, Waiting};
use crate::pool::record::{Birth, Borrower, Record, State, Watch};
use crate::pool::records::Records;
use crate::pool::stats::{Counts, DestroyReason, PoolStats, VmInfo};
use crate::pool::sync::{Arc, Instant};
use crate::pool::timing::TimingHistogram;

pub(crate) use self::builds::Owner;
pub(crate) use self::health::Asker;

/// A VM and where its record is. Whoever has the slot has the VM.
pub(crate) struct Slot<V> {
    pub(crate) place: usize,
    pub(crate) id: u64,
    pub(crate) watch: Arc<Watch>,
    /// What tells the VM from others, when it was last in the pool's own hands.
    pub(crate) identity: Option<u64>,
    pub(crate) vm: V,
}

/// What somebody gets who wants a VM.
pub(crate) enum Grant<V> {
    /// An idle VM; it counts as leased.
    Ready(Slot<V>),
    /// An idle VM that may not be leased again: to be destroyed, and its slot is then free to use.
    Worn(Slot<V>, DestroyReason),
    /// A slot to make a VM in, and the generation at this time, so that a VM whose making began
    /// before an `evict_all` counts as made before.
    Vacant(u64),
}

/// How long somebody is ready to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// What the configuration says.
    Configured,
    /// At most so long; zero is not at all.
    AtMost(Duration),
}

/// What came of asking for a VM.
pub(crate) enum Asked<V> {
    Granted(Grant<V>),
    /// To wait for so long at most.
    Waiting(Waiting<Grant<V>>, Duration),
    Refused(PoolError),
}

/// How a lease ended.
pub(crate) struct Ended {
    pub(crate) waited: Duration,
    pub(crate) use_time: Duration,
    pub(crate) reset_time: Option<Duration>,
}

/// The histograms of a pool.
#[derive(Default)]
pub(crate) struct Timings {
    pub(crate) wait: TimingHistogram,
    pub(crate) create: TimingHistogram,
    pub(crate) reset: TimingHistogram,
    pub(crate) use_time: TimingHistogram,
}

/// Counts, records, idle VMs and waiters of a pool.
pub(crate) struct Registry<V> {
    pub(crate) config: PoolConfig,
    /// The VM used last is on top and goes first, so that the surplus stays idle and expires.
    idle: Vec<Slot<V>>,
    /// One for each living VM.
    records: Records,
    builds: builds::Builds<V>,
    /// Slots in the hands of those who are about to make a VM.
    reserved: usize,
    /// VMs in quarantine, and those of them whose slot was given back.
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
    pub(crate) counts: Counts,
    pub(crate) timings: Timings,
    incidents: IncidentLog,
    health: health::Agenda,
}

impl<V> Registry<V> {
    pub(crate) fn new(config: PoolConfig) -> Self {
        Self {
            config,
            idle: Vec::new(),
            records: Records::default(),
            builds: builds::Builds::default(),
            reserved: 0,
            quarantined: 0,
            slotless: 0,
            queue: WaitQueue::default(),
            generation: 0,
            next_id: 0,
            closed: false,
            suspended: false,
            awaiting_empty: 0,
            counts: Counts::default(),
            timings: Timings::default(),
            incidents: IncidentLog::default(),
            health: health::Agenda::default(),
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

    /// Whether nobody waits for a VM, nor for there to be none.
    pub(crate) fn is_awaited_by_nobody(&self) -> bool {
        self.queue.is_empty() && self.awaiting_empty == 0
    }

    /// Slots that are taken: never more than `max_size`, but for what is left over of a larger one.
    fn taken(&self) -> usize {
        self.records.len() - self.slotless + self.builds.len() + self.reserved
    }

    fn has_room(&self) -> bool {
        self.taken() < self.config.max_size
    }

    /// Takes a VM or a slot for a lease, or a place in the queue.
    pub(crate) fn ask(
        &mut self,
        patience: Patience,
        program: Option<&str>,
        borrower: Borrower,
        now: Instant,
    ) -> Asked<V> {
        if self.closed {
            return Asked::Refused(PoolError::Closed);
        }
        let (wait, may_build) = match (patience, self.config.overflow) {
            (Patience::AtMost(wait), _) => (wait, true),
            (_, Overflow::Wait) => (self.config.acquire_timeout, true),
            (_, Overflow::Fail) => (Duration::ZERO, true),
            (_, Overflow::Defer) => (Duration::ZERO, false),
        };
        // Who finds others waiting goes behind them.
        if !self.suspended && self.queue.is_empty() {
            if let Some(grant) = self.grant_idle(program, borrower, now) {
                return Asked::Granted(grant);
            }
            if may_build && let Some(grant) = self.grant_vacant() {
                return Asked::Granted(grant);
            }
        }
        if !wait.is_zero() {
            return Asked::Waiting(self.queue.join(borrower), wait);
        }
        self.counts.timeouts += 1;
        if may_build || self.suspended {
            return Asked::Refused(self.refusal(Duration::ZERO));
        }
        let (leased, max_size) = (self.leased(), self.config.max_size);
        Asked::Refused(PoolError::Deferred { leased, max_size })
    }

    /// Why somebody who waited so long gets nothing.
    pub(crate) fn refusal(&self, waited: Duration) -> PoolError {
        if self.suspended {
            return PoolError::Suspended { waited };
        }
        let (max_size, leased) = (self.config.max_size, self.leased());
        PoolError::Exhausted { waited, max_size, leased }
    }

    /// What the one in front of the queue gets, if there is anything for it.
    pub(crate) fn next_grant(&mut self) -> Option<(Place<Grant<V>>, Grant<V>)> {
        let something = !self.idle.is_empty() || self.has_room();
        if self.queue.is_empty() || self.suspended || !something {
            return None;
        }
        let place = self.queue.pop()?;
        let grant = match self.grant_idle(None, place.borrower, Instant::now()) {
            Some(grant) => grant,
            None => self.grant_vacant()?,
        };
        Some((place, grant))
    }

    /// Gives up waiting. `false` when a grant is on its way already.
    pub(crate) fn stop_waiting(&mut self, ticket: u64) -> bool {
        let left = self.queue.leave(ticket);
        self.counts.timeouts += u64::from(left);
        left
    }

    /// The idle VM that ran the program last, or else the top one.
    fn grant_idle(
        &mut self,
        program: Option<&str>,
        borrower: Borrower,
        now: Instant,
    ) -> Option<Grant<V>> {
        let preferred = program.and_then(|program| {
            let ran_it = |slot: &Slot<V>| {
                self.records[slot.place].report.last_program.as_deref() == Some(program)
            };
            self.idle.iter().rposition(ran_it)
        });
        let slot = match preferred {
            Some(index) => self.idle.remove(index),
            None => self.idle.pop()?,
        };
        let record = &mut self.records[slot.place];
        let worn = record.worn(&self.config, self.generation, now);
        record.leave(borrower, now);
        self.counts.acquired += u64::from(worn.is_none());
        Some(match worn {
            None => Grant::Ready(slot),
            Some(reason) => Grant::Worn(slot, reason),
        })
    }

    /// Takes a slot to make a VM in.
    pub(crate) fn grant_vacant(&mut self) -> Option<Grant<V>> {
        if self.closed || !self.has_room() {
            return None;
        }
        self.reserved += 1;
        Some(Grant::Vacant(self.generation))
    }

    /// Gives up a slot to make a VM in.
    pub(crate) fn vacate(&mut self) {
        self.reserved -= 1;
    }

    /// An idle VM in exchange for a slot in hand, or the slot again.
    pub(crate) fn exchange(&mut self, borrower: Borrower, generation: u64) -> Grant<V> {
        match self.grant_idle(None, borrower, Instant::now()) {
            Some(grant) => {
                self.reserved -= 1;
                grant
            }
            None => Grant::Vacant(generation),
        }
    }

    /// Enters a VM that was made; it is out at once.
    fn admit(&mut self, vm: V, identity: Option<u64>, birth: Birth, borrower: Borrower) -> Slot<V> {
        let record = Record::new(birth, borrower);
        let (id, watch) = (record.id, Arc::clone(&record.watch));
        self.counts.created += 1;
        self.counts.acquired += u64::from(borrower.is_some());
        Slot { place: self.records.insert(record), id, watch, identity, vm }
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Notes how a lease went.
    pub(crate) fn note_ended(&mut self, ended: &Ended) {
        self.timings.wait.record(ended.waited);
        self.timings.use_time.record(ended.use_time);
        if let Some(reset_time) = ended.reset_time {
            self.timings.reset.record(reset_time);
        }
    }

    /// Puts a VM back among the idle ones. One that may not be leased again comes back to the
    /// caller.
    pub(crate) fn check_in(
        &mut self,
        slot: Slot<V>,
        now: Instant,
    ) -> Result<(), (Slot<V>, DestroyReason)> {
        if let Some(reason) = self.unwanted(&slot, now) {
            return Err((slot, reason));
        }
        let record = &mut self.records[slot.place];
        record.watch.end();
        record.come_back(now);
        self.idle.push(slot);
        Ok(())
    }

    /// Why a VM that is out may not become idle, if so.
    fn unwanted(&self, slot: &Slot<V>, now: Instant) -> Option<DestroyReason> {
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
        record.worn(&self.config, self.generation, now)
    }

    pub(crate) fn is_quarantined(&self, slot: &Slot<V>) -> bool {
        matches!(self.records[slot.place].state, State::Quarantined { .. })
    }

    pub(crate) fn record_mut(&mut self, slot: &Slot<V>) -> &mut Record {
        &mut self.records[slot.place]
    }

    /// Takes a VM out of use for good. It may keep its slot until it is destroyed, or give it back
    /// at once because nobody knows when that will be.
    pub(crate) fn quarantine(&mut self, place: usize, slotless: bool) {
        let record = &mut self.records[place];
        if matches!(record.state, State::Quarantined { .. }) {
            return;
        }
        record.state = State::Quarantined { slotless };
        self.quarantined += 1;
        self.slotless += usize::from(slotless);
    }

    /// Strikes out a VM that is no more. Returns whether it still had its slot.
    pub(crate) fn strike_out(&mut self, place: usize, reason: DestroyReason) -> bool {
        let record = self.records.remove(place);
        self.counts.destroyed_by[reason as usize] += 1;
        let State::Quarantined { slotless } = record.state else {
            return true;
        };
        self.quarantined -= 1;
        self.slotless -= usize::from(slotless);
        !slotless
    }

    /// As [`strike_out`](Self::strike_out), but keeps the slot to make another VM in it.
    pub(crate) fn strike_out_keep(&mut self, place: usize, reason: DestroyReason) -> u64 {
        let had_slot = self.strike_out(place, reason);
        debug_assert!(had_slot, "only a VM that is being reset loses its slot");
        self.reserved += 1;
        self.generation
    }

    /// Takes all idle VMs out.
    pub(crate) fn take_all_idle(&mut self) -> Vec<Slot<V>> {
        let now = Instant::now();
        let idle = std::mem::take(&mut self.idle);
        idle.iter().for_each(|slot| self.records[slot.place].leave(None, now));
        idle
    }

    /// Closes: nobody waits any more, neither for a lease nor for a VM being made. They learn it
    /// when what is returned is dropped.
    pub(crate) fn close(&mut self) -> (Vec<Place<Grant<V>>>, Vec<Owner<V>>) {
        self.closed = true;
        (self.queue.clear(), self.builds.disown())
    }

    /// What interrupts the VMs that are lent out.
    pub(crate) fn interrupters(&self) -> Vec<Interrupter> {
        let out = self.records.iter().filter(|record| matches!(record.state, State::Out(_)));
        out.filter_map(|record| record.interrupter.clone()).collect()
    }

    /// Makes the VMs there are too old to be leased again.
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

    /// The length of the table of records: the most VMs that were ever alive at once.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.records.places()
    }

    pub(crate) fn vms(&self, now: Instant) -> Vec<VmInfo> {
        let mut vms: Vec<VmInfo> = self.records.iter().map(|record| record.info(now)).collect();
        vms.sort_unstable_by_key(|vm| vm.id);
        vms
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let (counts, timings) = (&self.counts, &self.timings);
        PoolStats {
            created: counts.created,
            destroyed: counts.destroyed_by.iter().sum(),
            destroyed_by: counts.destroyed_by,
            idle: self.idle(),
            leased: self.leased(),
            quarantined: self.quarantined,
            building: self.builds.len(),
            hung_builds: self.builds.hung(),
            waiting: self.queue.len(),
            suspended: self.suspended,
            acquired: counts.acquired,
            timeouts: counts.timeouts,
            create_errors: counts.create_errors,
            create_timeouts: counts.create_timeouts,
            resets: timings.reset.count(),
            reset_errors: counts.reset_errors,
            reset_timeouts: counts.reset_timeouts,
            quarantines: counts.quarantines,
            overdue: counts.overdue,
            wait: timings.wait.timing(),
            create: timings.create.timing(),
            reset: timings.reset.timing(),
            use_time: timings.use_time.timing(),
            min_size: self.config.kept_size(),
            max_size: self.config.max_size,
        }
    }
}
