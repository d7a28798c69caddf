//! [`oneshot`]: a channel for one value from one thread to another.
//!
//! A crossbeam channel would do if it didn't spin before it sleeps. Where more threads want a VM than there are
//! VMs, the ones that spin take the cores from the ones that have a VM, and every lease costs a context switch.

use crate::pool::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, WaitDeadline, expired, wait,
};

/// The sending end. `None` only after it has sent.
pub(crate) struct OneshotSender<T>(Option<Arc<OneshotChannel<T>>>);

/// The receiving end.
pub(crate) struct OneshotReceiver<T>(Arc<OneshotChannel<T>>);

struct OneshotChannel<T> {
    state: Mutex<ChannelState<T>>,
    changed: Condvar,
}

enum ChannelState<T> {
    /// Nothing was sent yet, and the receiver isn't asleep.
    Open,
    /// Nothing was sent yet, and the receiver sleeps. Only then the sender makes the system call that wakes it.
    Awaited,
    Sent(T),
    /// One end is gone, or the value was received.
    Closed,
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecvError {
    /// Nothing came before the deadline.
    Timeout,
    /// The sender is gone: nothing will come.
    Closed,
}

/// A channel for one value.
pub(crate) fn oneshot<T>() -> (OneshotSender<T>, OneshotReceiver<T>) {
    let state = Mutex::new(ChannelState::Open);
    let channel = Arc::new(OneshotChannel { state, changed: Condvar::new() });
    (OneshotSender(Some(Arc::clone(&channel))), OneshotReceiver(channel))
}

impl<T> OneshotChannel<T> {
    fn lock(&self) -> MutexGuard<'_, ChannelState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> OneshotSender<T> {
    /// Sends the value. Returns it if the receiver is gone.
    pub(crate) fn send(mut self, value: T) -> Result<(), T> {
        let channel = self.0.take().expect("it sends once");
        let mut state = channel.lock();
        let awaited = match *state {
            ChannelState::Closed => return Err(value),
            ChannelState::Awaited => true,
            ChannelState::Open | ChannelState::Sent(_) => false,
        };
        *state = ChannelState::Sent(value);
        drop(state);
        if awaited {
            channel.changed.notify_one();
        }
        Ok(())
    }
}

impl<T> Drop for OneshotSender<T> {
    fn drop(&mut self) {
        // `None` if it has sent.
        let Some(channel) = self.0.take() else {
            return;
        };
        let mut state = channel.lock();
        let awaited = matches!(*state, ChannelState::Awaited);
        if awaited || matches!(*state, ChannelState::Open) {
            *state = ChannelState::Closed;
        }
        drop(state);
        if awaited {
            channel.changed.notify_one();
        }
    }
}

impl<T> OneshotReceiver<T> {
    /// Waits for the value.
    pub(crate) fn recv(&self, deadline: WaitDeadline) -> Result<T, RecvError> {
        let mut state = self.0.lock();
        loop {
            match std::mem::replace(&mut *state, ChannelState::Closed) {
                ChannelState::Sent(value) => return Ok(value),
                ChannelState::Closed => return Err(RecvError::Closed),
                ChannelState::Open | ChannelState::Awaited => {}
            }
            if expired(deadline) {
                *state = ChannelState::Open;
                return Err(RecvError::Timeout);
            }
            *state = ChannelState::Awaited;
            state = wait(&self.0.changed, state, deadline);
        }
    }
}

impl<T> Drop for OneshotReceiver<T> {
    fn drop(&mut self) {
        // Drop a value that was never received outside of the lock: its `drop` is user code.
        let left = std::mem::replace(&mut *self.0.lock(), ChannelState::Closed);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_sent_is_received_on_another_thread() {
        let (sender, receiver) = oneshot();
        let thread = thread::spawn(move || receiver.recv(None));
        assert_eq!(sender.send(7), Ok(()));
        assert_eq!(thread.join().unwrap(), Ok(7));
    }

    #[test]
    fn a_sender_that_goes_away_is_noticed_and_so_is_a_receiver() {
        let (sender, receiver) = oneshot::<u32>();
        let thread = thread::spawn(move || receiver.recv(None));
        drop(sender);
        assert_eq!(thread.join().unwrap(), Err(RecvError::Closed));
        let (sender, receiver) = oneshot();
        drop(receiver);
        assert_eq!(sender.send(7), Err(7));
    }

    #[test]
    fn a_receiver_may_wait_again_after_a_timeout() {
        let (sender, receiver) = oneshot();
        assert_eq!(receiver.recv(Some(Instant::now())), Err(RecvError::Timeout));
        assert_eq!(sender.send(7), Ok(()));
        assert_eq!(receiver.recv(Some(Instant::now())), Ok(7));
        assert_eq!(receiver.recv(None), Err(RecvError::Closed));
    }
}
