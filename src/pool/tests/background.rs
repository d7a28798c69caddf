//! Maintenance on a thread of its own.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::{LONG, Rig, Step, Vm, assert_quiet, built, patient, pool, pool_with, until};
use crate::pool::background::keep;
use crate::pool::{IncidentKind, Maintained, PoolConfig, VmPool};

/// A maintenance loop whose clock the test has in hand.
struct Keeper {
    /// A time goes in for each round …
    clock: Sender<Instant>,
    /// … and the interval that the loop means to wait comes out before it.
    intervals: Receiver<Duration>,
    reports: Receiver<Maintained>,
    thread: thread::JoinHandle<()>,
}

fn keeper(pool: &VmPool<Vm>) -> Keeper {
    let (clock, times) = bounded::<Instant>(0);
    let (asked, intervals) = unbounded();
    let (reported, reports) = unbounded();
    let slots = Arc::downgrade(&pool.slots);
    let thread = thread::spawn(move || {
        let wait = |interval| {
            let _ = asked.send(interval);
            times.recv().ok()
        };
        keep(slots, wait, |done| reported.send(done).unwrap());
    });
    Keeper { clock, intervals, reports, thread }
}

impl Keeper {
    fn interval(&self) -> Duration {
        self.intervals.recv_timeout(LONG).unwrap()
    }
}

#[test]
fn it_maintains_and_reports_what_it_did() {
    let (pool, rig) = pool(2, 2);
    let keeper = keeper(&pool);
    keeper.interval();
    keeper.clock.send(Instant::now()).unwrap();
    assert_eq!(keeper.reports.recv_timeout(LONG).unwrap().started, 2);
    built(&pool);
    rig.reset.then(Step::Fail);
    drop(pool.acquire().unwrap());
    keeper.interval();
    keeper.clock.send(Instant::now()).unwrap();
    let done = keeper.reports.recv_timeout(LONG).unwrap();
    assert_eq!((done.started, done.incidents[0].kind), (1, IncidentKind::ResetFailed));
    built(&pool);
    keeper.interval();
    keeper.clock.send(Instant::now()).unwrap();
    keeper.interval();
    assert!(keeper.reports.is_empty(), "nothing to do is nothing to report");
    drop(keeper.clock);
    keeper.thread.join().unwrap();
    assert_quiet(&pool, &rig);
}

#[test]
fn it_looks_often_enough_for_the_health_check_and_never_all_the_time() {
    for (interval, expected) in [(30_000, 1000), (2000, 500), (1, 10)] {
        let health_check_interval = Duration::from_millis(interval);
        let (pool, _rig) = pool_with(PoolConfig { health_check_interval, ..patient() });
        let keeper = keeper(&pool);
        assert_eq!(keeper.interval(), Duration::from_millis(expected));
    }
}

#[test]
fn it_ends_when_the_pool_is_closed_or_gone() {
    let (pool, _rig) = pool(1, 1);
    let closed = keeper(&pool);
    closed.interval();
    let gone = keeper(&pool);
    gone.interval();
    assert!(pool.close(Duration::ZERO));
    closed.clock.send(Instant::now()).unwrap();
    closed.thread.join().unwrap();
    drop(pool);
    gone.clock.send(Instant::now()).unwrap();
    gone.thread.join().unwrap();
}

#[test]
fn it_does_not_keep_the_pool_alive() {
    let (pool, rig) = pool(1, 1);
    assert_eq!(pool.warm_up().unwrap(), 1);
    let keeper = pool.maintain_in_background(drop).unwrap();
    drop(pool);
    // The thread may be in the middle of a `maintain`, and holds it for so long.
    until(|| rig.alive() == 0);
    drop(keeper);
}

#[test]
fn a_report_that_panics_is_no_reason_to_neglect_the_pool() {
    let (pool, rig) = pool(1, 1);
    let slots = Arc::downgrade(&pool.slots);
    let (clock, times) = bounded::<Instant>(0);
    let thread = thread::spawn(move || keep(slots, |_| times.recv().ok(), |_| panic!("no")));
    for round in 0..3 {
        clock.send(Instant::now()).unwrap();
        until(|| pool.stats().idle == 1);
        pool.evict_all();
        assert_eq!(rig.alive(), 0, "round {round}");
    }
    drop(clock);
    thread.join().unwrap();
}

#[test]
fn the_real_thread_fills_the_pool_and_stops_when_its_handle_goes() {
    let (pool, rig) = pool(2, 4);
    let ended = DropFlag::default();
    let flag = ended.clone();
    let keeper = pool
        .maintain_in_background(move |done| {
            let _keep = &flag;
            drop(done);
        })
        .unwrap();
    until(|| pool.stats().idle == 2);
    assert_eq!(Arc::strong_count(&ended.0), 2);
    drop(keeper);
    assert_eq!(Arc::strong_count(&ended.0), 1, "the thread is over");
    assert_eq!(pool.evict_all(), 2);
    assert_eq!(assert_quiet(&pool, &rig).idle, 0, "nobody fills it any more");
}

#[derive(Clone, Default)]
struct DropFlag(Arc<()>);

#[test]
fn a_report_may_own_the_thread_it_runs_on() {
    let (pool, rig): (VmPool<Vm>, Arc<Rig>) = pool(1, 1);
    let (give, take) = bounded(1);
    let (over, is_over) = bounded(1);
    let keeper = pool
        .maintain_in_background(move |_| {
            // Dropping it here must not wait for this very thread.
            if let Ok(keeper) = take.recv_timeout(LONG) {
                drop::<crate::pool::MaintenanceThread>(keeper);
                over.send(()).unwrap();
            }
        })
        .unwrap();
    give.send(keeper).unwrap();
    is_over.recv_timeout(LONG).unwrap();
    built(&pool);
    assert_quiet(&pool, &rig);
}
