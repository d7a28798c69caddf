//! What [`maintain`](crate::pool::VmPool::maintain) needs of the registry.

use super::Registry;
use crate::pool::config::PoolConfig;
use crate::pool::incident::{Incident, IncidentKind};
use crate::pool::record::VmState;
use crate::pool::slot::OccupiedSlot;
use crate::pool::stats::DestroyReason;
use crate::pool::sync::Instant;

impl<V> Registry<V> {
    /// Records the time of `maintain`. Returns whether a health check is due; then the next one is due an interval
    /// later. A clock that was set back doesn't delay it.
    pub(crate) fn begin_check(&mut self, now: Instant) -> bool {
        self.health.maintained = Some(now);
        let interval = self.config.health_check_interval;
        let due = self.health.last_check.is_none_or(|last| now < last || now - last >= interval);
        if due {
            self.health.last_check = Some(now);
        }
        due
    }

    /// The numbers of the idle VMs, longest idle first.
    pub(crate) fn idle_ids(&self) -> Vec<u64> {
        self.idle.iter().map(|slot| slot.id).collect()
    }

    /// Takes out an idle VM for a check, if it is still idle, and why it must be destroyed, if it must.
    pub(crate) fn take_for_check(
        &mut self,
        id: u64,
        now: Instant,
    ) -> Option<(OccupiedSlot<V>, Option<DestroyReason>)> {
        let index = self.idle.iter().position(|slot| slot.id == id)?;
        let slot = self.idle.remove(index);
        let spare = self.taken() > self.config.kept_size();
        let record = &mut self.records[slot.place];
        let idle_time = now.saturating_duration_since(record.since);
        let idle = spare && idle_time >= self.config.max_idle_time;
        let expiry_reason = record.expiry_reason(&self.config, self.generation, now);
        record.state = VmState::Out(None);
        Some((slot, expiry_reason.or(idle.then_some(DestroyReason::Idle))))
    }

    /// Puts a VM back to its position among the idle ones. Returns it if it may not be idle any more.
    pub(crate) fn put_back(
        &mut self,
        slot: OccupiedSlot<V>,
        now: Instant,
    ) -> Result<(), (OccupiedSlot<V>, DestroyReason)> {
        if let Some(reason) = self.unwanted(&slot, now) {
            return Err((slot, reason));
        }
        let record = &mut self.records[slot.place];
        record.state = VmState::Idle;
        let since = record.since;
        let index = self.idle.partition_point(|slot| self.records[slot.place].since <= since);
        self.idle.insert(index, slot);
        Ok(())
    }

    /// After the pool was made smaller: the VM that is idle longest, if there are too many.
    pub(crate) fn take_surplus(&mut self) -> Option<OccupiedSlot<V>> {
        if self.idle.is_empty() || self.taken() <= self.config.max_size {
            return None;
        }
        Some(self.take_idle(0))
    }

    /// An idle VM from before the last `evict_all`.
    pub(crate) fn take_stale(&mut self) -> Option<OccupiedSlot<V>> {
        let stale = |slot: &OccupiedSlot<V>| self.records[slot.place].generation < self.generation;
        let index = self.idle.iter().position(stale)?;
        Some(self.take_idle(index))
    }

    fn take_idle(&mut self, index: usize) -> OccupiedSlot<V> {
        let slot = self.idle.remove(index);
        self.records[slot.place].state = VmState::Out(None);
        slot
    }

    /// Changes the configuration. Returns the one before. The next `maintain` checks the idle VMs against it.
    pub(crate) fn reconfigure(&mut self, config: PoolConfig) -> PoolConfig {
        self.health.last_check = None;
        std::mem::replace(&mut self.config, config)
    }

    /// Puts VMs whose reset has lasted too long into quarantine, and gives their slots back: of `max_size` VMs at
    /// most, so that the number of hung VMs is bounded.
    pub(crate) fn quarantine_hung_resets(&mut self, epoch: Instant, now: Instant) {
        let limit = self.config.reset_timeout;
        let mut hung = Vec::new();
        for (place, record) in self.records.with_places() {
            if record.resetting_for(epoch, now).is_some_and(|lasted| lasted > limit) {
                hung.push(place);
            }
        }
        for place in hung {
            let slotless = self.slotless < self.config.max_size;
            self.counts.reset_timeouts += 1;
            self.counts.quarantines += 1;
            let message = format!(
                "its reset has lasted for more than {limit:?} and still does; it is taken out of \
                 use. Mend the reset, or raise `reset_timeout`"
            );
            self.note(IncidentKind::ResetTimedOut, Some(place), message);
            self.quarantine(place, slotless);
        }
    }

    /// Records the leases that have become overdue.
    pub(crate) fn note_overdue(&mut self, now: Instant) {
        let Some(threshold) = self.config.leak_threshold else {
            return;
        };
        let mut found = Vec::new();
        for record in self.records.iter_mut() {
            if let Some(message) = record.note_overdue(threshold, now) {
                let program = record.report.last_program.clone();
                let (kind, vm) = (IncidentKind::LeaseOverdue, Some(record.id));
                found.push(Incident { kind, vm, program, message });
            }
        }
        self.counts.overdue += found.len() as u64;
        found.into_iter().for_each(|incident| self.incidents.push(incident));
    }

    #[cfg(test)]
    pub(crate) fn incidents(&self) -> &[Incident] {
        self.incidents.kept()
    }

    /// The incidents since the last time, and how many were left out.
    pub(crate) fn take_incidents(&mut self) -> (Vec<Incident>, u64) {
        self.incidents.take()
    }
}
