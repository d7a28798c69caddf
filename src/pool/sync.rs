//! What the pool's threads meet by, in one place: a model checker puts its own in the stead of these.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

pub(crate) use std::sync::atomic::AtomicU64;
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// When waiting ends; `None` is never.
pub(crate) type Deadline = Option<Instant>;

/// The giving end of a [`handover`].
#[derive(Debug)]
pub(crate) struct Giver<T>(Sender<T>);

/// The taking end of a [`handover`].
#[derive(Debug)]
pub(crate) struct Taker<T>(Receiver<T>);

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// Nothing came in time.
    Late,
    /// The giver is gone: nothing will come.
    Never,
}

/// A way for one value from one thread to another.
pub(crate) fn handover<T>() -> (Giver<T>, Taker<T>) {
    let (giver, taker) = bounded(1);
    (Giver(giver), Taker(taker))
}

impl<T> Giver<T> {
    /// Gives the value; it comes back if the taker is gone.
    pub(crate) fn give(self, value: T) -> Result<(), T> {
        self.0.try_send(value).map_err(|refused| refused.into_inner())
    }
}

impl<T> Taker<T> {
    /// Waits for the value.
    pub(crate) fn take(&self, deadline: Deadline) -> Result<T, Missed> {
        let Some(deadline) = deadline else {
            return self.0.recv().map_err(|_| Missed::Never);
        };
        self.0.recv_deadline(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => Missed::Late,
            RecvTimeoutError::Disconnected => Missed::Never,
        })
    }
}

/// Waits until somebody signals or the deadline is over.
pub(crate) fn wait<'g, T>(
    condvar: &Condvar,
    guard: MutexGuard<'g, T>,
    deadline: Deadline,
) -> MutexGuard<'g, T> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    match left {
        None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(left) => {
            let waited = condvar.wait_timeout(guard, left.min(Duration::from_secs(60 * 60)));
            waited.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}

/// Setting up a VM may need much native stack.
const STACK_SIZE: usize = 4 * 1024 * 1024;

/// Runs the body on a thread of its own, which nobody waits for.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = thread::Builder::new().name(name.to_owned()).stack_size(STACK_SIZE);
    builder.spawn(body).map(drop)
}
