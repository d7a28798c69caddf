//! What `acquire` does when no VM is free.

use std::thread;
use std::time::Duration;

use super::{Got, LONG, assert_quiet, patient, pool_with, pool_with_one_leased};
use crate::pool::{Overflow, PoolConfig, PoolError};

#[test]
fn overflow_says_what_acquire_does_when_all_are_leased() {
    let acquire = |overflow| {
        let config = PoolConfig { min_size: 0, max_size: 1, overflow, ..patient() };
        let (pool, rig) = pool_with(PoolConfig { acquire_timeout: LONG, ..config });
        let lease = pool_with_one_leased(&pool);
        (pool, rig, lease)
    };
    let (pool, rig, lease) = acquire(Overflow::Wait);
    let handle = pool.clone();
    let waiter = thread::spawn(move || Got::from(handle.acquire().map(drop)));
    super::until(|| pool.stats().waiting == 1);
    drop(lease);
    assert_eq!(waiter.join().unwrap(), Got::Lease);
    assert_quiet(&pool, &rig);

    let (pool, rig, _lease) = acquire(Overflow::Fail);
    let error = pool.acquire().unwrap_err();
    let PoolError::Exhausted { waited, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((waited, assert_quiet(&pool, &rig).timeouts), (Duration::ZERO, 1));

    let (pool, rig, _lease) = acquire(Overflow::Defer);
    let error = pool.acquire_for("orbit").unwrap_err();
    assert!(matches!(error, PoolError::Deferred { leased: 1, max_size: 1 }), "{error}");
    assert!(error.to_string().contains("ask again later, such as in the next frame"));
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.timeouts, stats.building), (1, 0));
    // Who says for how long isn't asked.
    assert_eq!(Got::from(pool.try_acquire().map(drop)), Got::Exhausted);
}

#[test]
fn who_fails_at_once_still_gets_a_new_vm_where_there_is_a_slot() {
    let config = PoolConfig { overflow: Overflow::Fail, min_size: 0, max_size: 2, ..patient() };
    let (pool, rig) = pool_with(config);
    let _leases = [pool.acquire().unwrap(), pool.acquire().unwrap()];
    assert_eq!(Got::from(pool.acquire().map(drop)), Got::Exhausted);
    assert_eq!(assert_quiet(&pool, &rig).created, 2);
}

#[test]
fn who_defers_never_waits_for_the_factory_but_sees_that_it_works() {
    let config = PoolConfig { overflow: Overflow::Defer, min_size: 0, max_size: 2, ..patient() };
    let (pool, rig) = pool_with(config);
    let (reached, go_on) = rig.create.then_stop();
    assert_eq!(Got::from(pool.acquire().map(drop)), Got::Deferred);
    reached.recv_timeout(LONG).unwrap();
    assert_eq!(Got::from(pool.acquire().map(drop)), Got::Deferred);
    assert_eq!(pool.stats().building, 1, "one at a time");
    go_on.send(()).unwrap();
    super::until(|| pool.stats().idle == 1);
    let first = pool.acquire().unwrap();
    assert_eq!(Got::from(pool.acquire().map(drop)), Got::Deferred);
    super::until(|| pool.stats().idle == 1);
    let second = pool.acquire().unwrap();
    assert_eq!(Got::from(pool.acquire().map(drop)), Got::Deferred);
    super::built(&pool);
    drop((first, second));
    assert_eq!(assert_quiet(&pool, &rig).created, 2);
}
