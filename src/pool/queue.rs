//! [`WaitQueue`]: those who wait for a VM, in the order in which they came.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

/// A first-in-first-out queue. Only the one in front may look for a free slot, so nobody who
/// came later overtakes; whoever leaves hands the turn on.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    places: Mutex<Places>,
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Places {
    next_ticket: u64,
    /// Sorted by ticket, because tickets are given out in order.
    waiting: VecDeque<(u64, Sender<()>)>,
}

/// A place in the queue. Dropping it leaves the queue, from any position.
#[derive(Debug)]
#[must_use]
pub(crate) struct Place<'q> {
    queue: &'q WaitQueue,
    ticket: u64,
    turn: Receiver<()>,
}

impl WaitQueue {
    /// How many wait now.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Takes the last place.
    pub(crate) fn join(&self) -> Place<'_> {
        let (sender, turn) = bounded(1);
        let mut places = self.lock();
        let ticket = places.next_ticket;
        places.next_ticket += 1;
        if places.waiting.is_empty() {
            call_up(&sender);
        }
        places.waiting.push_back((ticket, sender));
        self.len.store(places.waiting.len(), Ordering::Release);
        Place { queue: self, ticket, turn }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Receives one message when this place is in front.
    pub(crate) fn turn(&self) -> &Receiver<()> {
        &self.turn
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.queue.lock();
        let position = places
            .waiting
            .binary_search_by_key(&self.ticket, |(ticket, _)| *ticket)
            .expect("a place stays in the queue until it is dropped");
        places.waiting.remove(position);
        if position == 0
            && let Some((_, next)) = places.waiting.front()
        {
            call_up(next);
        }
        self.queue.len.store(places.waiting.len(), Ordering::Release);
    }
}

/// Says that it is the receiver's turn. A place comes to the front once, so there is room.
fn call_up(turn: &Sender<()>) {
    turn.try_send(()).expect("the turn channel of a waiting place is open and empty");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_goes_from_front_to_back() {
        let queue = WaitQueue::default();
        let (first, second, third) = (queue.join(), queue.join(), queue.join());
        assert_eq!(queue.len(), 3);
        assert!(first.turn().try_recv().is_ok());
        assert!(second.turn().try_recv().is_err());
        drop(first);
        assert!(second.turn().try_recv().is_ok());
        assert!(third.turn().try_recv().is_err());
        drop(second);
        assert!(third.turn().try_recv().is_ok());
        drop(third);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_leaves_from_the_middle_changes_nobodys_turn() {
        let queue = WaitQueue::default();
        let (first, second, third) = (queue.join(), queue.join(), queue.join());
        drop(second);
        assert!(third.turn().try_recv().is_err());
        drop(first);
        assert!(third.turn().try_recv().is_ok());
    }

    #[test]
    fn who_leaves_the_front_without_having_looked_hands_the_turn_on() {
        let queue = WaitQueue::default();
        let (first, second) = (queue.join(), queue.join());
        drop(first);
        assert!(second.turn().try_recv().is_ok());
    }

    #[test]
    fn an_empty_queue_can_be_joined_again() {
        let queue = WaitQueue::default();
        drop(queue.join());
        let place = queue.join();
        assert!(place.turn().try_recv().is_ok());
    }
}
