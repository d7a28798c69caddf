//! What the pool's threads meet by in the model, in the stead of the crate's `pool/sync.rs`.

use std::cell::Cell;
use std::io;

pub(crate) use shuttle::sync::atomic::AtomicU64;
pub(crate) use shuttle::sync::{Mutex, MutexGuard};
pub(crate) use std::sync::{Arc, PoisonError, Weak};

use shuttle::thread;

use crate::clock;
pub(crate) use crate::clock::Instant;

/// When waiting ends; `None` is never.
pub(crate) type WaitDeadline = Option<Instant>;

/// A condition variable that the model's clock can wake.
pub(crate) struct Condvar(Arc<shuttle::sync::Condvar>);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(Arc::new(shuttle::sync::Condvar::new()))
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Whether the deadline is over.
pub(crate) fn expired(deadline: WaitDeadline) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Waits until somebody signals or the deadline is over. One without a deadline waits for ever if
/// nobody signals, and the model reports that as a deadlock.
pub(crate) fn wait<'g, T>(
    condvar: &Condvar,
    guard: MutexGuard<'g, T>,
    deadline: WaitDeadline,
) -> MutexGuard<'g, T> {
    let sleeper = deadline.map(|until| clock::sleep(until, &condvar.0));
    let guard = condvar.0.wait(guard).unwrap_or_else(PoisonError::into_inner);
    sleeper.into_iter().for_each(clock::wake);
    guard
}

thread_local! {
    static NO_THREADS: Cell<bool> = const { Cell::new(false) };
}

/// Whether the system gives no more threads.
pub fn run_out_of_threads(out: bool) {
    NO_THREADS.set(out);
}

/// Runs the body on a thread of its own, which nobody waits for.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    if NO_THREADS.get() {
        return Err(io::Error::other(format!("no thread for {name}")));
    }
    thread::spawn(body);
    Ok(())
}
