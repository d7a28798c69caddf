//! Work on parts, spread over the threads of the compute task pool.

use std::sync::{Mutex, PoisonError};

use bevy::tasks::ComputeTaskPool;

/// Parts for which it is worth waking a thread.
const PARTS_PER_THREAD: usize = 2;

/// Does the work on each part, in no order, on at most so many threads; the calling one is among them.
pub(super) fn on_threads<T: Send>(
    threads: usize,
    parts: impl ExactSizeIterator<Item = T> + Send,
    work: impl Fn(T) + Sync,
) {
    let threads = threads.min(parts.len() / PARTS_PER_THREAD);
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
