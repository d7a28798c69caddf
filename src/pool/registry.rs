//! [`Registry`]: what a pool knows about its VMs. Plain data behind the pool's one lock; no user
//! code runs in here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::Location;
use std::time::Instant;

use crossbeam_channel::Sender;

use crate::pool::config::PoolConfig;
use crate::pool::factory::VmReport;
use crate::pool::incident::{Incident, IncidentKind, IncidentLog};
use crate::pool::record::{Borrower, Record};
use crate::pool::stats::{DestroyReason, VmInfo};

/// A VM and its number. Whoever has the slot has the VM.
#[derive(Debug)]
pub(crate) struct Slot<V> {
    pub(crate) id: u64,
    pub(crate) vm: V,
}

/// Counts, records and idle VMs of a pool.
#[derive(Debug)]
pub(crate) struct Registry<V> {
    pub(crate) config: PoolConfig,
    /// The VM used last is on top and goes first, so that the surplus stays idle and expires.
    idle: Vec<Slot<V>>,
    /// One for each living VM, idle or out.
    records: BTreeMap<u64, Record>,
    /// Slots that are taken and have no VM yet.
    building: usize,
    /// Slots that the pool has too many since it was made smaller; they end when they fall
    /// vacant.
    surplus: usize,
    /// Raised by `evict_all`; VMs of an older one aren't leased again.
    generation: u64,
    next_id: u64,
    /// Dropped to close the pool, which wakes all who wait.
    closer: Option<Sender<Infallible>>,
    pub(crate) created: u64,
    pub(crate) create_errors: u64,
    pub(crate) destroyed_by: [u64; DestroyReason::COUNT],
    pub(crate) timeouts: u64,
    pub(crate) reset_errors: u64,
    pub(crate) quarantined: u64,
    pub(crate) overdue: u64,
    incidents: IncidentLog,
}

