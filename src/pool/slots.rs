//! [`Slots`]: the one way in and out for every VM. All user code is called from here, never under
//! the lock.

use std::time::Duration;

use smallvec::SmallVec;

use crate::pool::config::PoolConfig;
use crate::pool::error::{BoxError, PoolError};
use crate::pool::factory::{Makers, VmReport, describe, drop_quietly, guarded};
use crate::pool::handover::Missed;
use crate::pool::incident::IncidentKind;
use crate::pool::queue::Waiting;
use crate::pool::record::Borrower;
use crate::pool::registry::{Asked, Asker, Ended, Grant, Patience, Registry, Slot};
use crate::pool::stats::DestroyReason;
use crate::pool::sync::{self, Arc, Condvar, Deadline, Instant, Mutex, MutexGuard, PoisonError};
use crate::pool::timing::nanos;

/// How long [`close`](crate::pool::VmPool::close) waits for the VMs that it interrupted, at most: half of
/// its time, where that is less.
const GRACE: Duration = Duration::from_secs(1);

/// How often somebody who waits asks whether to go on.
const ASKED_EVERY: Duration = Duration::from_millis(5);

/// Says that somebody is not to wait any longer.
pub(crate) type Stop<'s> = Option<&'s dyn Fn() -> bool>;

/// When somebody who waits asks next whether to go on.
pub(crate) fn next_question(stop: Stop<'_>) -> Deadline {
    stop.and_then(|_| Instant::now().checked_add(ASKED_EVERY))
}

/// What all handles and leases of one pool share.
pub(crate) struct Slots<V: 'static> {
    pub(crate) makers: Arc<Makers<V>>,
    registry: Mutex<Registry<V>>,
    /// The zero of every [`Watch`](crate::pool::record::Watch).
    pub(crate) epoch: Instant,
    /// Signalled when the last VM is gone and somebody waits for that.
    emptied: Condvar,
    /// Held while the configuration changes.
    pub(crate) changing: Mutex<()>,
}

/// A slot that is taken and has no VM. Dropping it gives the slot back and wakes a waiter, so no
/// early return and no panic can lose one.
#[must_use]
pub(crate) struct Vacancy<'s, V: 'static> {
    slots: &'s Slots<V>,
    pub(crate) generation: u64,
}

/// A VM for a lease that begins.
pub(crate) struct Leased<V> {
    pub(crate) slot: Slot<V>,
    pub(crate) taken: Instant,
    pub(crate) waited: Duration,
}

/// What came of cleaning a VM.
enum Cleaned {
    Clean(VmReport),
    Spent,
    /// It isn't the VM that was leased.
    Foreign,
    Failed(DestroyReason, String),
}

