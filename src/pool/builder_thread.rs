//! Makes each VM on a thread of its own: the factory is user code and may hang, and then its thread is left behind.
//!
//! A thread costs some ten microseconds, a Luau VM some hundred, and VMs are made rarely. A VM whose build was given
//! up doesn't count as alive, and is destroyed when the factory returns it.

use crate::pool::builds::BuildOwner;
use crate::pool::error::PoolError;
use crate::pool::factory::{HookError, NewVm, describe, drop_quietly};
use crate::pool::incident::IncidentKind;
use crate::pool::oneshot::{RecvError, oneshot};
use crate::pool::record::Borrower;
use crate::pool::refill::RefillCaller;
use crate::pool::slot::{Grant, OccupiedSlot};
use crate::pool::slots::{Slots, StopFn, VacantSlot, next_stop_check};
use crate::pool::sync::{Arc, Instant, Weak, spawn};

/// The owner of a build, and what to send it.
type BuildDelivery<V> = (BuildOwner<V>, Result<OccupiedSlot<V>, PoolError>);

impl<V: 'static> Slots<V> {
    /// Gives up the builds that have taken too long, tells their owners, and gives their slots to the threads that
    /// wait.
    pub(crate) fn expire_builds(&self, now: Instant) {
        let mut registry = self.registry();
        if registry.next_expiry().is_none_or(|expiry| now < expiry) {
            return;
        }
        let expired = registry.expire_builds(now);
        self.serve_waiters(registry);
        for build in expired {
            if let Some(owner) = build.owner {
                // The owner may have stopped waiting.
                let _ = owner.sender.send(Err(PoolError::CreateTimedOut { limit: build.limit }));
            }
        }
    }

    /// Ends a build. Returns what to send to its owner, if it has one.
    fn end_build(
        &self,
        number: u64,
        made: Result<NewVm<V>, HookError>,
    ) -> Option<BuildDelivery<V>> {
        let now = Instant::now();
        let mut registry = self.registry();
        match (registry.end_build(number, now), made) {
            (Ok(build), Ok(made)) => {
                let (slot, owner) = registry.admit_build(build, made, now);
                match owner {
                    // Closing the pool takes the owners away.
                    Some(owner) => Some((owner, Ok(slot))),
                    None => {
                        self.make_idle(registry, slot, now);
                        None
                    }
                }
            }
            (Ok(build), Err(failure)) => {
                let owner = registry.fail_build(build);
                self.serve_waiters(registry);
                let error = failure.into_error();
                if let Some(owner) = owner {
                    return Some((owner, Err(PoolError::Create(error))));
                }
                let message = describe(error);
                self.registry().note(IncidentKind::CreateFailed, None, message);
                None
            }
            (Err(expired), made) => {
                self.serve_waiters(registry);
                if let Ok(made) = made {
                    drop_quietly(made);
                    self.registry().note_too_late();
                }
                let limit = expired.limit;
                expired.owner.map(|owner| (owner, Err(PoolError::CreateTimedOut { limit })))
            }
        }
    }
}

impl<V: Send + 'static> Slots<V> {
    /// Makes a VM in a slot and waits for it. On failure the slot is given back. If `stop` returns `true`, the call
    /// returns, and the VM becomes idle when it is done.
    pub(crate) fn build_for(
        self: &Arc<Self>,
        vacancy: VacantSlot<'_, V>,
        borrower: Borrower,
        (started, stop): (Instant, StopFn<'_>),
    ) -> Result<OccupiedSlot<V>, PoolError> {
        let (sender, receiver) = oneshot();
        let number = self.begin_build(vacancy, Some(BuildOwner { borrower, sender }))?;
        loop {
            // Look it up each time: `set_config` may change it.
            let expiry = self.registry().expiry(number);
            match receiver.recv(expiry.into_iter().chain(next_stop_check(stop)).min()) {
                Ok(made) => return made,
                Err(RecvError::Closed) => return Err(PoolError::Closed),
                Err(RecvError::Timeout) => self.expire_builds(Instant::now()),
            }
            if stop.is_some_and(|stop| stop()) {
                let owner = self.registry().abandon_build(number);
                if owner.is_some() {
                    return Err(PoolError::Interrupted { waited: started.elapsed() });
                }
                // The build ended at the last moment, or the pool was closed.
                return receiver.recv(None).unwrap_or(Err(PoolError::Closed));
            }
        }
    }

    /// Begins to make the VMs that are missing up to `min_size`, or `one_more` if none is being made. Doesn't wait:
    /// they become idle when they are done. Returns how many it began.
    pub(crate) fn begin_refill(
        self: &Arc<Self>,
        mut one_more: bool,
        caller: RefillCaller,
    ) -> usize {
        let mut begun = 0;
        // Count once: a build that fails meanwhile isn't begun again.
        let missing = self.registry().missing().max(usize::from(one_more));
        while begun < missing {
            let Some(generation) = self.registry().grant_refill(one_more, caller) else {
                break;
            };
            one_more = false;
            match self.begin_build(self.vacancy(generation), None) {
                Ok(_) => begun += 1,
                Err(error) => {
                    let message = error.to_string();
                    self.registry().note(IncidentKind::CreateFailed, None, message);
                    break;
                }
            }
        }
        begun
    }

    /// Makes VMs until `min_size` is reached, and waits for each. Returns how many it made, and the error that
    /// stopped it.
    pub(crate) fn fill(self: &Arc<Self>) -> (usize, Result<(), PoolError>) {
        let mut made = 0;
        loop {
            let mut registry = self.registry();
            if registry.is_closed() {
                return (made, Err(PoolError::Closed));
            }
            let grant = if registry.missing() > 0 { registry.grant_vacant() } else { None };
            drop(registry);
            let Some(Grant::Vacant(generation)) = grant else {
                return (made, Ok(()));
            };
            match self.build_for(self.vacancy(generation), None, (Instant::now(), None)) {
                Ok(slot) => self.make_idle(self.registry(), slot, Instant::now()),
                Err(error) => return (made, Err(error)),
            }
            made += 1;
        }
    }

    /// Begins to make a VM in a slot, on a thread of its own. Returns the number of the build.
    fn begin_build(
        self: &Arc<Self>,
        vacancy: VacantSlot<'_, V>,
        owner: Option<BuildOwner<V>>,
    ) -> Result<u64, PoolError> {
        let mut registry = self.registry();
        if let Err(error) = registry.may_build() {
            drop(registry);
            drop(vacancy);
            return Err(error);
        }
        let number = registry.begin_build(vacancy.generation, owner, Instant::now());
        drop(registry);
        vacancy.spend();

        let hooks = Arc::clone(&self.hooks);
        let pool: Weak<Self> = Arc::downgrade(self);
        let spawned = spawn("vm-builder", move || {
            let made = hooks.make();
            let delivery = match pool.upgrade() {
                Some(slots) => slots.end_build(number, made),
                None => return drop_quietly(made),
            };
            // Don't hold the pool here: the owner may drop it as soon as it has its VM.
            let Some((owner, made)) = delivery else {
                return;
            };
            if let Err(Ok(slot)) = owner.sender.send(made)
                && let Some(slots) = pool.upgrade()
            {
                slots.make_idle(slots.registry(), slot, Instant::now());
            }
        });
        if let Err(error) = spawned {
            let mut registry = self.registry();
            registry.cancel_build(number);
            self.serve_waiters(registry);
            return Err(PoolError::Create(error.into()));
        }
        Ok(number)
    }
}
