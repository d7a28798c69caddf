//! How somebody who asks for a VM gets one.

use std::time::Duration;

use super::Registry;
use crate::pool::config::Overflow;
use crate::pool::error::PoolError;
use crate::pool::queue::{WaitTicket, Waiter};
use crate::pool::record::Borrower;
use crate::pool::slot::{Grant, OccupiedSlot};
use crate::pool::sync::Instant;

/// How long to wait for a VM.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WaitPolicy {
    /// As the configuration says.
    Configured,
    /// At most this long; zero: not at all.
    AtMost(Duration),
}

/// The result of asking for a VM.
pub(crate) enum AcquireOutcome<V> {
    Granted(Grant<V>),
    /// A place in the queue, and how long to wait at most.
    Waiting(WaitTicket<Grant<V>>, Duration),
    Refused(PoolError),
}

impl<V> Registry<V> {
    /// Takes a VM or a slot for a lease, or a place in the queue.
    pub(crate) fn ask(
        &mut self,
        patience: WaitPolicy,
        program: Option<&str>,
        borrower: Borrower,
        now: Instant,
    ) -> AcquireOutcome<V> {
        if self.closed {
            return AcquireOutcome::Refused(PoolError::Closed);
        }
        let (wait, may_build) = match (patience, self.config.overflow) {
            (WaitPolicy::AtMost(wait), _) => (wait, true),
            (_, Overflow::Wait) => (self.config.acquire_timeout, true),
            (_, Overflow::Fail) => (Duration::ZERO, true),
            (_, Overflow::Defer) => (Duration::ZERO, false),
        };
        // If others wait already, queue behind them.
        if !self.suspended && self.queue.is_empty() {
            if let Some(grant) = self.grant_idle(program, borrower, now) {
                return AcquireOutcome::Granted(grant);
            }
            if may_build && let Some(grant) = self.grant_vacant() {
                return AcquireOutcome::Granted(grant);
            }
        }
        if !wait.is_zero() {
            return AcquireOutcome::Waiting(self.queue.join(borrower), wait);
        }
        self.counts.timeouts += 1;
        if may_build || self.suspended {
            return AcquireOutcome::Refused(self.refusal(Duration::ZERO));
        }
        let (leased, max_size) = (self.leased(), self.config.max_size);
        AcquireOutcome::Refused(PoolError::Deferred { leased, max_size })
    }

    /// The error for a thread that waited this long in vain.
    pub(crate) fn refusal(&self, waited: Duration) -> PoolError {
        if self.suspended {
            return PoolError::Suspended { waited };
        }
        let (max_size, leased) = (self.config.max_size, self.leased());
        PoolError::Exhausted { waited, max_size, leased }
    }

    /// Takes the first waiter out of the queue, with what it gets; `None` if nothing is free.
    pub(crate) fn next_grant(&mut self) -> Option<(Waiter<Grant<V>>, Grant<V>)> {
        let something = !self.idle.is_empty() || self.has_room();
        if self.queue.is_empty() || self.suspended || !something {
            return None;
        }
        let place = self.queue.pop()?;
        let grant = match self.grant_idle(None, place.borrower, Instant::now()) {
            Some(grant) => grant,
            None => self.grant_vacant()?,
        };
        Some((place, grant))
    }

    /// Leaves the queue. `false` if a grant is on its way already.
    pub(crate) fn stop_waiting(&mut self, ticket: u64) -> bool {
        let left = self.queue.leave(ticket);
        self.counts.timeouts += u64::from(left);
        left
    }

    /// The idle VM that ran the program last, or else the one used last.
    fn grant_idle(
        &mut self,
        program: Option<&str>,
        borrower: Borrower,
        now: Instant,
    ) -> Option<Grant<V>> {
        let preferred = program.and_then(|program| {
            let ran_it = |slot: &OccupiedSlot<V>| {
                self.records[slot.place].report.last_program.as_deref() == Some(program)
            };
            self.idle.iter().rposition(ran_it)
        });
        let slot = match preferred {
            Some(index) => self.idle.remove(index),
            None => self.idle.pop()?,
        };
        let record = &mut self.records[slot.place];
        let expiry_reason = record.expiry_reason(&self.config, self.generation, now);
        record.begin_lease(borrower, now);
        self.counts.acquired += u64::from(expiry_reason.is_none());
        Some(match expiry_reason {
            None => Grant::Ready(slot),
            Some(reason) => Grant::Expired(slot, reason),
        })
    }

    /// Takes a vacant slot to make a VM in.
    pub(crate) fn grant_vacant(&mut self) -> Option<Grant<V>> {
        if self.closed || !self.has_room() {
            return None;
        }
        self.reserved += 1;
        Some(Grant::Vacant(self.generation))
    }

    /// Gives a reserved slot back.
    pub(crate) fn vacate(&mut self) {
        self.reserved -= 1;
    }

    /// Exchanges a reserved slot for an idle VM, if there is one.
    pub(crate) fn exchange(&mut self, borrower: Borrower, generation: u64) -> Grant<V> {
        match self.grant_idle(None, borrower, Instant::now()) {
            Some(grant) => {
                self.reserved -= 1;
                grant
            }
            None => Grant::Vacant(generation),
        }
    }
}
