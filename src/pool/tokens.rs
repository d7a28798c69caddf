//! [`Tokens`]: the channels in which the slots of a pool travel, and how to wait for one.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};

use crate::pool::config::PoolConfig;
use crate::pool::queue::WaitQueue;

/// There is one token for each slot. It is in `ready` when the slot has an idle VM, in `vacant`
/// when it has none, and in neither while somebody has the slot in hand.
#[derive(Debug)]
pub(crate) struct Tokens {
    ready: (Sender<()>, Receiver<()>),
    vacant: (Sender<()>, Receiver<()>),
    /// Never gets a message; is disconnected when the pool closes.
    closed: Receiver<Infallible>,
    pub(crate) queue: WaitQueue,
}

/// What came of waiting for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Ready,
    Vacant,
    TimedOut,
    Closed,
}

/// When waiting ends; `None` is never.
pub(crate) type Deadline = Option<Instant>;

impl Tokens {
    /// No tokens at first. Dropping the sender tells all who wait that the pool is closed.
    pub(crate) fn new() -> (Self, Sender<Infallible>) {
        let (closer, closed) = bounded(1);
        let tokens = Self {
            ready: bounded(PoolConfig::SIZE_LIMIT),
            vacant: bounded(PoolConfig::SIZE_LIMIT),
            closed,
            queue: WaitQueue::default(),
        };
        (tokens, closer)
    }

    pub(crate) fn send_ready(&self) {
        send(&self.ready.0);
    }

    pub(crate) fn send_vacant(&self) {
        send(&self.vacant.0);
    }

    /// Takes the token of a slot with an idle VM, if there is one.
    pub(crate) fn take_ready(&self) -> bool {
        self.ready.1.try_recv().is_ok()
    }

    /// Takes the token of a slot without a VM, if there is one.
    pub(crate) fn take_vacant(&self) -> bool {
        self.vacant.1.try_recv().is_ok()
    }

    /// Waits in the queue until it is one's turn, and then passes tokens to `accept` until it
    /// takes one: ready ones first. Returns what `accept` made of the token, or why there is none.
    pub(crate) fn wait<T>(
        &self,
        deadline: Deadline,
        mut accept: impl FnMut(Waited) -> Option<T>,
    ) -> Result<T, Waited> {
        let place = self.queue.join();
        select_biased! {
            recv(self.closed) -> _ => return Err(Waited::Closed),
            recv(place.turn()) -> _ => {}
            default(left(deadline)) => return Err(Waited::TimedOut),
        }
        loop {
            let token = select_biased! {
                recv(self.closed) -> _ => return Err(Waited::Closed),
                recv(self.ready.1) -> _ => Waited::Ready,
                recv(self.vacant.1) -> _ => Waited::Vacant,
                default(left(deadline)) => return Err(Waited::TimedOut),
            };
            if let Some(accepted) = accept(token) {
                return Ok(accepted);
            }
        }
    }
}

fn left(deadline: Deadline) -> Duration {
    deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()))
}

fn send(tokens: &Sender<()>) {
    tokens.try_send(()).expect("there are never more tokens than a channel has room for");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_tokens_go_before_vacant_ones() {
        let (tokens, _closer) = Tokens::new();
        tokens.send_vacant();
        tokens.send_ready();
        let wait = || tokens.wait(Some(Instant::now()), Some);
        assert_eq!(wait(), Ok(Waited::Ready));
        assert_eq!(wait(), Ok(Waited::Vacant));
        assert_eq!(wait(), Err(Waited::TimedOut));
    }

    #[test]
    fn who_is_not_in_front_takes_no_token() {
        let (tokens, _closer) = Tokens::new();
        tokens.send_ready();
        let front = tokens.queue.join();
        let wait = || tokens.wait(Some(Instant::now()), Some);
        assert_eq!(wait(), Err(Waited::TimedOut));
        drop(front);
        assert_eq!(wait(), Ok(Waited::Ready));
    }

    #[test]
    fn closing_goes_before_everything() {
        let (tokens, closer) = Tokens::new();
        tokens.send_ready();
        drop(closer);
        assert_eq!(tokens.wait(None, Some), Err(Waited::Closed));
    }

    #[test]
    fn a_token_that_is_not_accepted_is_gone_and_the_next_one_is_waited_for() {
        let (tokens, _closer) = Tokens::new();
        tokens.send_vacant();
        tokens.send_vacant();
        let mut seen = 0;
        let second = tokens.wait(None, |_| {
            seen += 1;
            (seen == 2).then_some(seen)
        });
        assert_eq!(second, Ok(2));
        assert!(!tokens.take_vacant());
    }
}
