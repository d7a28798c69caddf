//! [`Slots`]: the tokens that bound a pool, and the one way in and out for every VM.
//!
//! A slot is a token. There are `max_size` of them, and a VM is made only by who has taken a
//! vacant one out of its channel, so there can't be more VMs. Whatever goes wrong, the token goes
//! back: see [`Vacancy`].

use std::panic::Location;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::pool::TimingHistogram;
use crate::pool::config::PoolConfig;
use crate::pool::error::PoolError;
use crate::pool::factory::{VmFactory, VmResetter, describe, drop_quietly, guarded};
use crate::pool::incident::IncidentKind;
use crate::pool::record::Borrower;
use crate::pool::registry::{Registry, Slot};
use crate::pool::stats::DestroyReason;
use crate::pool::tokens::{Tokens, Waited};

/// What all handles and leases of one pool share.
pub(crate) struct Slots<V: 'static> {
    factory: Box<dyn VmFactory<V>>,
    resetter: Box<dyn VmResetter<V>>,
    registry: Mutex<Registry<V>>,
    timings: Mutex<Timings>,
    /// A VM is pushed before its ready token is sent, and taken after its token is received: who
    /// has a ready token finds a VM.
    pub(crate) tokens: Tokens,
    /// Signalled when the last VM of a closed pool is gone.
    emptied: Condvar,
}

/// The histograms of a pool.
#[derive(Default)]
pub(crate) struct Timings {
    pub(crate) acquire: TimingHistogram,
    pub(crate) create: TimingHistogram,
    pub(crate) reset: TimingHistogram,
    pub(crate) use_time: TimingHistogram,
}

/// A slot that is taken and has no VM. Dropping it gives the slot back and wakes a waiter, so no
/// early return and no panic can lose one.
#[must_use]
pub(crate) struct Vacancy<'s, V: 'static> {
    slots: &'s Slots<V>,
    /// The generation at the time the slot was taken, so that a VM whose making began before an
    /// `evict_all` counts as made before.
    generation: u64,
}

enum Token<'s, V: 'static> {
    Ready,
    Vacant(Vacancy<'s, V>),
}

impl<V: 'static> Slots<V> {
    pub(crate) fn new(
        config: PoolConfig,
        factory: Box<dyn VmFactory<V>>,
        resetter: Box<dyn VmResetter<V>>,
    ) -> Self {
        let (tokens, closer) = Tokens::new();
        (0..config.max_size).for_each(|_| tokens.send_vacant());
        Self {
            factory,
            resetter,
            registry: Mutex::new(Registry::new(config, closer)),
            timings: Mutex::default(),
            tokens,
            emptied: Condvar::new(),
        }
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry<V>> {
        // No user code runs under the lock, so there is nothing half-changed behind a poisoned one.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn timings(&self) -> MutexGuard<'_, Timings> {
        self.timings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a VM for a lease, waiting for at most this long.
    pub(crate) fn acquire(
        &self,
        wait: Duration,
        program: Option<&str>,
        borrower: &'static Location<'static>,
    ) -> Result<Slot<V>, PoolError> {
        let started = Instant::now();
        let mut token = self.token(started, wait)?;
        let slot = loop {
            let vacancy = match token {
                Token::Vacant(vacancy) => break self.build(vacancy, Some(borrower))?,
                Token::Ready => {
                    let out = self.registry().check_out(program, borrower);
                    let (mut slot, worn) = out.ok_or(PoolError::Closed)?;
                    match worn.or_else(|| self.quarantine(&mut slot)) {
                        None => break slot,
                        Some(reason) => self.retire(slot, reason),
                    }
                }
            };
            // The slot stays in hand while another idle VM is looked for, so it can't be lost.
            token = if self.tokens.take_ready() { Token::Ready } else { Token::Vacant(vacancy) };
        };
        self.timings().acquire.record(started.elapsed());
        Ok(slot)
    }

    /// Takes back a VM whose lease has ended: reset, then idle or destroyed.
    pub(crate) fn release(&self, mut slot: Slot<V>, use_time: Duration) {
        let began = Instant::now();
        let outcome = guarded("the reset of a VM", || {
            self.resetter.reset(&mut slot.vm)?;
            Ok(self.resetter.inspect(&slot.vm))
        });
        let reset_time = began.elapsed();
        {
            let mut timings = self.timings();
            timings.use_time.record(use_time);
            timings.reset.record(reset_time);
        }
        match outcome {
            Ok(report) => {
                let checked = self.registry().check_in(slot, Some(report));
                self.announce(checked);
            }
            Err(failure) => {
                let reason = failure.reason(DestroyReason::ResetFailed);
                let message = describe(failure.into_error());
                let mut registry = self.registry();
                registry.reset_errors += 1;
                registry.note(IncidentKind::ResetFailed, Some(slot.id), message);
                drop(registry);
                drop(self.retire(slot, reason));
            }
        }
    }

    /// Destroys a VM that its borrower gives up.
    pub(crate) fn discard(&self, slot: Slot<V>, reason: DestroyReason, use_time: Duration) {
        self.timings().use_time.record(use_time);
        drop(self.retire(slot, reason));
    }

    /// Destroys a VM that is out. Its slot stays in hand; dropping the vacancy gives it back.
    pub(crate) fn retire(&self, slot: Slot<V>, reason: DestroyReason) -> Vacancy<'_, V> {
        let Slot { id, vm } = slot;
        drop_quietly(vm);
        let generation = self.registry().strike_out(id, reason);
        Vacancy { slots: self, generation }
    }

    /// Closes and waits until no VM is left. Returns whether that happened in time.
    pub(crate) fn close(&self, timeout: Duration) -> bool {
        let (idle, closer) = self.registry().close();
        // Disconnects the channel on which every waiter listens.
        drop(closer);
        for slot in idle {
            drop(self.retire(slot, DestroyReason::Closed));
        }
        let (registry, _) = self
            .emptied
            .wait_timeout_while(self.registry(), timeout, |registry| !registry.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        registry.is_empty()
    }

    /// Waits for a token: a ready one first, else a vacant one.
    fn token(&self, started: Instant, wait: Duration) -> Result<Token<'_, V>, PoolError> {
        if self.registry().is_closed() {
            return Err(PoolError::Closed);
        }
        // Who finds others waiting goes behind them.
        if self.tokens.queue.len() == 0
            && let Some(token) = self.token_now()
        {
            return Ok(token);
        }
        if wait.is_zero() {
            return Err(self.exhausted(started));
        }
        // What is too long for an instant is for ever.
        let deadline = started.checked_add(wait);
        let waited = self.tokens.wait(deadline, |token| match token {
            Waited::Vacant => self.occupy().map(Token::Vacant),
            _ => Some(Token::Ready),
        });
        waited.map_err(|why| match why {
            Waited::Closed => PoolError::Closed,
            _ => self.exhausted(started),
        })
    }

    fn token_now(&self) -> Option<Token<'_, V>> {
        if self.tokens.take_ready() {
            return Some(Token::Ready);
        }
        while self.tokens.take_vacant() {
            if let Some(vacancy) = self.occupy() {
                return Some(Token::Vacant(vacancy));
            }
        }
        None
    }

