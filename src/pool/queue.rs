//! [`WaitQueue`]: the threads that wait for a VM, in the order of their arrival.

use std::collections::VecDeque;

use crate::pool::oneshot::{OneshotReceiver, OneshotSender, oneshot};
use crate::pool::record::Borrower;

/// A first-in-first-out queue. What becomes free is sent to the first waiter, so nobody overtakes.
pub(crate) struct WaitQueue<T> {
    next_ticket: u64,
    /// Sorted by ticket: tickets count upwards.
    waiters: VecDeque<Waiter<T>>,
}

/// A thread in the queue.
pub(crate) struct Waiter<T> {
    ticket: u64,
    pub(crate) borrower: Borrower,
    pub(crate) sender: OneshotSender<T>,
}

/// What a thread in the queue holds: its ticket, and where it receives what it waits for.
pub(crate) struct WaitTicket<T> {
    pub(crate) ticket: u64,
    pub(crate) receiver: OneshotReceiver<T>,
}

impl<T> WaitQueue<T> {
    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Adds a waiter at the end.
    pub(crate) fn join(&mut self, borrower: Borrower) -> WaitTicket<T> {
        let (sender, receiver) = oneshot();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiters.push_back(Waiter { ticket, borrower, sender });
        WaitTicket { ticket, receiver }
    }

    /// Removes the waiter that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Waiter<T>> {
        self.waiters.pop_front()
    }

    /// Removes a waiter from any position. `false` if it was popped before: then something is on its way to its
    /// receiver.
    pub(crate) fn leave(&mut self, ticket: u64) -> bool {
        let index = self.waiters.binary_search_by_key(&ticket, |waiter| waiter.ticket);
        index.is_ok_and(|index| self.waiters.remove(index).is_some())
    }

    /// Removes all waiters. Each learns it when its [`Waiter`] is dropped.
    pub(crate) fn clear(&mut self) -> Vec<Waiter<T>> {
        std::mem::take(&mut self.waiters).into()
    }
}

impl<T> Default for WaitQueue<T> {
    fn default() -> Self {
        Self { next_ticket: 0, waiters: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::oneshot::RecvError;

    #[test]
    fn who_came_first_is_called_up_first() {
        let mut queue = WaitQueue::default();
        let (first, second) = (queue.join(None), queue.join(None));
        for (number, waiting) in [(1, first), (2, second)] {
            queue.pop().unwrap().sender.send(number).unwrap();
            assert_eq!(waiting.receiver.recv(None), Ok(number));
        }
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn who_leaves_from_any_place_is_not_called_up() {
        let mut queue = WaitQueue::<u32>::default();
        let tickets = [(); 4].map(|()| queue.join(None).ticket);
        assert!(queue.leave(tickets[1]) && queue.leave(tickets[3]) && queue.leave(tickets[0]));
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.pop().unwrap().ticket, tickets[2]);
    }

    #[test]
    fn who_was_called_up_cannot_leave_any_more() {
        let mut queue = WaitQueue::<u32>::default();
        let waiting = queue.join(None);
        let waiter = queue.pop().unwrap();
        assert!(!queue.leave(waiting.ticket));
        waiter.sender.send(7).unwrap();
        assert_eq!(waiting.receiver.recv(None), Ok(7));
    }

    #[test]
    fn who_is_sent_away_waits_no_longer() {
        let mut queue = WaitQueue::<u32>::default();
        let waiting = queue.join(None);
        drop(queue.clear());
        assert_eq!(waiting.receiver.recv(None), Err(RecvError::Closed));
    }
}
