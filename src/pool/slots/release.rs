//! How a lease ends.

use std::time::Duration;

use super::{LeasedVm, Slots};
use crate::pool::factory::{VmReport, describe, guarded};
use crate::pool::incident::IncidentKind;
use crate::pool::registry::{LeaseTimes, Registry};
use crate::pool::slot::OccupiedSlot;
use crate::pool::stats::DestroyReason;
use crate::pool::sync::Instant;
use crate::pool::timing::nanos;

/// What the reset of a VM came to.
enum ResetOutcome {
    Clean(VmReport),
    Spent,
    /// The borrower put another VM in the place of the leased one.
    Foreign,
    Failed(DestroyReason, String),
}

impl<V: 'static> Slots<V> {
    /// Takes back a VM whose lease has ended: reset, then idle or destroyed.
    pub(crate) fn release(&self, leased: LeasedVm<V>) {
        let LeasedVm { mut slot, taken, waited } = leased;
        let began = Instant::now();
        slot.reset_timer.begin(nanos(began.saturating_duration_since(self.epoch)));
        let cleaned = self.clean(&mut slot);
        let now = Instant::now();
        let reset = !matches!(cleaned, ResetOutcome::Spent | ResetOutcome::Foreign);
        let reset_time = reset.then(|| now - began);
        let mut registry = self.registry();
        let use_time = began.saturating_duration_since(taken);
        registry.record_lease(&LeaseTimes { waited, use_time, reset_time });
        match registry.reason_after_reset(&slot, cleaned, reset_time.unwrap_or_default()) {
            None => self.make_idle(registry, slot, now),
            Some(reason) => {
                drop(registry);
                self.retire(slot, reason);
            }
        }
    }

    fn clean(&self, slot: &mut OccupiedSlot<V>) -> ResetOutcome {
        let resetter = &self.hooks.resetter;
        let outcome = guarded("the reset of a VM", || {
            if resetter.identity(&slot.vm) != slot.identity {
                return Ok(ResetOutcome::Foreign);
            }
            if resetter.is_spent(&slot.vm) {
                return Ok(ResetOutcome::Spent);
            }
            resetter.reset(&mut slot.vm)?;
            Ok(ResetOutcome::Clean(resetter.inspect(&slot.vm)))
        });
        outcome.unwrap_or_else(|failure| {
            let reason = failure.reason(DestroyReason::ResetFailed);
            ResetOutcome::Failed(reason, describe(failure.into_error()))
        })
    }

    /// Destroys a VM that its borrower gives up.
    pub(crate) fn discard(&self, leased: LeasedVm<V>, reason: DestroyReason) {
        let LeasedVm { slot, taken, waited } = leased;
        let use_time = taken.elapsed();
        self.registry().record_lease(&LeaseTimes { waited, use_time, reset_time: None });
        self.retire(slot, reason);
    }
}

impl<V> Registry<V> {
    /// Records how a reset went. Returns why the VM must be destroyed, if it must.
    fn reason_after_reset(
        &mut self,
        slot: &OccupiedSlot<V>,
        cleaned: ResetOutcome,
        reset_time: Duration,
    ) -> Option<DestroyReason> {
        let (limit, place) = (self.config.reset_timeout, Some(slot.place));
        let late = reset_time > limit;
        let reason = match cleaned {
            ResetOutcome::Spent => return Some(DestroyReason::Spent),
            ResetOutcome::Foreign => {
                let borrower = self.record_mut(slot).borrower();
                let place = borrower.map_or_else(String::new, |place| format!(" at {place}"));
                let message = format!(
                    "the lease taken{place} ended with another VM than it began with, which is \
                     destroyed; use the VM in its place, without `*lease = …` and `mem::swap`, or call \
                     `Lease::renew` for a fresh one"
                );
                self.note(IncidentKind::Foreign, Some(slot.place), message);
                return Some(DestroyReason::Foreign);
            }
            ResetOutcome::Clean(report) => {
                self.record_mut(slot).report = report;
                late.then_some(DestroyReason::ResetTimedOut)
            }
            ResetOutcome::Failed(reason, message) => {
                self.counts.reset_errors += 1;
                self.note(IncidentKind::ResetFailed, place, message);
                Some(reason)
            }
        };
        // For a VM in quarantine this was recorded when it was put there.
        if late && !self.is_quarantined(slot) {
            self.counts.reset_timeouts += 1;
            let message = format!(
                "its reset took {reset_time:?}, and {limit:?} are allowed; it is destroyed. Make \
                 the reset faster, or raise `reset_timeout`"
            );
            self.note(IncidentKind::ResetTimedOut, place, message);
        }
        reason
    }
}
