//! [`Slots`]: what all handles and leases of one pool share. Every VM comes and goes through here.
//!
//! All user code (factory, resetter, the `drop` of a VM) is called from this file and its children, and never
//! under the registry's lock.

mod acquire;
mod close;
mod release;

use std::time::Duration;

use smallvec::SmallVec;

use crate::pool::config::PoolConfig;
use crate::pool::error::BoxError;
use crate::pool::factory::{VmHooks, describe, drop_quietly, guarded};
use crate::pool::incident::IncidentKind;
use crate::pool::registry::Registry;
use crate::pool::slot::{Grant, OccupiedSlot};
use crate::pool::stats::DestroyReason;
use crate::pool::sync::{Arc, Condvar, Instant, Mutex, MutexGuard, PoisonError, WaitDeadline};

/// How often a thread that waits calls its [`StopFn`].
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// Returns `true` when the thread that asks must not wait any longer.
pub(crate) type StopFn<'s> = Option<&'s dyn Fn() -> bool>;

/// When to call `stop` next.
pub(crate) fn next_stop_check(stop: StopFn<'_>) -> WaitDeadline {
    stop.and_then(|_| Instant::now().checked_add(STOP_CHECK_INTERVAL))
}

/// What all handles and leases of one pool share.
pub(crate) struct Slots<V: 'static> {
    pub(crate) hooks: Arc<VmHooks<V>>,
    registry: Mutex<Registry<V>>,
    /// The zero of every [`ResetTimer`](crate::pool::record::ResetTimer).
    pub(crate) epoch: Instant,
    /// Signalled when the last VM is gone and somebody waits for that.
    emptied: Condvar,
    /// Held while the configuration changes.
    pub(crate) changing: Mutex<()>,
}

/// A slot that is taken and has no VM. Dropping it gives the slot back and wakes a waiter, so that no
/// early return and no panic loses a slot.
#[must_use]
pub(crate) struct VacantSlot<'s, V: 'static> {
    slots: &'s Slots<V>,
    pub(crate) generation: u64,
}

/// A VM that is leased.
pub(crate) struct LeasedVm<V> {
    pub(crate) slot: OccupiedSlot<V>,
    pub(crate) taken: Instant,
    pub(crate) waited: Duration,
}

impl<V: 'static> Slots<V> {
    pub(crate) fn new(config: PoolConfig, hooks: VmHooks<V>) -> Self {
        Self {
            hooks: Arc::new(hooks),
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

    /// Unlocks the registry after a VM or a slot became free, and sends what is free to those who wait.
    pub(crate) fn serve_waiters(&self, mut registry: MutexGuard<'_, Registry<V>>) {
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
        for (waiter, grant) in grants {
            // A waiter that was popped doesn't leave before it has its grant. Should it ever, nothing is lost.
            if let Err(grant) = waiter.sender.send(grant) {
                self.take_back(grant);
            }
        }
    }

    fn take_back(&self, grant: Grant<V>) {
        match grant {
            Grant::Ready(slot) => self.make_idle(self.registry(), slot, Instant::now()),
            Grant::Expired(slot, reason) => self.retire(slot, reason),
            Grant::Vacant(generation) => drop(self.vacancy(generation)),
        }
    }

    pub(crate) fn vacancy(&self, generation: u64) -> VacantSlot<'_, V> {
        VacantSlot { slots: self, generation }
    }

    /// Makes a VM that is out idle, or destroys it if it may not be leased again.
    pub(crate) fn make_idle(
        &self,
        mut registry: MutexGuard<'_, Registry<V>>,
        slot: OccupiedSlot<V>,
        now: Instant,
    ) {
        match registry.check_in(slot, now) {
            Ok(()) => self.serve_waiters(registry),
            Err((slot, reason)) => {
                drop(registry);
                self.retire(slot, reason);
            }
        }
    }

    /// Destroys a VM that is out, and then gives its slot back.
    pub(crate) fn retire(&self, slot: OccupiedSlot<V>, reason: DestroyReason) {
        let OccupiedSlot { place, vm, .. } = slot;
        drop_quietly(vm);
        let mut registry = self.registry();
        registry.remove(place, reason);
        self.serve_waiters(registry);
    }

    /// Destroys a VM that is out, and keeps its slot.
    pub(crate) fn retire_keep_slot(
        &self,
        slot: OccupiedSlot<V>,
        reason: DestroyReason,
    ) -> VacantSlot<'_, V> {
        let OccupiedSlot { place, vm, .. } = slot;
        drop_quietly(vm);
        let generation = self.registry().remove_keep_slot(place, reason);
        self.vacancy(generation)
    }

    /// Runs a check of a VM that is out, and records its identity. If the check fails, puts the VM into quarantine
    /// and returns why it must be destroyed.
    pub(crate) fn examine(
        &self,
        slot: &mut OccupiedSlot<V>,
        check: impl FnOnce(&mut V) -> Result<(), BoxError>,
    ) -> Option<DestroyReason> {
        let resetter = &self.hooks.resetter;
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
}

impl<V> VacantSlot<'_, V> {
    /// Ends the vacancy without giving the slot back: something else counts it now.
    pub(crate) fn spend(self) {
        std::mem::forget(self);
    }
}

impl<V> Drop for VacantSlot<'_, V> {
    fn drop(&mut self) {
        let mut registry = self.slots.registry();
        registry.vacate();
        self.slots.serve_waiters(registry);
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
