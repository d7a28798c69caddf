//! The making of VMs. User code makes them and may hang, so each is made on a thread of its own that
//! can be left behind.
//!
//! A thread costs some ten microseconds and a Luau VM some hundred, and VMs are made rarely. What a
//! factory that hangs has in its own hands is the factory's: it never counts, and when it comes out
//! it is destroyed at once.

use crate::pool::error::PoolError;
use crate::pool::factory::{Failure, Made, describe, drop_quietly};
use crate::pool::handover::{Missed, handover};
use crate::pool::incident::IncidentKind;
use crate::pool::record::Borrower;
use crate::pool::registry::{Asker, Grant, Owner, Slot};
use crate::pool::slots::{Slots, Stop, Vacancy, next_question};
use crate::pool::sync::{Arc, Instant, Weak, spawn};

/// What the owner of a build is to be given.
type Delivery<V> = (Owner<V>, Result<Slot<V>, PoolError>);

impl<V: 'static> Slots<V> {
    /// Gives up the builds that have taken too long, tells their owners, and gives their slots to
    /// those who wait.
    pub(crate) fn expire_builds(&self, now: Instant) {
        let mut registry = self.registry();
        if registry.next_expiry().is_none_or(|expiry| now < expiry) {
            return;
        }
        let expired = registry.expire_builds(now);
        self.settle(registry);
        for build in expired {
            if let Some(owner) = build.owner {
                // An owner that doesn't wait any more has nothing to learn.
                let _ = owner.giver.give(Err(PoolError::CreateTimedOut { limit: build.limit }));
            }
        }
    }

    /// A build is over. Returns what its owner is to be given, if it has one.
    fn end_build(&self, number: u64, made: Result<Made<V>, Failure>) -> Option<Delivery<V>> {
        let now = Instant::now();
        let mut registry = self.registry();
        match (registry.end_build(number, now), made) {
            (Ok(build), Ok(made)) => {
                let (slot, owner) = registry.admit_build(build, made, now);
                match owner {
                    // Closing has sent all owners away.
                    Some(owner) => Some((owner, Ok(slot))),
                    None => {
                        self.bring_in(registry, slot, now);
                        None
                    }
                }
            }
            (Ok(build), Err(failure)) => {
                let owner = registry.fail_build(build);
                self.settle(registry);
                let error = failure.into_error();
                if let Some(owner) = owner {
                    return Some((owner, Err(PoolError::Create(error))));
                }
                let message = describe(error);
                self.registry().note(IncidentKind::CreateFailed, None, message);
                None
            }
            (Err(expired), made) => {
                self.settle(registry);
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
    /// Makes a VM in a slot and waits for it. On failure the slot goes back. If `stop` says so, nobody waits any
    /// longer, and the VM becomes idle when it is done.
    pub(crate) fn build_for(
        self: &Arc<Self>,
        vacancy: Vacancy<'_, V>,
        borrower: Borrower,
        (started, stop): (Instant, Stop<'_>),
    ) -> Result<Slot<V>, PoolError> {
        let (giver, taker) = handover();
        let number = self.begin_build(vacancy, Some(Owner { borrower, giver }))?;
        loop {
            // Looked up each time, because `set_config` may change it.
            let expiry = self.registry().expiry(number);
            match taker.take(expiry.into_iter().chain(next_question(stop)).min()) {
                Ok(made) => return made,
                Err(Missed::Never) => return Err(PoolError::Closed),
                Err(Missed::Late) => self.expire_builds(Instant::now()),
            }
            if stop.is_some_and(|stop| stop()) {
                let owner = self.registry().disown_build(number);
                if owner.is_some() {
                    return Err(PoolError::Interrupted { waited: started.elapsed() });
                }
                // It is done, or given up, at the last moment, or the pool was closed.
                return taker.take(None).unwrap_or(Err(PoolError::Closed));
            }
        }
    }

    /// Begins to make the VMs that `min_size` is short of; or `one_more`, if none is being made.
    /// Doesn't wait for them: they become idle when they are done. Returns how many it began.
    pub(crate) fn begin_refill(self: &Arc<Self>, mut one_more: bool, asker: Asker) -> usize {
        let mut begun = 0;
        // Those that fail while others are begun aren't begun again.
        let missing = self.registry().missing().max(usize::from(one_more));
        while begun < missing {
            let Some(generation) = self.registry().grant_refill(one_more, asker) else {
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

    /// Makes VMs until `min_size` is reached, and waits for each. Returns how many, and what
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
                Ok(slot) => self.bring_in(self.registry(), slot, Instant::now()),
                Err(error) => return (made, Err(error)),
            }
            made += 1;
        }
    }

    /// Begins to make a VM in a slot, on a thread of its own. Returns the number of the build.
    fn begin_build(
        self: &Arc<Self>,
        vacancy: Vacancy<'_, V>,
        owner: Option<Owner<V>>,
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

        let makers = Arc::clone(&self.makers);
        let pool: Weak<Self> = Arc::downgrade(self);
        let spawned = spawn("vm-builder", move || {
            let made = makers.make();
            let delivery = match pool.upgrade() {
                Some(slots) => slots.end_build(number, made),
                None => return drop_quietly(made),
            };
            // This thread no longer holds the pool: what its owner does next is the owner's alone.
            let Some((owner, made)) = delivery else {
                return;
            };
            if let Err(Ok(slot)) = owner.giver.give(made)
                && let Some(slots) = pool.upgrade()
            {
                slots.bring_in(slots.registry(), slot, Instant::now());
            }
        });
        if let Err(error) = spawned {
            let mut registry = self.registry();
            registry.cancel_build(number);
            self.settle(registry);
            return Err(PoolError::Create(error.into()));
        }
        Ok(number)
    }
}
