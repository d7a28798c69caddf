//! [`RunningCalls`]: the calls on a pool, so that they can be ended from another thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vm::Vm;

/// Ends the call on one VM.
type CancelCall = Arc<dyn Fn() + Send + Sync>;

/// The calls that are in progress.
#[derive(Default)]
pub(super) struct RunningCalls {
    /// How often all calls were interrupted.
    interrupts: AtomicU64,
    /// The calls that have a VM: a number, and what ends the call.
    on_vms: Mutex<Vec<(u64, CancelCall)>>,
    next: AtomicU64,
}

impl RunningCalls {
    /// How often all calls were interrupted: a call is interrupted if this grows while it waits for a VM.
    pub(super) fn interrupts(&self) -> u64 {
        self.interrupts.load(Ordering::Acquire)
    }

    /// Ends all calls in progress.
    pub(super) fn interrupt(&self) {
        let on_vms = self.lock();
        self.interrupts.fetch_add(1, Ordering::AcqRel);
        on_vms.iter().for_each(|(_, cancel)| cancel());
    }

    /// Registers a call that has its VM now; `interrupts` is the count when it began. `None` if it was interrupted
    /// since then.
    pub(super) fn register(&self, interrupts: u64, vm: &Vm) -> Option<RunningCall<'_>> {
        let mut on_vms = self.lock();
        if self.interrupts() != interrupts {
            return None;
        }
        vm.forget_cancelled();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        on_vms.push((number, vm.canceller()));
        Some(RunningCall { calls: self, number })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, CancelCall)>> {
        self.on_vms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that has a VM. It is over when this is dropped.
pub(super) struct RunningCall<'c> {
    calls: &'c RunningCalls,
    number: u64,
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.calls.lock().retain(|(number, _)| *number != self.number);
    }
}
