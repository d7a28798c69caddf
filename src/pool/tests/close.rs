//! Closing, at every inconvenient moment.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::{Got, LONG, Step, assert_quiet, pool, waiter};
use crate::pool::{DestroyReason, IncidentKind, PoolError};

#[test]
fn close_destroys_idle_vms_and_gives_no_more_leases() {
    let (pool, rig) = pool(2, 3);
    assert_eq!(pool.warm_up().unwrap(), 2);
    assert!(!pool.is_closed());
    assert!(pool.close(Duration::ZERO));
    assert!(pool.is_closed());
    assert_eq!(rig.alive(), 0);
    assert!(matches!(pool.acquire(), Err(PoolError::Closed)));
    assert!(matches!(pool.try_acquire(), Err(PoolError::Closed)));
    assert!(matches!(pool.warm_up(), Err(PoolError::Closed)));
    assert_eq!(pool.maintain(Instant::now()).started, 0);
    assert_eq!(pool.evict_all(), 0);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!(stats.destroyed_by(DestroyReason::Closed), 2);
    assert_eq!((stats.idle, stats.leased, stats.created), (0, 0, 2));
}

#[test]
fn close_wakes_all_waiters_at_once() {
    let (pool, _rig) = pool(0, 1);
    let lease = pool.acquire().unwrap();
    let waiters = [(); 5].map(|()| waiter(&pool, Duration::MAX));
    assert!(!pool.close(Duration::ZERO));
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), Got::Closed);
    }
    drop(lease);
}

#[test]
fn close_waits_for_leases_and_may_be_called_twice() {
    let (pool, rig) = pool(0, 2);
    let lease = pool.acquire().unwrap();
    assert!(!pool.close(Duration::from_millis(5)));
    assert_eq!(rig.alive(), 1, "a lease is never torn from its borrower");
    let handle = pool.clone();
    let (started, start) = bounded(1);
    let closer = thread::spawn(move || {
        started.send(Instant::now()).unwrap();
        handle.close(LONG)
    });
    let began = start.recv().unwrap();
    drop(lease);
    assert!(closer.join().unwrap());
    assert!(began.elapsed() < LONG / 2, "the last lease ends the waiting");
    assert!(pool.close(Duration::ZERO));
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.leased, stats.destroyed_by(DestroyReason::Closed)), (0, 1));
}

#[test]
fn a_vm_that_is_being_made_when_the_pool_closes_is_destroyed() {
    let (pool, rig) = pool(0, 1);
    let (reached, go_on) = rig.create.then_stop();
    let handle = pool.clone();
    let maker = thread::spawn(move || Got::from(handle.acquire().map(drop)));
    reached.recv_timeout(LONG).unwrap();
    assert!(!pool.close(Duration::ZERO), "one is being made");
    assert_eq!(maker.join().unwrap(), Got::Closed, "it needn't wait for the factory");
    go_on.send(()).unwrap();
    assert!(pool.close(LONG));
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.created, stats.destroyed), (1, 1));
}

#[test]
fn a_refill_is_stopped_by_close() {
    let (pool, rig) = pool(3, 3);
    let (reached, go_on) = rig.create.then_stop();
    let handle = pool.clone();
    let filler = thread::spawn(move || handle.warm_up());
    reached.recv_timeout(LONG).unwrap();
    assert!(!pool.close(Duration::ZERO));
    go_on.send(()).unwrap();
    assert!(matches!(filler.join().unwrap(), Err(PoolError::Closed)));
    assert!(pool.close(LONG));
    assert_eq!(assert_quiet(&pool, &rig).created, 1);
}

#[test]
fn a_vm_that_is_being_reset_when_the_pool_closes_is_destroyed() {
    let (pool, rig) = pool(0, 1);
    let (reached, go_on) = rig.reset.then_stop();
    let lease = pool.acquire().unwrap();
    let releaser = thread::spawn(move || drop(lease));
    reached.recv_timeout(LONG).unwrap();
    assert!(!pool.close(Duration::ZERO));
    go_on.send(()).unwrap();
    assert!(pool.close(LONG));
    releaser.join().unwrap();
    assert_eq!(assert_quiet(&pool, &rig).destroyed_by(DestroyReason::Closed), 1);
}

#[test]
fn many_threads_may_close_while_others_lease() {
    let (pool, rig) = pool(2, 4);
    let borrowers: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || {
                loop {
                    match pool.acquire_timeout(LONG) {
                        Ok(mut lease) => lease.dirt += 1,
                        Err(PoolError::Closed) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    super::until(|| pool.stats().acquired > 100);
    let closers: Vec<_> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || pool.close(LONG))
        })
        .collect();
    for closer in closers {
        assert!(closer.join().unwrap());
    }
    borrowers.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.idle, stats.leased), (0, 0));
}

#[test]
fn close_interrupts_the_leases_that_do_not_end_in_time() {
    let (pool, rig) = pool(0, 3);
    rig.interruptible.store(true, Ordering::SeqCst);
    let leases = [(); 2].map(|()| pool.acquire().unwrap());
    drop(pool.acquire().unwrap());
    let borrowers = leases.map(|lease| {
        let (interrupted, go_on) = rig.interrupt.then_stop();
        go_on.send(()).unwrap();
        thread::spawn(move || {
            interrupted.recv_timeout(LONG).unwrap();
            drop(lease);
        })
    });
    // With no time at all they are told at once, and nobody waits for them.
    let _ = pool.close(Duration::ZERO);
    assert!(pool.close(LONG), "both have come back");
    borrowers.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.leased, stats.destroyed_by(DestroyReason::Closed)), (0, 3));
}

#[test]
fn close_does_not_interrupt_who_comes_back_in_time() {
    let (pool, rig) = pool(0, 1);
    rig.interruptible.store(true, Ordering::SeqCst);
    let lease = pool.acquire().unwrap();
    let (interrupted, _go_on) = rig.interrupt.then_stop();
    let handle = pool.clone();
    let closer = thread::spawn(move || handle.close(LONG));
    super::until(|| pool.slots.registry().awaiting_empty == 1);
    drop(lease);
    assert!(closer.join().unwrap());
    assert!(interrupted.try_recv().is_err());
    assert_eq!(assert_quiet(&pool, &rig).destroyed, 1);
}

#[test]
fn an_interrupter_that_panics_spares_nobody_else() {
    let (pool, rig) = pool(0, 2);
    rig.interruptible.store(true, Ordering::SeqCst);
    let [first, second] = [(); 2].map(|()| pool.acquire().unwrap());
    rig.interrupt.then(Step::Panic);
    let (interrupted, go_on) = rig.interrupt.then_stop();
    go_on.send(()).unwrap();
    let borrower = thread::spawn(move || {
        interrupted.recv_timeout(LONG).unwrap();
        drop((first, second));
    });
    let _ = pool.close(Duration::ZERO);
    assert!(pool.close(LONG));
    borrower.join().unwrap();
    assert_quiet(&pool, &rig);
    let incidents = pool.maintain(Instant::now()).incidents;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].kind, IncidentKind::BorrowerPanicked);
    assert!(incidents[0].message.contains("the interrupter of a VM panicked: as planned"));
}

#[test]
fn the_last_handle_may_go_while_a_vm_is_made() {
    let (pool, rig) = pool(1, 1);
    let (reached, go_on) = rig.create.then_stop();
    assert_eq!(pool.maintain(Instant::now()).started, 1);
    reached.recv_timeout(LONG).unwrap();
    drop(pool);
    go_on.send(()).unwrap();
    super::until(|| rig.peak() == 1 && rig.alive() == 0);
}
