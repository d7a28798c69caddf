//! How a pool is closed, and how somebody waits until it is empty.

use std::time::Duration;

use super::Slots;
use crate::pool::factory::{describe, guarded};
use crate::pool::incident::IncidentKind;
use crate::pool::stats::DestroyReason;
use crate::pool::sync::{self, Instant, WaitDeadline};

/// The longest that [`close`](crate::pool::VmPool::close) waits for the VMs that it interrupted. If half of its
/// timeout is shorter, it is that.
const GRACE: Duration = Duration::from_secs(1);

impl<V: 'static> Slots<V> {
    /// Closes the pool and waits until no VM is left. Shortly before the timeout, interrupts those that are still
    /// leased. Returns whether none is left.
    pub(crate) fn close(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        let mut registry = self.registry();
        let sent_away = registry.close();
        let idle = registry.take_all_idle();
        drop(registry);
        // Dropping the senders tells the threads that wait.
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

    /// Waits until no VM is left. Returns `false` if the deadline passes before.
    pub(crate) fn wait_until_empty(&self, deadline: WaitDeadline) -> bool {
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
