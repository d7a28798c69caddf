//! [`Lease`]: the right to use one VM, for as long as the guard lives.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::pool::error::PoolError;
use crate::pool::incident::IncidentKind;
use crate::pool::registry::Slot;
use crate::pool::slots::Slots;
use crate::pool::stats::DestroyReason;

/// A VM that is yours until the guard is dropped.
///
/// Dropping the guard resets the VM and gives it back. A guard that is dropped while its thread
/// unwinds from a panic destroys the VM instead, because nobody knows in what state it was left.
/// A lease keeps what it needs of the pool alive and may outlive all handles to it.
#[must_use = "a lease that isn't kept goes back to the pool at once"]
pub struct Lease<V: 'static> {
    slots: Arc<Slots<V>>,
    /// `None` only after the lease has ended, in `drop`.
    slot: Option<Slot<V>>,
    taken: Instant,
    /// Whether the thread was unwinding already when it took the lease; then that panic says
    /// nothing about the VM.
    unwinding: bool,
}

const HELD: &str = "a lease holds its VM until it is dropped";

impl<V> Lease<V> {
    pub(crate) fn take(
        slots: &Arc<Slots<V>>,
        wait: Duration,
        program: Option<&str>,
        borrower: &'static Location<'static>,
    ) -> Result<Self, PoolError> {
        let slot = slots.acquire(wait, program, borrower)?;
        Ok(Self {
            slots: Arc::clone(slots),
            slot: Some(slot),
            taken: Instant::now(),
            unwinding: thread::panicking(),
        })
    }

    /// The number of the VM: unique in its pool, never used again.
    #[must_use]
    pub fn id(lease: &Self) -> u64 {
        lease.slot.as_ref().expect(HELD).id
    }

    /// Ends the lease and destroys the VM, without a reset. The slot is free for a new VM.
    pub fn discard(mut lease: Self, reason: DestroyReason) {
        let slot = lease.slot.take().expect(HELD);
        lease.slots.discard(slot, reason, lease.taken.elapsed());
    }
}

impl<V> Deref for Lease<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.slot.as_ref().expect(HELD).vm
    }
}

impl<V> DerefMut for Lease<V> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.slot.as_mut().expect(HELD).vm
    }
}

impl<V> Drop for Lease<V> {
    fn drop(&mut self) {
        // Empty after `discard`.
        let Some(slot) = self.slot.take() else {
            return;
        };
        let use_time = self.taken.elapsed();
        if thread::panicking() && !self.unwinding {
            let message = "the thread that leased the VM panicked".to_owned();
            let kind = IncidentKind::BorrowerPanicked;
            self.slots.registry().note(kind, Some(slot.id), message);
            self.slots.discard(slot, DestroyReason::Panicked, use_time);
        } else {
            self.slots.release(slot, use_time);
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
