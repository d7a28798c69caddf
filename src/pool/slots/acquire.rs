//! How a lease begins.

use std::time::Duration;

use super::{LeasedVm, Slots, StopFn, next_stop_check};
use crate::pool::error::PoolError;
use crate::pool::oneshot::RecvError;
use crate::pool::queue::WaitTicket;
use crate::pool::record::Borrower;
use crate::pool::refill::RefillCaller;
use crate::pool::registry::{AcquireOutcome, LeaseTimes, WaitPolicy};
use crate::pool::slot::{Grant, OccupiedSlot};
use crate::pool::stats::DestroyReason;
use crate::pool::sync::{Arc, Instant, WaitDeadline};

impl<V: Send + 'static> Slots<V> {
    /// Takes a VM for a lease.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        patience: WaitPolicy,
        program: Option<&str>,
        borrower: Borrower,
        stop: StopFn<'_>,
    ) -> Result<LeasedVm<V>, PoolError> {
        let started = Instant::now();
        let mut registry = self.registry();
        let asked = registry.ask(patience, program, borrower, started);
        let mut waited = false;
        let mut grant = match asked {
            AcquireOutcome::Granted(grant) => {
                drop(registry);
                grant
            }
            AcquireOutcome::Waiting(waiting, wait) => {
                let expiry = registry.next_expiry();
                drop(registry);
                waited = true;
                match self.wait(&waiting, started, wait, expiry, stop) {
                    Ok(grant) => grant,
                    Err(error) => return Err(self.record_failed_wait(started, error)),
                }
            }
            AcquireOutcome::Refused(error) => {
                drop(registry);
                if matches!(error, PoolError::Deferred { .. }) {
                    self.begin_refill(true, RefillCaller::Borrower(started));
                }
                return Err(error);
            }
        };
        loop {
            let vacancy = match grant {
                Grant::Ready(mut slot) => {
                    let resetter = &self.hooks.resetter;
                    match self.examine(&mut slot, |vm| resetter.validate(vm)) {
                        None if !waited => {
                            return Ok(LeasedVm { slot, taken: started, waited: Duration::ZERO });
                        }
                        None => return Ok(LeasedVm::since(slot, started)),
                        Some(reason) => {
                            self.registry().counts.acquired -= 1;
                            self.retire_keep_slot(slot, reason)
                        }
                    }
                }
                Grant::Expired(slot, reason) => self.retire_keep_slot(slot, reason),
                Grant::Vacant(generation) => {
                    let vacancy = self.vacancy(generation);
                    return match self.build_for(vacancy, borrower, (started, stop)) {
                        Ok(slot) => Ok(LeasedVm::since(slot, started)),
                        Err(error) => Err(self.record_failed_wait(started, error)),
                    };
                }
            };
            // Keep the slot while looking for another idle VM: nobody else can take it meanwhile.
            waited = true;
            let mut registry = self.registry();
            grant = registry.exchange(borrower, vacancy.generation);
            vacancy.spend();
            self.serve_waiters(registry);
        }
    }

    /// Ends a lease, destroys its VM for this reason, and begins another lease with a new VM in the same
    /// slot.
    pub(crate) fn renew(
        self: &Arc<Self>,
        leased: LeasedVm<V>,
        reason: DestroyReason,
        borrower: Borrower,
    ) -> Result<LeasedVm<V>, PoolError> {
        let LeasedVm { slot, taken, waited } = leased;
        let started = Instant::now();
        let use_time = started.saturating_duration_since(taken);
        self.registry().record_lease(&LeaseTimes { waited, use_time, reset_time: None });
        if self.registry().is_too_large() {
            self.retire(slot, reason);
            return Err(self.registry().refusal(Duration::ZERO));
        }
        let vacancy = self.retire_keep_slot(slot, reason);
        match self.build_for(vacancy, borrower, (started, None)) {
            Ok(slot) => Ok(LeasedVm::since(slot, started)),
            Err(error) => Err(self.record_failed_wait(started, error)),
        }
    }

    /// Records the time of a wait that ended without a VM.
    fn record_failed_wait(&self, started: Instant, error: PoolError) -> PoolError {
        self.registry().timings.wait.record(started.elapsed());
        error
    }
}

impl<V: 'static> Slots<V> {
    /// Waits in the queue for a grant.
    pub(crate) fn wait(
        &self,
        waiting: &WaitTicket<Grant<V>>,
        started: Instant,
        wait: Duration,
        mut expiry: WaitDeadline,
        stop: StopFn<'_>,
    ) -> Result<Grant<V>, PoolError> {
        // A time that no `Instant` can hold is for ever.
        let deadline: WaitDeadline = started.checked_add(wait);
        loop {
            // Wake up when a build expires: it may hold the slot that this thread waits for.
            let wake = deadline.into_iter().chain(expiry);
            match waiting.receiver.recv(wake.chain(next_stop_check(stop)).min()) {
                Ok(grant) => return Ok(grant),
                Err(RecvError::Closed) => return Err(PoolError::Closed),
                Err(RecvError::Timeout) => {}
            }
            let now = Instant::now();
            self.expire_builds(now);
            let stopped = stop.is_some_and(|stop| stop());
            if stopped || deadline.is_some_and(|deadline| now >= deadline) {
                let mut registry = self.registry();
                if registry.stop_waiting(waiting.ticket) {
                    if stopped {
                        let waited = now.saturating_duration_since(started);
                        return Err(PoolError::Interrupted { waited });
                    }
                    return Err(registry.refusal(now.saturating_duration_since(started)));
                }
                drop(registry);
                // A grant was sent at the last moment, or the pool was closed.
                return waiting.receiver.recv(None).map_err(|_| PoolError::Closed);
            }
            expiry = self.registry().next_expiry();
        }
    }
}

impl<V> LeasedVm<V> {
    /// A lease that begins now and was asked for at `started`.
    fn since(slot: OccupiedSlot<V>, started: Instant) -> Self {
        let taken = Instant::now();
        Self { slot, taken, waited: taken.saturating_duration_since(started) }
    }
}
