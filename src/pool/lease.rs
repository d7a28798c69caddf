//! [`Lease`]: the right to use one VM, for as long as the guard lives.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::thread;

use crate::pool::error::PoolError;
use crate::pool::incident::IncidentKind;
use crate::pool::slots::{LeasedVm, Slots};
use crate::pool::stats::DestroyReason;
use crate::pool::sync::Arc;

/// A VM that is yours until the guard is dropped.
///
/// Dropping the guard resets the VM and gives it back. A guard that is dropped while its thread
/// unwinds from a panic destroys the VM instead, because nobody knows in what state it was left.
/// A lease keeps what it needs of the pool alive and may outlive all handles to it.
///
/// The VM is to be used where it is. To put another one there (`*lease = other`,
/// [`mem::swap`](std::mem::swap)) is noticed if the pool's resetter tells VMs apart
/// ([`VmResetter::identity`](crate::pool::VmResetter::identity)), as that for Luau does: what comes back is
/// destroyed then. [`Lease::renew`] is the way to a fresh VM.
///
/// A VM can't be used after its lease has ended; that doesn't compile:
///
/// ```compile_fail,E0505
/// # use bevy_lua_pool::pool::{DestroyReason, Lease, PoolError, VmPool};
/// fn stale(pool: &VmPool<Vec<u8>>) -> Result<(), PoolError> {
///     let mut lease = pool.acquire()?;
///     let buffer = &mut *lease;
///     Lease::discard(lease, DestroyReason::Discarded);
///     buffer.push(1);
///     Ok(())
/// }
/// ```
#[must_use = "a lease that isn't kept goes back to the pool at once"]
pub struct Lease<V: 'static> {
    slots: Arc<Slots<V>>,
    /// `None` only after the lease has ended, in `drop`.
    leased: Option<LeasedVm<V>>,
    /// Whether the thread was unwinding already when it took the lease; then that panic says
    /// nothing about the VM.
    unwinding: bool,
}

const HELD: &str = "a lease holds its VM until it is dropped";

impl<V> Lease<V> {
    pub(crate) fn new(slots: Arc<Slots<V>>, leased: LeasedVm<V>) -> Self {
        Self { slots, leased: Some(leased), unwinding: thread::panicking() }
    }

    /// The number of the VM: unique in its pool, never used again.
    #[must_use]
    pub fn id(lease: &Self) -> u64 {
        lease.leased.as_ref().expect(HELD).slot.id
    }

    /// Ends the lease, destroys the VM without a reset, and begins another lease with a VM that is new
    /// and that nobody used before, in the same slot. For a borrower whose VM is spent, or in a state
    /// that is no more use.
    ///
    /// # Errors
    ///
    /// Then the lease is over, and its slot free. [`PoolError::Create`], [`PoolError::CreateTimedOut`]
    /// or [`PoolError::FactoryHangs`] when no VM can be made; [`PoolError::Closed`];
    /// [`PoolError::Exhausted`] when the pool was made smaller, so that there is no slot any more.
    #[track_caller]
    pub fn renew(mut lease: Self, reason: DestroyReason) -> Result<Self, PoolError>
    where
        V: Send,
    {
        let leased = lease.leased.take().expect(HELD);
        let leased = lease.slots.renew(leased, reason, Some(Location::caller()))?;
        Ok(Self::new(Arc::clone(&lease.slots), leased))
    }

    /// Ends the lease and destroys the VM, without a reset. The slot is free for a new VM.
    pub fn discard(mut lease: Self, reason: DestroyReason) {
        let leased = lease.leased.take().expect(HELD);
        lease.slots.discard(leased, reason);
    }
}

impl<V> Deref for Lease<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.leased.as_ref().expect(HELD).slot.vm
    }
}

impl<V> DerefMut for Lease<V> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.leased.as_mut().expect(HELD).slot.vm
    }
}

impl<V> Drop for Lease<V> {
    fn drop(&mut self) {
        // Empty after `discard`.
        let Some(leased) = self.leased.take() else {
            return;
        };
        if thread::panicking() && !self.unwinding {
            let message = "the thread that leased the VM panicked".to_owned();
            let (kind, place) = (IncidentKind::BorrowerPanicked, Some(leased.slot.place));
            self.slots.registry().note(kind, place, message);
            self.slots.discard(leased, DestroyReason::Panicked);
        } else {
            self.slots.release(leased);
        }
    }
}
impl<V: fmt::Debug> fmt::Debug for Lease<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &Self::id(self))
            .field("vm", &**self)
            .finish_non_exhaustive()
    }
}
