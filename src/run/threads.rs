//! Work on parts of the world, on all threads that there are for it.

use std::sync::{Mutex, PoisonError};

use bevy::tasks::ComputeTaskPool;

/// Entities that a thread takes at a time: few enough to spread the load, enough to make taking cheap.
pub(super) const CHUNK: usize = 1024;

/// Parts for which it is worth to wake a thread.
const WORTH: usize = 2;

/// Does the work on each part, in no order, on at most so many threads; this one is among them.
pub(super) fn on_threads<T: Send>(
    threads: usize,
    parts: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(T) + Sync,
) {
    let threads = threads.min(parts.len() / WORTH);
    if threads < 2 {
        parts.for_each(work);
        return;
    }
    let tasks = ComputeTaskPool::get();
    let parts = Mutex::new(parts);
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (work, next) = (&work, &next);
    tasks.scope(|scope| {
        for _ in 0..threads.min(tasks.thread_num() + 1) {
            scope.spawn(async move {
                while let Some(part) = next() {
                    work(part);
                }
            });
        }
    });
}
