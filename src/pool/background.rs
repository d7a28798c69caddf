//! [`MaintenanceThread`]: a thread that maintains a pool where no frame does it.

use std::fmt;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::pool::factory::{drop_quietly, guarded};
use crate::pool::slots::Slots;
use crate::pool::stats::Maintained;
use crate::pool::sync::{Arc, Instant, Weak};

/// The bounds of the time between two calls of `maintain`.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// Maintains a pool on a thread of its own, until it is dropped. See
/// [`VmPool::maintain_in_background`](crate::pool::VmPool::maintain_in_background).
///
/// Dropping it stops the thread and waits for it: at most for one `maintain`. It doesn't keep the
/// pool alive.
#[must_use = "the thread stops when this is dropped"]
pub struct MaintenanceThread {
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MaintenanceThread {
    pub(crate) fn start<V: Send + 'static>(
        slots: &Arc<Slots<V>>,
        report: impl FnMut(Maintained) + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let pool = Arc::downgrade(slots);
        let wait = move |interval| match stopped.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => Some(Instant::now()),
            _ => None,
        };
        let thread = thread::Builder::new()
            .name("vm-maintenance".to_owned())
            .spawn(|| keep(pool, wait, report))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for MaintenanceThread {
    fn drop(&mut self) {
        self.stop = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        // `report` may own its thread; a thread can't wait for itself.
        if thread.thread().id() != thread::current().id() {
            // It catches all panics there can be.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for MaintenanceThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaintenanceThread").finish_non_exhaustive()
    }
}

/// Maintains the pool whenever `wait` returns a time, until it returns none, or the pool is closed
/// or gone.
pub(crate) fn keep<V: Send + 'static>(
    pool: Weak<Slots<V>>,
    mut wait: impl FnMut(Duration) -> Option<Instant>,
    mut report: impl FnMut(Maintained),
) {
    while let Some(interval) = pool.upgrade().and_then(|slots| interval(&slots)) {
        let Some(now) = wait(interval) else {
            break;
        };
        let Some(slots) = pool.upgrade() else {
            break;
        };
        let done = slots.maintain(now);
        drop(slots);
        if done != Maintained::default() {
            // Go on with the maintenance even if the callback panics.
            let _ = guarded("the report of maintenance", || {
                report(done);
                Ok(())
            });
        }
    }
    drop_quietly(report);
}

/// A quarter of the interval of health checks, so that no check is late by much, within bounds that find hung VMs
/// soon. `None` when the pool is closed.
fn interval<V>(slots: &Slots<V>) -> Option<Duration> {
    let registry = slots.registry();
    let quarter = registry.config.health_check_interval / 4;
    (!registry.is_closed()).then(|| quarter.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL))
}