impl<V> Registry<V> {
    pub(crate) fn new(config: PoolConfig, closer: Sender<Infallible>) -> Self {
        Self {
            config,
            idle: Vec::new(),
            records: BTreeMap::new(),
            building: 0,
            surplus: 0,
            generation: 0,
            next_id: 0,
            closer: Some(closer),
            created: 0,
            create_errors: 0,
            destroyed_by: [0; DestroyReason::COUNT],
            timeouts: 0,
            reset_errors: 0,
            quarantined: 0,
            overdue: 0,
            incidents: IncidentLog::default(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closer.is_none()
    }

    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    pub(crate) fn leased(&self) -> usize {
        self.records.len() - self.idle.len()
    }

    pub(crate) fn surplus(&self) -> usize {
        self.surplus
    }

    /// Whether no VM is alive and none is being made.
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.building == 0
    }

    /// How many VMs `min_size` is short of; those being made are counted as made.
    pub(crate) fn missing(&self) -> usize {
        if self.is_closed() {
            return 0;
        }
        let there = self.records.len() + self.building;
        self.config.min_size.saturating_sub(there)
    }

    /// Whether there are more VMs than `min_size`, those being made included.
    pub(crate) fn is_overfull(&self) -> bool {
        self.records.len() + self.building > self.config.min_size
    }

    /// Takes a vacant slot to make a VM in. Returns its generation; `None` when the slot ends
    /// here, because the pool is closed or was made smaller.
    pub(crate) fn occupy(&mut self) -> Option<u64> {
        if self.is_closed() {
            return None;
        }
        if self.surplus > 0 {
            self.surplus -= 1;
            return None;
        }
        self.building += 1;
        Some(self.generation)
    }

    /// Gives up a slot that has no VM. Returns whether it is vacant now; otherwise it ended.
    pub(crate) fn vacate(&mut self) -> bool {
        self.building -= 1;
        if self.surplus > 0 {
            self.surplus -= 1;
            return false;
        }
        true
    }

    /// Enters a VM that was made in an occupied slot; it is out at once.
    pub(crate) fn admit(
        &mut self,
        vm: V,
        generation: u64,
        report: VmReport,
        borrower: Borrower,
    ) -> Slot<V> {
        self.building -= 1;
        self.created += 1;
        let id = self.next_id;
        self.next_id += 1;
        let record = Record::new(id, generation, report, borrower);
        self.records.insert(id, record);
        Slot { id, vm }
    }

    /// Strikes out a VM that is no more; its slot is occupied by the caller.
    pub(crate) fn strike_out(&mut self, id: u64, reason: DestroyReason) -> u64 {
        self.records.remove(&id).expect("a VM has a record until it is destroyed");
        self.destroyed_by[reason as usize] += 1;
        self.building += 1;
        self.generation
    }

    /// Takes an idle VM for a lease: the one that ran the program last, or else the top one.
    /// Also says whether it is too worn to be leased. `None` when the pool is closed.
    pub(crate) fn check_out(
        &mut self,
        program: Option<&str>,
        borrower: &'static Location<'static>,
    ) -> Option<(Slot<V>, Option<DestroyReason>)> {
        if self.is_closed() {
            return None;
        }
        let preferred = program.and_then(|program| {
            self.idle.iter().rposition(|slot| {
                self.records[&slot.id].report.last_program.as_deref() == Some(program)
            })
        });
        let top = self.idle.len().checked_sub(1).expect("a ready token stands for an idle VM");
        let index = preferred.unwrap_or(top);
        let worn = self.worn(self.idle[index].id, Instant::now());
        Some((self.take(index, Some(borrower)), worn))
    }

    /// Puts a VM back among the idle ones, with what it reports after its reset. A VM that may
    /// not be leased again comes back to the caller.
    pub(crate) fn check_in(
        &mut self,
        slot: Slot<V>,
        report: Option<VmReport>,
    ) -> Result<(), (Slot<V>, DestroyReason)> {
        let now = Instant::now();
        let record = self.record_mut(slot.id);
        if let Some(report) = report {
            record.report = report;
        }
        if self.is_closed() {
            return Err((slot, DestroyReason::Closed));
        }
        if self.surplus > 0 {
            return Err((slot, DestroyReason::Shrunk));
        }
        if let Some(reason) = self.worn(slot.id, now) {
            return Err((slot, reason));
        }
        self.record_mut(slot.id).come_back(now);
        self.idle.push(slot);
        Ok(())
    }

    /// The idle VM that has to go at this time, and why. Longest idle first.
    pub(crate) fn due(&self, now: Instant) -> Option<(usize, DestroyReason)> {
        let spare = self.records.len() > self.config.min_size;
        self.idle.iter().enumerate().find_map(|(index, slot)| {
            let idle_time = now.saturating_duration_since(self.records[&slot.id].since);
            let idle = spare && idle_time >= self.config.max_idle_time;
            let reason = self.worn(slot.id, now);
            reason.or(idle.then_some(DestroyReason::Idle)).map(|reason| (index, reason))
        })
    }

    /// The idle VM to destroy when the pool is made smaller: the one that was idle longest.
    pub(crate) fn first_surplus(&self) -> Option<(usize, DestroyReason)> {
        let any = self.surplus > 0 && !self.idle.is_empty();
        any.then_some((0, DestroyReason::Shrunk))
    }

    /// An idle VM from before the last `evict_all`.
    pub(crate) fn first_stale(&self) -> Option<(usize, DestroyReason)> {
        let stale = |slot: &Slot<V>| self.records[&slot.id].generation < self.generation;
        self.idle.iter().position(stale).map(|index| (index, DestroyReason::Evicted))
    }

    /// Takes the idle VM at this place out.
    pub(crate) fn take(&mut self, index: usize, borrower: Borrower) -> Slot<V> {
        let slot = self.idle.remove(index);
        self.record_mut(slot.id).leave(borrower);
        slot
    }

    /// Closes; all idle VMs and the means to wake those who wait come back to the caller.
    pub(crate) fn close(&mut self) -> (Vec<Slot<V>>, Option<Sender<Infallible>>) {
        let closer = self.closer.take();
        let mut idle = Vec::with_capacity(self.idle.len());
        while !self.idle.is_empty() {
            idle.push(self.take(0, None));
        }
        (idle, closer)
    }

    /// Makes the VMs there are too old to be leased again.
    pub(crate) fn raise_generation(&mut self) {
        self.generation += 1;
    }

    /// Changes the configuration. Returns how many vacant slots come into being; those that are
    /// too many are in [`surplus`](Self::surplus).
    pub(crate) fn reconfigure(&mut self, config: PoolConfig) -> usize {
        let slots = self.config.max_size + self.surplus;
        let new_size = config.max_size;
        self.config = config;
        self.surplus = slots.saturating_sub(new_size);
        new_size.saturating_sub(slots)
    }

    /// Notes the leases that have become overdue at this time.
    pub(crate) fn note_overdue(&mut self, now: Instant) {
        let Some(threshold) = self.config.leak_threshold else {
            return;
        };
        let mut found = Vec::new();
        for record in self.records.values_mut() {
            if let Some(message) = record.note_overdue(threshold, now) {
                found.push((record.id, message));
            }
        }
        for (id, message) in found {
            self.overdue += 1;
            self.note(IncidentKind::LeaseOverdue, Some(id), message);
        }
    }

    /// Keeps an incident for the next `maintain`.
    pub(crate) fn note(&mut self, kind: IncidentKind, vm: Option<u64>, message: String) {
        let record = vm.and_then(|id| self.records.get(&id));
        let program = record.and_then(|record| record.report.last_program.clone());
        self.incidents.push(Incident { kind, vm, program, message });
    }

    /// The incidents since the last time, and how many were left out.
    pub(crate) fn take_incidents(&mut self) -> (Vec<Incident>, u64) {
        self.incidents.take()
    }

    pub(crate) fn vms(&self, now: Instant) -> Vec<VmInfo> {
        self.records.values().map(|record| record.info(now)).collect()
    }

    /// Why a VM may not be leased again, if so. The one judgement for acquire, release and
    /// `maintain` alike.
    fn worn(&self, id: u64, now: Instant) -> Option<DestroyReason> {
        self.records[&id].worn(&self.config, self.generation, now)
    }

    fn record_mut(&mut self, id: u64) -> &mut Record {
        self.records.get_mut(&id).expect("a VM has a record until it is destroyed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_too_many_ends_when_it_is_taken_or_falls_vacant() {
        let (closer, _closed) = crossbeam_channel::bounded(1);
        let sized = |max_size| PoolConfig { min_size: 0, max_size, ..PoolConfig::default() };
        let mut registry = Registry::<u32>::new(sized(3), closer);
        assert_eq!(registry.occupy(), Some(0));
        assert_eq!(registry.reconfigure(sized(1)), 0);
        assert_eq!(registry.surplus(), 2);
        assert_eq!(registry.occupy(), None);
        assert!(!registry.vacate());
        assert_eq!(registry.occupy(), Some(0));
        assert!(registry.vacate());
        assert_eq!(registry.reconfigure(sized(4)), 3);
    }
}
