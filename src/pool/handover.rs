//! [`handover`]: a way for one value from one thread to another.
//!
//! A channel would do, if it didn't spin before it sleeps: where more threads want a VM than there are
//! VMs, those that spin keep the cores from those that have one, and every lease costs a context switch.

use crate::pool::sync::{Arc, Condvar, Deadline, Mutex, MutexGuard, PoisonError, expired, wait};

/// The giving end. `None` only after it has given.
pub(crate) struct Giver<T>(Option<Arc<Shared<T>>>);

/// The taking end.
pub(crate) struct Taker<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

enum State<T> {
    /// Nothing was given yet, and nobody sleeps until it is.
    Open,
    /// Nothing was given yet, and the taker sleeps. To wake one that doesn't costs a system call for
    /// nothing.
    Awaited,
    Given(T),
    /// One end is gone, or the value was taken.
    Over,
}

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Nothing came in time.
    Late,
    /// The giver is gone: nothing will come.
    Never,
}

pub(crate) fn handover<T>() -> (Giver<T>, Taker<T>) {
    let shared = Arc::new(Shared { state: Mutex::new(State::Open), changed: Condvar::new() });
    (Giver(Some(Arc::clone(&shared))), Taker(shared))
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Giver<T> {
    /// Gives the value; it comes back if the taker is gone.
    pub(crate) fn give(mut self, value: T) -> Result<(), T> {
        let shared = self.0.take().expect("it gives once");
        let mut state = shared.lock();
        let awaited = match *state {
            State::Over => return Err(value),
            State::Awaited => true,
            State::Open | State::Given(_) => false,
        };
        *state = State::Given(value);
        drop(state);
        if awaited {
            shared.changed.notify_one();
        }
        Ok(())
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        // Gone where it has given.
        let Some(shared) = self.0.take() else {
            return;
        };
        let mut state = shared.lock();
        let awaited = matches!(*state, State::Awaited);
        if awaited || matches!(*state, State::Open) {
            *state = State::Over;
        }
        drop(state);
        if awaited {
            shared.changed.notify_one();
        }
    }
}

impl<T> Taker<T> {
    /// Waits for the value.
    pub(crate) fn take(&self, deadline: Deadline) -> Result<T, Missed> {
        let mut state = self.0.lock();
        loop {
            match std::mem::replace(&mut *state, State::Over) {
                State::Given(value) => return Ok(value),
                State::Over => return Err(Missed::Never),
                State::Open | State::Awaited => {}
            }
            if expired(deadline) {
                *state = State::Open;
                return Err(Missed::Late);
            }
            *state = State::Awaited;
            state = wait(&self.0.changed, state, deadline);
        }
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        // A value that nobody took is dropped here, and not under the lock.
        let left = std::mem::replace(&mut *self.0.lock(), State::Over);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_given_is_taken_from_another_thread() {
        let (giver, taker) = handover();
        let thread = thread::spawn(move || taker.take(None));
        assert_eq!(giver.give(7), Ok(()));
        assert_eq!(thread.join().unwrap(), Ok(7));
    }

    #[test]
    fn a_giver_that_goes_away_is_noticed_and_so_is_a_taker() {
        let (giver, taker) = handover::<u32>();
        let thread = thread::spawn(move || taker.take(None));
        drop(giver);
        assert_eq!(thread.join().unwrap(), Err(Missed::Never));
        let (giver, taker) = handover();
        drop(taker);
        assert_eq!(giver.give(7), Err(7));
    }

    #[test]
    fn who_waits_no_longer_may_wait_again() {
        let (giver, taker) = handover();
        assert_eq!(taker.take(Some(Instant::now())), Err(Missed::Late));
        assert_eq!(giver.give(7), Ok(()));
        assert_eq!(taker.take(Some(Instant::now())), Ok(7));
        assert_eq!(taker.take(None), Err(Missed::Never));
    }
}
