//! A new configuration for a living pool.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use super::{Got, LONG, Step, assert_all_slots_there, assert_quiet, built, pool, waiter};
use crate::pool::{ConfigError, DestroyReason, PoolConfig, VmPool};

fn resize(pool: &VmPool<super::Vm>, min_size: usize, max_size: usize) {
    let config = PoolConfig { min_size, max_size, ..pool.config() };
    pool.set_config(config).unwrap();
    assert_eq!(pool.config().max_size, max_size);
}

#[test]
fn a_larger_size_is_there_at_once_also_for_waiters() {
    let (pool, rig) = pool(0, 1);
    let lease = pool.acquire().unwrap();
    let waiter = waiter(&pool, LONG);
    resize(&pool, 2, 3);
    assert_eq!(waiter.join().unwrap(), Got::Lease);
    drop(lease);
    assert_quiet(&pool, &rig);
    assert_all_slots_there(&pool);
}

#[test]
fn a_smaller_size_destroys_idle_vms_now_and_leased_ones_later() {
    let (pool, rig) = pool(0, 4);
    let [a, b, c, d] = [(); 4].map(|()| pool.acquire().unwrap());
    drop(d);
    resize(&pool, 0, 2);
    let stats = pool.stats();
    assert_eq!((stats.leased, stats.idle), (3, 0));
    assert!(pool.try_acquire().is_err());
    drop(a);
    assert_eq!(rig.alive(), 2);
    drop((b, c));
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.destroyed_by(DestroyReason::Shrunk)), (2, 2));
    assert_all_slots_there(&pool);
}

#[test]
fn shrink_then_grow_while_leased_keeps_every_slot() {
    let (pool, rig) = pool(0, 4);
    let leases = [(); 4].map(|()| pool.acquire().unwrap());
    resize(&pool, 0, 1);
    resize(&pool, 0, 3);
    resize(&pool, 0, 2);
    resize(&pool, 0, 6);
    let more = [pool.try_acquire().unwrap(), pool.try_acquire().unwrap()];
    assert!(pool.try_acquire().is_err());
    drop(leases);
    drop(more);
    assert_eq!(assert_quiet(&pool, &rig).idle, 6);
    assert_all_slots_there(&pool);
}

#[test]
fn vacant_slots_end_before_vms_do() {
    let (pool, rig) = pool(0, 5);
    let lease = pool.acquire().unwrap();
    resize(&pool, 0, 1);
    assert!(pool.try_acquire().is_err());
    drop(lease);
    assert_eq!(assert_quiet(&pool, &rig).destroyed, 0);
    assert_all_slots_there(&pool);
}

#[test]
fn a_larger_min_size_is_filled_by_maintain() {
    let (pool, rig) = pool(0, 4);
    resize(&pool, 3, 4);
    assert_eq!(pool.maintain(Instant::now()).started, 3);
    built(&pool);
    assert_eq!(assert_quiet(&pool, &rig).min_size, 3);
}

#[test]
fn a_lower_use_limit_holds_for_vms_that_are_idle_already() {
    let (pool, rig) = pool(0, 1);
    for _ in 0..5 {
        drop(pool.acquire().unwrap());
    }
    let config = PoolConfig { max_use_count: 5, ..pool.config() };
    pool.set_config(config).unwrap();
    drop(pool.try_acquire().unwrap());
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.created, stats.destroyed_by(DestroyReason::UseCount)), (2, 1));
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let (pool, _rig) = pool(0, 2);
    let wrong = PoolConfig { max_size: 0, ..pool.config() };
    let error = pool.set_config(wrong).unwrap_err();
    assert!(matches!(error, ConfigError::Invalid { field: "max_size", .. }));
    assert_eq!(pool.config().max_size, 2);
    assert_all_slots_there(&pool);
}

#[test]
fn resizing_under_load_never_goes_above_the_largest_size() {
    let (pool, rig) = pool(0, 8);
    let borrowers: Vec<_> = (0..12)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || {
                for _ in 0..300 {
                    pool.acquire_timeout(LONG).unwrap().dirt += 1;
                }
            })
        })
        .collect();
    for size in [1, 8, 3, 5, 2, 7, 1, 8, 4].into_iter().cycle().take(200) {
        resize(&pool, 0, size);
    }
    borrowers.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(rig.peak() <= 8, "there were {}", rig.peak());
    resize(&pool, 0, 3);
    let stats = pool.stats();
    assert!(stats.idle <= 3 && stats.leased == 0, "{stats:?}");
    assert_eq!(stats.idle, rig.alive());
    assert_all_slots_there(&pool);
}

#[test]
fn the_factory_is_told_of_each_change_and_says_whether_vms_are_replaced() {
    let (pool, rig) = pool(2, 3);
    assert_eq!(pool.warm_up().unwrap(), 2);
    let lease = pool.acquire().unwrap();
    resize(&pool, 2, 4);
    assert_eq!(assert_quiet(&pool, &rig).destroyed, 0);
    rig.replaces.store(true, Ordering::SeqCst);
    resize(&pool, 2, 5);
    drop(lease);
    assert_eq!(assert_quiet(&pool, &rig).destroyed_by(DestroyReason::Evicted), 2);
    assert!(pool.set_config(PoolConfig { max_size: 0, ..pool.config() }).is_err());
    assert_eq!(*rig.told.lock().unwrap(), [(3, 4), (4, 5)], "in their order, valid ones alone");

    // One that panics: who knows what it would have said.
    rig.replaces.store(false, Ordering::SeqCst);
    drop(pool.acquire().unwrap());
    rig.reconfigure.then(Step::Panic);
    resize(&pool, 2, 6);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.destroyed_by(DestroyReason::Evicted), stats.max_size), (3, 6));
    let incidents = pool.maintain(Instant::now()).incidents;
    assert!(incidents[0].message.contains("the reconfiguration of a factory panicked"));
}
