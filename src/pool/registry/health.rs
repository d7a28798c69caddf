//! What a pool has to look after from time to time.

use std::time::Duration;

use super::{Registry, Slot};
use crate::pool::config::PoolConfig;
use crate::pool::incident::{Incident, IncidentKind};
use crate::pool::record::State;
use crate::pool::stats::DestroyReason;
use crate::pool::sync::Instant;

/// The rest after a VM couldn't be made for nobody in particular, so that a broken factory isn't
/// asked, and reported, in every frame.
const REST: Duration = Duration::from_secs(1);

/// When what was done last.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    last_check: Option<Instant>,
    /// The last `now` of `maintain`.
    maintained: Option<Instant>,
    refill_failed: Option<FailedRefill>,
}

/// When a refill failed, by each of the two clocks by which the next may be asked for.
#[derive(Clone, Copy, Debug)]
struct FailedRefill {
    really: Instant,
    /// By the clock of those who maintain the pool, if there was one: it may be far ahead or behind.
    maintained: Option<Instant>,
}

/// Who asks for a refill, and when by its own clock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// Somebody who wants a VM.
    Borrower(Instant),
    /// `maintain`.
    Maintenance(Instant),
}

impl Agenda {
    pub(crate) fn discourage(&mut self) {
        let (really, maintained) = (Instant::now(), self.maintained);
        self.refill_failed = Some(FailedRefill { really, maintained });
    }

    pub(crate) fn encourage(&mut self) {
        self.refill_failed = None;
    }

    /// Whether the rest after a failed refill isn't over. It may have failed a moment after the time that
    /// the asker looked up before; a clock that was set back by more doesn't put the next try off.
    pub(crate) fn is_discouraged(&self, asker: Asker) -> bool {
        self.refill_failed.is_some_and(|failed| {
            let (now, failed) = match asker {
                Asker::Borrower(now) => (now, failed.really),
                Asker::Maintenance(now) => (now, failed.maintained.unwrap_or(failed.really)),
            };
            let since = now.saturating_duration_since(failed);
            since.max(failed.saturating_duration_since(now)) < REST
        })
    }
}

impl<V> Registry<V> {
    /// Notes the time of `maintain`. Returns whether the idle VMs are to be looked at now; if so, the
    /// next time is an interval later. A clock that was set back doesn't put it off.
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

    /// Takes out an idle VM for a check, if it is still idle. Also says why it has to go, if so.
    pub(crate) fn take_for_check(
        &mut self,
        id: u64,
        now: Instant,
    ) -> Option<(Slot<V>, Option<DestroyReason>)> {
        let index = self.idle.iter().position(|slot| slot.id == id)?;
        let slot = self.idle.remove(index);
        let spare = self.taken() > self.config.kept_size();
        let record = &mut self.records[slot.place];
        let idle_time = now.saturating_duration_since(record.since);
        let idle = spare && idle_time >= self.config.max_idle_time;
        let worn = record.worn(&self.config, self.generation, now);
        record.state = State::Out(None);
        Some((slot, worn.or(idle.then_some(DestroyReason::Idle))))
    }

    /// Puts a VM back where it was before its check, unless it may not be idle any more.
    pub(crate) fn put_back(
        &mut self,
        slot: Slot<V>,
        now: Instant,
    ) -> Result<(), (Slot<V>, DestroyReason)> {
        if let Some(reason) = self.unwanted(&slot, now) {
            return Err((slot, reason));
        }
        let record = &mut self.records[slot.place];
        record.state = State::Idle;
        let since = record.since;
        let index = self.idle.partition_point(|slot| self.records[slot.place].since <= since);
        self.idle.insert(index, slot);
        Ok(())
    }

    /// An idle VM that is one too many since the pool was made smaller: the one idle longest.
    pub(crate) fn take_surplus(&mut self) -> Option<Slot<V>> {
        if self.idle.is_empty() || self.taken() <= self.config.max_size {
            return None;
        }
        Some(self.take_idle(0))
    }

    /// An idle VM from before the last `evict_all`.
    pub(crate) fn take_stale(&mut self) -> Option<Slot<V>> {
        let stale = |slot: &Slot<V>| self.records[slot.place].generation < self.generation;
        let index = self.idle.iter().position(stale)?;
        Some(self.take_idle(index))
    }

    fn take_idle(&mut self, index: usize) -> Slot<V> {
        let slot = self.idle.remove(index);
        self.records[slot.place].state = State::Out(None);
        slot
    }

    /// Changes the configuration; what it demands of idle VMs is looked at by the next `maintain`.
    /// Returns the one before.
    pub(crate) fn reconfigure(&mut self, config: PoolConfig) -> PoolConfig {
        self.health.last_check = None;
        std::mem::replace(&mut self.config, config)
    }

    /// Puts VMs whose reset has lasted too long into quarantine, and gives their slots back. Those
    /// of more than `max_size` are not given back: so many VMs that hang are a leak to be bounded.
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

    /// Notes the leases that have become overdue at this time.
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
