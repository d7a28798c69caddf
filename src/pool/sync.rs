//! What the pool's threads meet by and tell the time by, in one place: a model checker puts its own in
//! the stead of these (`models/pool`).

use std::io;
use std::thread;
use std::time::Duration;

pub(crate) use std::sync::atomic::AtomicU64;
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
pub(crate) use std::time::Instant;

/// When waiting ends; `None` is never.
pub(crate) type WaitDeadline = Option<Instant>;

/// Whether the deadline is over.
pub(crate) fn expired(deadline: WaitDeadline) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Waits until somebody signals or the deadline is over.
pub(crate) fn wait<'g, T>(
    condvar: &Condvar,
    guard: MutexGuard<'g, T>,
    deadline: WaitDeadline,
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