    /// Turns a token of the `vacant` channel into a slot in hand, unless the slot ends here.
    pub(crate) fn occupy(&self) -> Option<Vacancy<'_, V>> {
        let generation = self.registry().occupy()?;
        Some(Vacancy { slots: self, generation })
    }

    /// Makes a VM in a slot. On failure the slot goes back.
    pub(crate) fn build(
        &self,
        vacancy: Vacancy<'_, V>,
        borrower: Borrower,
    ) -> Result<Slot<V>, PoolError> {
        let began = Instant::now();
        let made = guarded("the making of a VM", || self.factory.create()).and_then(|vm| {
            match guarded("the inspection of a VM", || Ok(self.resetter.inspect(&vm))) {
                Ok(report) => Ok((vm, report)),
                Err(failure) => {
                    drop_quietly(vm);
                    Err(failure)
                }
            }
        });
        let (vm, report) = match made {
            Ok(made) => made,
            Err(failure) => {
                self.registry().create_errors += 1;
                return Err(PoolError::Create(failure.into_error()));
            }
        };
        self.timings().create.record(began.elapsed());
        let mut registry = self.registry();
        let slot = registry.admit(vm, vacancy.generation, report, borrower);
        let closed = registry.is_closed();
        drop(registry);
        // The slot has its VM; there is nothing left to give back.
        std::mem::forget(vacancy);
        if closed {
            drop(self.retire(slot, DestroyReason::Closed));
            return Err(PoolError::Closed);
        }
        Ok(slot)
    }

    /// Validates a VM. Says why it must be destroyed, if it must.
    fn quarantine(&self, slot: &mut Slot<V>) -> Option<DestroyReason> {
        let outcome = guarded("the validation of a VM", || self.resetter.validate(&mut slot.vm));
        let failure = outcome.err()?;
        let reason = failure.reason(DestroyReason::ValidationFailed);
        let message = describe(failure.into_error());
        let mut registry = self.registry();
        registry.quarantined += 1;
        registry.note(IncidentKind::ValidationFailed, Some(slot.id), message);
        Some(reason)
    }

    /// Says that a VM is idle again, or destroys it when it may not be.
    pub(crate) fn announce(&self, checked_in: Result<(), (Slot<V>, DestroyReason)>) {
        match checked_in {
            Ok(()) => self.tokens.send_ready(),
            Err((slot, reason)) => drop(self.retire(slot, reason)),
        }
    }

    fn exhausted(&self, started: Instant) -> PoolError {
        let mut registry = self.registry();
        registry.timeouts += 1;
        PoolError::Exhausted {
            waited: started.elapsed(),
            max_size: registry.config.max_size,
            leased: registry.leased(),
        }
    }
}

impl<V> Drop for Slots<V> {
    fn drop(&mut self) {
        let registry = self.registry.get_mut();
        let (idle, _) = registry.unwrap_or_else(PoisonError::into_inner).close();
        for slot in idle {
            drop_quietly(slot.vm);
        }
    }
}

impl<V> Drop for Vacancy<'_, V> {
    fn drop(&mut self) {
        let mut registry = self.slots.registry();
        let vacant = registry.vacate();
        let emptied = registry.is_closed() && registry.is_empty();
        drop(registry);
        if vacant {
            self.slots.tokens.send_vacant();
        }
        if emptied {
            self.slots.emptied.notify_all();
        }
    }
}