impl<V: 'static> Slots<V> {
    pub(crate) fn new(config: PoolConfig, makers: Makers<V>) -> Self {
        Self {
            makers: Arc::new(makers),
            registry: Mutex::new(Registry::new(config)),
            epoch: Instant::now(),
            emptied: Condvar::new(),
            changing: Mutex::new(()),
        }
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry<V>> {
        // No user code runs under the lock, so there is nothing half-changed behind a poisoned one.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the registry after something became free, and hands that to those who wait for
    /// it.
    pub(crate) fn settle(&self, mut registry: MutexGuard<'_, Registry<V>>) {
        // Nearly always nobody waits for anything.
        if registry.is_awaited_by_nobody() {
            return;
        }
        // Nearly always it is one thing.
        let grants: SmallVec<[_; 1]> = std::iter::from_fn(|| registry.next_grant()).collect();
        let emptied = registry.awaiting_empty > 0 && registry.is_empty();
        drop(registry);
        if emptied {
            self.emptied.notify_all();
        }
        for (place, grant) in grants {
            // Who waits stays until it has the grant; the way back is for safety alone.
            if let Err(grant) = place.giver.give(grant) {
                self.take_back(grant);
            }
        }
    }

    fn take_back(&self, grant: Grant<V>) {
        match grant {
            Grant::Ready(slot) => self.bring_in(self.registry(), slot, Instant::now()),
            Grant::Worn(slot, reason) => self.retire(slot, reason),
            Grant::Vacant(generation) => drop(self.vacancy(generation)),
        }
    }

    pub(crate) fn vacancy(&self, generation: u64) -> Vacancy<'_, V> {
        Vacancy { slots: self, generation }
    }

    /// Makes a VM that is out an idle one, or destroys it when it may not be.
    pub(crate) fn bring_in(
        &self,
        mut registry: MutexGuard<'_, Registry<V>>,
        slot: Slot<V>,
        now: Instant,
    ) {
        match registry.check_in(slot, now) {
            Ok(()) => self.settle(registry),
            Err((slot, reason)) => {
                drop(registry);
                self.retire(slot, reason);
            }
        }
    }

    /// Waits in the queue.
    pub(crate) fn wait(
        &self,
        waiting: &Waiting<Grant<V>>,
        started: Instant,
        wait: Duration,
        mut expiry: Deadline,
        stop: Stop<'_>,
    ) -> Result<Grant<V>, PoolError> {
        // What is too long for an instant is for ever.
        let deadline: Deadline = started.checked_add(wait);
        loop {
            // A build that hangs may hold the slot that is waited for.
            let wake = deadline.into_iter().chain(expiry);
            match waiting.taker.take(wake.chain(next_question(stop)).min()) {
                Ok(grant) => return Ok(grant),
                Err(Missed::Never) => return Err(PoolError::Closed),
                Err(Missed::Late) => {}
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
                // It came at the last moment, or the pool was closed.
                return waiting.taker.take(None).map_err(|_| PoolError::Closed);
            }
            expiry = self.registry().next_expiry();
        }
    }

    /// Takes back a VM whose lease has ended: reset, then idle or destroyed.
    pub(crate) fn release(&self, leased: Leased<V>) {
        let Leased { mut slot, taken, waited } = leased;
        let began = Instant::now();
        slot.watch.begin(nanos(began.saturating_duration_since(self.epoch)));
        let cleaned = self.clean(&mut slot);
        let now = Instant::now();
        let reset = !matches!(cleaned, Cleaned::Spent | Cleaned::Foreign);
        let reset_time = reset.then(|| now - began);
        let mut registry = self.registry();
        let use_time = began.saturating_duration_since(taken);
        registry.note_ended(&Ended { waited, use_time, reset_time });
        match registry.judge(&slot, cleaned, reset_time.unwrap_or_default()) {
            None => self.bring_in(registry, slot, now),
            Some(reason) => {
                drop(registry);
                self.retire(slot, reason);
            }
        }
    }

    fn clean(&self, slot: &mut Slot<V>) -> Cleaned {
        let resetter = &self.makers.resetter;
        let outcome = guarded("the reset of a VM", || {
            if resetter.identity(&slot.vm) != slot.identity {
                return Ok(Cleaned::Foreign);
            }
            if resetter.is_spent(&slot.vm) {
                return Ok(Cleaned::Spent);
            }
            resetter.reset(&mut slot.vm)?;
            Ok(Cleaned::Clean(resetter.inspect(&slot.vm)))
        });
        outcome.unwrap_or_else(|failure| {
            let reason = failure.reason(DestroyReason::ResetFailed);
            Cleaned::Failed(reason, describe(failure.into_error()))
        })
    }

    /// Destroys a VM that its borrower gives up.
    pub(crate) fn discard(&self, leased: Leased<V>, reason: DestroyReason) {
        let Leased { slot, taken, waited } = leased;
        let use_time = taken.elapsed();
        self.registry().note_ended(&Ended { waited, use_time, reset_time: None });
        self.retire(slot, reason);
    }

    /// Destroys a VM that is out, and then gives its slot back.
    pub(crate) fn retire(&self, slot: Slot<V>, reason: DestroyReason) {
        let Slot { place, vm, .. } = slot;
        drop_quietly(vm);
        let mut registry = self.registry();
        registry.strike_out(place, reason);
        self.settle(registry);
    }

    /// Destroys a VM that is out. Its slot stays in hand; dropping the vacancy gives it back.
    pub(crate) fn retire_keep(&self, slot: Slot<V>, reason: DestroyReason) -> Vacancy<'_, V> {
        let Slot { place, vm, .. } = slot;
        drop_quietly(vm);
        let generation = self.registry().strike_out_keep(place, reason);
        self.vacancy(generation)
    }

    /// Runs a check of a VM that is out, and notes who it is. Says why it must be destroyed, if it
    /// must; it is in quarantine then.
    pub(crate) fn examine(
        &self,
        slot: &mut Slot<V>,
        check: impl FnOnce(&mut V) -> Result<(), BoxError>,
    ) -> Option<DestroyReason> {
        let resetter = &self.makers.resetter;
        let examined = guarded("the validation of a VM", || {
            check(&mut slot.vm)?;
            slot.identity = resetter.identity(&slot.vm);
            Ok(())
        });
        let failure = examined.err()?;
        let reason = failure.reason(DestroyReason::ValidationFailed);
        let message = describe(failure.into_error());
        let mut registry = self.registry();
        registry.counts.quarantines += 1;
        registry.note(IncidentKind::ValidationFailed, Some(slot.place), message);
        registry.quarantine(slot.place, false);
        Some(reason)
    }

    /// Closes and waits until no VM is left; interrupts those that are still lent out shortly before
    /// the time is over. Returns whether none is left.
    pub(crate) fn close(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        let mut registry = self.registry();
        let sent_away = registry.close();
        let idle = registry.take_all_idle();
        drop(registry);
        // They learn it by this.
        drop(sent_away);
        for slot in idle {
            self.retire(slot, DestroyReason::Closed);
        }
        let patience = timeout - GRACE.min(timeout / 2);
        if self.wait_until_empty(began.checked_add(patience)) {
            return true;
        }
        let interrupters = self.registry().interrupters();
        for interrupt in interrupters {
            let interrupted = guarded("the interrupter of a VM", || {
                interrupt();
                Ok(())
            });
            if let Err(failure) = interrupted {
                let message = describe(failure.into_error());
                self.registry().note(IncidentKind::BorrowerPanicked, None, message);
            }
        }
        self.wait_until_empty(began.checked_add(timeout))
    }

    /// Waits until no VM is left, or the deadline is over.
    pub(crate) fn wait_until_empty(&self, deadline: Deadline) -> bool {
        self.registry().awaiting_empty += 1;
        let empty = loop {
            let now = Instant::now();
            self.expire_builds(now);
            let registry = self.registry();
            if registry.is_empty() {
                break true;
            }
            if deadline.is_some_and(|deadline| now >= deadline) {
                break false;
            }
            let wake = deadline.into_iter().chain(registry.next_expiry()).min();
            drop(sync::wait(&self.emptied, registry, wake));
        };
        self.registry().awaiting_empty -= 1;
        empty
    }
}

