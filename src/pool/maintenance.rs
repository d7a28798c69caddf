//! Maintenance: health checks, eviction, refills, resizing.

use std::time::Duration;

use crate::pool::config::PoolConfig;
use crate::pool::factory::{describe, guarded};
use crate::pool::incident::IncidentKind;
use crate::pool::refill::RefillCaller;
use crate::pool::registry::Registry;
use crate::pool::slot::OccupiedSlot;
use crate::pool::slots::Slots;
use crate::pool::stats::{DestroyReason, Maintained};
use crate::pool::sync::{Arc, Instant, PoisonError};

impl<V: Send + 'static> Slots<V> {
    /// Does what is due at this time.
    pub(crate) fn maintain(self: &Arc<Self>, now: Instant) -> Maintained {
        let mut done = Maintained::default();
        self.expire_builds(now);
        let mut registry = self.registry();
        registry.quarantine_hung_resets(self.epoch, now);
        registry.note_overdue(now);
        let check = registry.begin_check(now);
        self.serve_waiters(registry);
        if check {
            self.check_health(now, &mut done);
        }
        done.started = self.begin_refill(false, RefillCaller::Maintenance(now));
        (done.incidents, done.incidents_lost) = self.registry().take_incidents();
        done
    }
}

impl<V: 'static> Slots<V> {
    /// Checks every idle VM, one at a time, so that the others can be leased meanwhile.
    fn check_health(&self, now: Instant, done: &mut Maintained) {
        let ids = self.registry().idle_ids();
        for id in ids {
            let Some((slot, due)) = self.registry().take_for_check(id, now) else {
                continue;
            };
            let Some(reason) = self.check_one(slot, due, now) else {
                continue;
            };
            match reason {
                DestroyReason::Idle => done.idle += 1,
                DestroyReason::Lifetime => done.lifetime += 1,
                DestroyReason::UseCount => done.use_count += 1,
                DestroyReason::Evicted => done.stale += 1,
                DestroyReason::OverMemory => done.over_memory += 1,
                DestroyReason::ValidationFailed | DestroyReason::Panicked => done.unsound += 1,
                // The pool was closed or made smaller meanwhile.
                _ => {}
            }
        }
    }

    /// Puts the VM back if it is sound; else destroys it and returns why.
    fn check_one(
        &self,
        mut slot: OccupiedSlot<V>,
        due: Option<DestroyReason>,
        now: Instant,
    ) -> Option<DestroyReason> {
        let resetter = &self.hooks.resetter;
        let reason = due.or_else(|| self.examine(&mut slot, |vm| resetter.check(vm)));
        if let Some(reason) = reason {
            self.retire(slot, reason);
            return Some(reason);
        }
        let mut registry = self.registry();
        match registry.put_back(slot, now) {
            Ok(()) => {
                self.serve_waiters(registry);
                None
            }
            Err((slot, reason)) => {
                drop(registry);
                self.retire(slot, reason);
                Some(reason)
            }
        }
    }

    /// Destroys all VMs: the idle ones now, the others when they come back.
    pub(crate) fn evict_all(&self) -> usize {
        self.registry().raise_generation();
        self.retire_while(Registry::take_stale, DestroyReason::Evicted)
    }

    /// Puts a new configuration in force: more slots at once, fewer as they become vacant. The factory is told before
    /// this returns.
    pub(crate) fn reconfigure(&self, config: PoolConfig) {
        // One change at a time: the factory hears of them in their order.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut registry = self.registry();
        let before = registry.reconfigure(config);
        self.serve_waiters(registry);
        let factory = &self.hooks.factory;
        let told = guarded("the reconfiguration of a factory", || {
            Ok(factory.reconfigure(&before, &config))
        });
        // After a panic of the factory nobody knows which VMs fit.
        let stale = told.unwrap_or_else(|failure| {
            let message = describe(failure.into_error());
            self.registry().note(IncidentKind::CreateFailed, None, message);
            true
        });
        if stale {
            self.evict_all();
        }
        self.retire_while(Registry::take_surplus, DestroyReason::Shrunk);
    }

    /// Stops leasing until [`resume`](Self::resume).
    pub(crate) fn suspend(&self) {
        self.registry().suspended = true;
    }

    pub(crate) fn resume(&self) {
        let mut registry = self.registry();
        registry.suspended = false;
        self.serve_waiters(registry);
    }

    /// Stops leasing, destroys all VMs, and waits until they are gone.
    pub(crate) fn drain(&self, timeout: Duration) -> bool {
        self.suspend();
        self.evict_all();
        self.wait_until_empty(Instant::now().checked_add(timeout))
    }

    fn retire_while(
        &self,
        take: impl Fn(&mut Registry<V>) -> Option<OccupiedSlot<V>>,
        reason: DestroyReason,
    ) -> usize {
        let mut retired = 0;
        loop {
            let Some(slot) = take(&mut self.registry()) else {
                return retired;
            };
            self.retire(slot, reason);
            retired += 1;
        }
    }
}
