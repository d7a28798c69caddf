//! [`WaitQueue`]: those who wait for a VM, in the order in which they came.

use std::collections::VecDeque;

use crate::pool::handover::{Giver, Taker, handover};
use crate::pool::record::Borrower;

/// A first-in-first-out queue. What becomes free is handed to the one in front, so nobody who came
/// later overtakes.
pub(crate) struct WaitQueue<T> {
    next_ticket: u64,
    /// Sorted by ticket, because tickets are given out in order.
    places: VecDeque<Place<T>>,
}

/// One who waits.
pub(crate) struct Place<T> {
    ticket: u64,
    pub(crate) borrower: Borrower,
    pub(crate) giver: Giver<T>,
}

/// What one who waits has in hand.
pub(crate) struct Waiting<T> {
    pub(crate) ticket: u64,
    pub(crate) taker: Taker<T>,
}

impl<T> WaitQueue<T> {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Takes the last place.
    pub(crate) fn join(&mut self, borrower: Borrower) -> Waiting<T> {
        let (giver, taker) = handover();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.places.push_back(Place { ticket, borrower, giver });
        Waiting { ticket, taker }
    }

    /// Takes who has waited longest out of the queue.
    pub(crate) fn pop(&mut self) -> Option<Place<T>> {
        self.places.pop_front()
    }

    /// Leaves the queue, from any place. `false` when this one was called up already: then
    /// something is on its way to the taker.
    pub(crate) fn leave(&mut self, ticket: u64) -> bool {
        let place = self.places.binary_search_by_key(&ticket, |place| place.ticket);
        place.is_ok_and(|place| self.places.remove(place).is_some())
    }

    /// Sends everybody away.
    pub(crate) fn clear(&mut self) -> Vec<Place<T>> {
        std::mem::take(&mut self.places).into()
    }
}

impl<T> Default for WaitQueue<T> {
    fn default() -> Self {
        Self { next_ticket: 0, places: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::handover::Missed;

    #[test]
    fn who_came_first_is_called_up_first() {
        let mut queue = WaitQueue::default();
        let (first, second) = (queue.join(None), queue.join(None));
        for (number, waiting) in [(1, first), (2, second)] {
            queue.pop().unwrap().giver.give(number).unwrap();
            assert_eq!(waiting.taker.take(None), Ok(number));
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
        let place = queue.pop().unwrap();
        assert!(!queue.leave(waiting.ticket));
        place.giver.give(7).unwrap();
        assert_eq!(waiting.taker.take(None), Ok(7));
    }

    #[test]
    fn who_is_sent_away_waits_no_longer() {
        let mut queue = WaitQueue::<u32>::default();
        let waiting = queue.join(None);
        drop(queue.clear());
        assert_eq!(waiting.taker.take(None), Err(Missed::Never));
    }
}
