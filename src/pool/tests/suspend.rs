//! A pool at rest: suspended, resumed, drained.

use std::thread;
use std::time::{Duration, Instant};

use super::{
    Got, LONG, assert_all_slots_there, assert_balanced, assert_quiet, built, pool, until, waiter,
};
use crate::pool::{DestroyReason, Lease, PoolError};

#[test]
fn a_suspended_pool_gives_no_lease_and_says_so() {
    let (pool, rig) = pool(0, 2);
    drop(pool.acquire().unwrap());
    pool.suspend();
    assert!(pool.stats().suspended);
    let error = pool.try_acquire().unwrap_err();
    assert!(error.to_string().contains("call `resume` to go on"), "{error}");
    let error = pool.acquire_timeout(Duration::from_millis(5)).unwrap_err();
    let PoolError::Suspended { waited } = error else {
        panic!("{error}");
    };
    assert!(waited >= Duration::from_millis(5));
    assert_eq!(pool.stats().timeouts, 2);
    pool.resume();
    assert!(!pool.stats().suspended);
    assert_eq!(Lease::id(&pool.try_acquire().unwrap()), 0);
    assert_quiet(&pool, &rig);
}

#[test]
fn who_waits_while_it_is_suspended_is_served_on_resume() {
    let (pool, rig) = pool(0, 2);
    let lease = pool.acquire().unwrap();
    pool.suspend();
    let waiters = [(); 4].map(|()| waiter(&pool, Duration::MAX));
    drop(lease);
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.waiting), (1, 4), "leases that are out go on and come back");
    pool.resume();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), Got::Lease);
    }
    assert_quiet(&pool, &rig);
    assert_all_slots_there(&pool);
}

#[test]
fn a_suspended_pool_is_not_filled() {
    let (pool, rig) = pool(2, 2);
    pool.suspend();
    assert_eq!(pool.maintain(Instant::now()).started, 0);
    assert_eq!(pool.warm_up().unwrap(), 0);
    assert_eq!(rig.alive(), 0);
    pool.resume();
    assert_eq!(pool.maintain(Instant::now()).started, 2);
    built(&pool);
    assert_quiet(&pool, &rig);
}

#[test]
fn a_suspended_pool_can_be_closed_and_its_waiters_learn_it() {
    let (pool, _rig) = pool(0, 1);
    pool.suspend();
    let waiter = waiter(&pool, Duration::MAX);
    assert!(pool.close(LONG));
    assert_eq!(waiter.join().unwrap(), Got::Closed);
}

#[test]
fn draining_waits_for_the_leases_and_leaves_no_vm() {
    let (pool, rig) = pool(0, 3);
    let leases = [(); 2].map(|()| pool.acquire().unwrap());
    drop(pool.acquire().unwrap());
    assert!(!pool.drain(Duration::ZERO), "two are leased");
    assert_eq!(rig.alive(), 2);
    let handle = pool.clone();
    let drainer = thread::spawn(move || handle.drain(LONG));
    until(|| pool.slots.registry().awaiting_empty == 1);
    drop(leases);
    assert!(drainer.join().unwrap());
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.idle, stats.leased, rig.alive()), (0, 0, 0));
    assert_eq!(stats.destroyed_by(DestroyReason::Evicted), 3);
    assert!(stats.suspended);

    pool.resume();
    assert_eq!(Lease::id(&pool.acquire().unwrap()), 3, "a new one");
    assert_all_slots_there(&pool);
}

#[test]
fn draining_waits_for_a_vm_that_is_being_made() {
    let (pool, rig) = pool(1, 1);
    let (reached, go_on) = rig.create.then_stop();
    assert_eq!(pool.maintain(Instant::now()).started, 1);
    reached.recv_timeout(LONG).unwrap();
    assert!(!pool.drain(Duration::ZERO));
    go_on.send(()).unwrap();
    assert!(pool.drain(LONG));
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.created, stats.destroyed_by(DestroyReason::Evicted)), (1, 1));
}

#[test]
fn suspending_and_draining_under_load_loses_nobody() {
    let (pool, rig) = pool(1, 3);
    let borrowers: Vec<_> = (0..6)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || {
                for _ in 0..200 {
                    pool.acquire_timeout(LONG).unwrap().dirt += 1;
                }
            })
        })
        .collect();
    while !borrowers.iter().all(|thread| thread.is_finished()) {
        assert!(pool.drain(LONG));
        assert_eq!(rig.alive(), 0);
        assert_balanced(&pool.stats());
        pool.resume();
        let before = pool.stats().acquired;
        until(|| {
            pool.stats().acquired > before || borrowers.iter().all(|thread| thread.is_finished())
        });
    }
    borrowers.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(assert_quiet(&pool, &rig).acquired, 1200);
}