impl<V> Registry<V> {
    /// What follows from the cleaning of a VM: why it must be destroyed, if it must.
    fn judge(
        &mut self,
        slot: &Slot<V>,
        cleaned: Cleaned,
        reset_time: Duration,
    ) -> Option<DestroyReason> {
        let (limit, place) = (self.config.reset_timeout, Some(slot.place));
        let late = reset_time > limit;
        let reason = match cleaned {
            Cleaned::Spent => return Some(DestroyReason::Spent),
            Cleaned::Foreign => {
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
            Cleaned::Clean(report) => {
                self.record_mut(slot).report = report;
                late.then_some(DestroyReason::ResetTimedOut)
            }
            Cleaned::Failed(reason, message) => {
                self.counts.reset_errors += 1;
                self.note(IncidentKind::ResetFailed, place, message);
                Some(reason)
            }
        };
        // What is in quarantine was noted when it was put there.
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

impl<V: Send + 'static> Slots<V> {
    /// Takes a VM for a lease.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        patience: Patience,
        program: Option<&str>,
        borrower: Borrower,
        stop: Stop<'_>,
    ) -> Result<Leased<V>, PoolError> {
        let started = Instant::now();
        let mut registry = self.registry();
        let asked = registry.ask(patience, program, borrower, started);
        let mut waited = false;
        let mut grant = match asked {
            Asked::Granted(grant) => {
                drop(registry);
                grant
            }
            Asked::Waiting(waiting, wait) => {
                let expiry = registry.next_expiry();
                drop(registry);
                waited = true;
                match self.wait(&waiting, started, wait, expiry, stop) {
                    Ok(grant) => grant,
                    Err(error) => return Err(self.in_vain(started, error)),
                }
            }
            Asked::Refused(error) => {
                drop(registry);
                if matches!(error, PoolError::Deferred { .. }) {
                    self.begin_refill(true, Asker::Borrower(started));
                }
                return Err(error);
            }
        };
        loop {
            let vacancy = match grant {
                Grant::Ready(mut slot) => {
                    let resetter = &self.makers.resetter;
                    match self.examine(&mut slot, |vm| resetter.validate(vm)) {
                        None if !waited => {
                            return Ok(Leased { slot, taken: started, waited: Duration::ZERO });
                        }
                        None => return Ok(Leased::since(slot, started)),
                        Some(reason) => {
                            self.registry().counts.acquired -= 1;
                            self.retire_keep(slot, reason)
                        }
                    }
                }
                Grant::Worn(slot, reason) => self.retire_keep(slot, reason),
                Grant::Vacant(generation) => {
                    let vacancy = self.vacancy(generation);
                    return match self.build_for(vacancy, borrower, (started, stop)) {
                        Ok(slot) => Ok(Leased::since(slot, started)),
                        Err(error) => Err(self.in_vain(started, error)),
                    };
                }
            };
            // The slot stays in hand while another idle VM is looked for, so it can't be lost.
            waited = true;
            let mut registry = self.registry();
            grant = registry.exchange(borrower, vacancy.generation);
            vacancy.spend();
            self.settle(registry);
        }
    }
}

impl<V: Send + 'static> Slots<V> {
    /// Ends a lease, destroys its VM for this reason, and begins another lease with a new VM in the same
    /// slot.
    pub(crate) fn renew(
        self: &Arc<Self>,
        leased: Leased<V>,
        reason: DestroyReason,
        borrower: Borrower,
    ) -> Result<Leased<V>, PoolError> {
        let Leased { slot, taken, waited } = leased;
        let started = Instant::now();
        let use_time = started.saturating_duration_since(taken);
        self.registry().note_ended(&Ended { waited, use_time, reset_time: None });
        if self.registry().is_too_large() {
            self.retire(slot, reason);
            return Err(self.registry().refusal(Duration::ZERO));
        }
        let vacancy = self.retire_keep(slot, reason);
        match self.build_for(vacancy, borrower, (started, None)) {
            Ok(slot) => Ok(Leased::since(slot, started)),
            Err(error) => Err(self.in_vain(started, error)),
        }
    }

    /// Notes the time of somebody who waited and got no VM.
    fn in_vain(&self, started: Instant, error: PoolError) -> PoolError {
        self.registry().timings.wait.record(started.elapsed());
        error
    }
}

impl<V> Leased<V> {
    /// A lease that begins now, asked for at that time.
    fn since(slot: Slot<V>, started: Instant) -> Self {
        let taken = Instant::now();
        Self { slot, taken, waited: taken.saturating_duration_since(started) }
    }
}

impl<V> Vacancy<'_, V> {
    /// The slot has found its use: there is nothing to give back.
    pub(crate) fn spend(self) {
        std::mem::forget(self);
    }
}

impl<V> Drop for Vacancy<'_, V> {
    fn drop(&mut self) {
        let mut registry = self.slots.registry();
        registry.vacate();
        self.slots.settle(registry);
    }
}

impl<V> Drop for Slots<V> {
    fn drop(&mut self) {
        let registry = self.registry.get_mut().unwrap_or_else(PoisonError::into_inner);
        for slot in registry.take_all_idle() {
            drop_quietly(slot.vm);
        }
    }
}
