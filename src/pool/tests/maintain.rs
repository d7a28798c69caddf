//! Eviction, refill and leak detection, on an injected clock.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{LONG, Step, assert_all_slots_there, assert_quiet, built, patient, pool, pool_with};
use crate::pool::{DestroyReason, IncidentKind, Lease, Overflow, PoolConfig, PoolError};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn idle_eviction_keeps_min_size() {
    let (pool, rig) = pool(2, 6);
    let leases = [(); 6].map(|()| pool.acquire().unwrap());
    drop(leases);
    let now = Instant::now();
    assert_eq!(pool.maintain(now + 4 * MINUTE).evicted(), 0);
    let done = pool.maintain(now + 6 * MINUTE);
    assert_eq!((done.idle, done.evicted(), done.started), (4, 4, 0));
    assert_eq!(pool.maintain(now + 10 * MINUTE).evicted(), 0);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.idle, stats.destroyed_by(DestroyReason::Idle)), (2, 4));
    assert_all_slots_there(&pool);
}

#[test]
fn leased_vms_count_for_min_size_and_are_never_evicted() {
    let (pool, rig) = pool(2, 3);
    let [first, second, third] = [(); 3].map(|()| pool.acquire().unwrap());
    drop(third);
    let done = pool.maintain(Instant::now() + 6 * MINUTE);
    assert_eq!((done.idle, done.started), (1, 0));
    assert_eq!(assert_quiet(&pool, &rig).leased, 2);
    drop((first, second));
}

#[test]
fn vms_that_are_used_stay_and_the_surplus_expires() {
    let (pool, _rig) = pool(1, 3);
    let leases = [(); 3].map(|()| pool.acquire().unwrap());
    drop(leases);
    // Always the same VM is used, so the other two stay idle.
    for _ in 0..50 {
        assert_eq!(Lease::id(&pool.acquire().unwrap()), 2);
    }
    let done = pool.maintain(Instant::now() + 6 * MINUTE);
    assert_eq!(done.idle, 2);
    assert_eq!(pool.vms()[0].id, 2);
}

#[test]
fn old_vms_are_replaced() {
    let (pool, rig) = pool(2, 4);
    assert_eq!(pool.warm_up().unwrap(), 2);
    let now = Instant::now();
    assert_eq!(pool.maintain(now + 29 * MINUTE).evicted(), 0);
    let done = pool.maintain(now + 31 * MINUTE);
    assert_eq!((done.lifetime, done.started), (2, 2));
    built(&pool);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!(stats.destroyed_by(DestroyReason::Lifetime), 2);
}

#[test]
fn a_vm_past_its_lifetime_is_destroyed_when_its_lease_ends() {
    let config = PoolConfig { min_size: 0, max_lifetime: Duration::from_millis(1), ..patient() };
    let (pool, rig) = pool_with(config);
    let lease = pool.acquire().unwrap();
    let taken = Instant::now();
    super::until(|| taken.elapsed() > Duration::from_millis(1));
    drop(lease);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!(stats.destroyed_by(DestroyReason::Lifetime), 1);
}

#[test]
fn jitter_spreads_retirement() {
    let config = PoolConfig { min_size: 100, max_size: 100, lifetime_jitter: 0.5, ..patient() };
    let (pool, rig) = pool_with(config);
    assert_eq!(pool.warm_up().unwrap(), 100);
    let now = Instant::now();
    assert_eq!(pool.maintain(now + 14 * MINUTE).lifetime, 0);
    let first = pool.maintain(now + 20 * MINUTE).lifetime;
    assert!((15..55).contains(&first), "{first} of 100 in the first third");
    built(&pool);
    assert!(pool.maintain(now + 25 * MINUTE).lifetime > 0);
    let old: BTreeSet<u64> = (0..100).collect();
    let left = pool.vms().iter().filter(|vm| old.contains(&vm.id)).count();
    assert!((15..55).contains(&left), "{left} of 100 are left for the last third");
    // All of the first hundred are gone at the full lifetime.
    let _ = pool.maintain(now + 30 * MINUTE + LONG);
    assert!(pool.vms().iter().all(|vm| !old.contains(&vm.id)));
    built(&pool);
    assert_quiet(&pool, &rig);
}

#[test]
fn max_use_count_is_exact() {
    let config = PoolConfig { min_size: 0, max_size: 1, max_use_count: 3, ..patient() };
    let (pool, rig) = pool_with(config);
    let ids: Vec<u64> = (0..7).map(|_| Lease::id(&pool.acquire().unwrap())).collect();
    assert_eq!(ids, [0, 0, 0, 1, 1, 1, 2]);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.created, stats.destroyed), (3, 2));
    assert_eq!(stats.destroyed_by(DestroyReason::UseCount), 2);
    assert_eq!(pool.vms()[0].uses, 1);
}

#[test]
fn a_vm_made_by_warm_up_has_all_its_uses() {
    let config = PoolConfig { min_size: 1, max_size: 1, max_use_count: 1, ..patient() };
    let (pool, _rig) = pool_with(config);
    assert_eq!(pool.warm_up().unwrap(), 1);
    assert_eq!(pool.vms()[0].uses, 0);
    let lease = pool.acquire().unwrap();
    assert_eq!(Lease::id(&lease), 0);
    drop(lease);
    assert_eq!(Lease::id(&pool.acquire().unwrap()), 1);
}

#[test]
fn a_clock_that_jumps_back_destroys_nothing() {
    let (pool, rig) = pool(2, 2);
    assert_eq!(pool.warm_up().unwrap(), 2);
    let now = Instant::now();
    let before = now.checked_sub(Duration::from_secs(5)).unwrap_or(now);
    assert_eq!(pool.maintain(before).evicted(), 0);
    assert_eq!(pool.maintain(now + 31 * MINUTE).lifetime, 2);
    built(&pool);
    assert_eq!(pool.maintain(before).evicted(), 0);
    assert_eq!(assert_quiet(&pool, &rig).idle, 2);
}

#[test]
fn a_full_pool_has_nothing_to_maintain() {
    let (pool, rig) = pool(2, 2);
    assert_eq!(pool.warm_up().unwrap(), 2);
    assert_eq!(pool.maintain(Instant::now()), Default::default());
    assert_quiet(&pool, &rig);
}

#[test]
fn evict_all_takes_idle_vms_now_and_leased_ones_when_they_come_back() {
    let (pool, rig) = pool(2, 3);
    assert_eq!(pool.warm_up().unwrap(), 2);
    let lease = pool.acquire().unwrap();
    assert_eq!(pool.evict_all(), 1);
    assert_eq!(assert_quiet(&pool, &rig).leased, 1);
    let new = pool.acquire().unwrap();
    assert_eq!(Lease::id(&new), 2);
    drop(lease);
    drop(new);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.idle, stats.destroyed_by(DestroyReason::Evicted)), (1, 2));
    assert_eq!(pool.maintain(Instant::now()).started, 1);
    built(&pool);
    assert_all_slots_there(&pool);
}

#[test]
fn a_vm_whose_making_began_before_evict_all_is_an_old_one() {
    let (pool, rig) = pool(0, 1);
    let (reached, go_on) = rig.create.then_stop();
    let handle = pool.clone();
    let maker = std::thread::spawn(move || Lease::id(&handle.acquire().unwrap()));
    reached.recv_timeout(LONG).unwrap();
    assert_eq!(pool.evict_all(), 0);
    go_on.send(()).unwrap();
    assert_eq!(maker.join().unwrap(), 0);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!(stats.destroyed_by(DestroyReason::Evicted), 1);
}

#[test]
fn an_overdue_lease_is_named_once_with_the_place_that_took_it() {
    let (pool, _rig) = pool(0, 2);
    let now = Instant::now();
    let line = line!() + 1;
    let lease = pool.acquire().unwrap();
    assert!(pool.maintain(now + Duration::from_secs(20)).incidents.is_empty());
    let incidents = pool.maintain(now + MINUTE).incidents;
    assert_eq!(incidents.len(), 1);
    assert_eq!((incidents[0].kind, incidents[0].vm), (IncidentKind::LeaseOverdue, Some(0)));
    let place = format!("maintain.rs:{line}:");
    assert!(incidents[0].message.contains(&place), "{incidents:?}");
    assert!(pool.maintain(now + 2 * MINUTE).incidents.is_empty());
    assert_eq!(pool.stats().overdue, 1);
    let vm = &pool.vms()[0];
    assert!(vm.overdue && vm.leased);
    assert_eq!(vm.leased_at.map(|place| place.line()), Some(line));
    drop(lease);
    let vm = &pool.vms()[0];
    assert!(!vm.overdue && !vm.leased && vm.leased_at.is_none());
}

#[test]
fn a_lease_of_an_old_vm_is_not_overdue_by_the_age_of_the_vm() {
    let config = PoolConfig { leak_threshold: Some(Duration::from_millis(1)), ..patient() };
    let (pool, _rig) = pool_with(config);
    assert_eq!(pool.warm_up().unwrap(), 2);
    let made = Instant::now();
    super::until(|| made.elapsed() > Duration::from_millis(2));
    let now = Instant::now();
    let _lease = pool.acquire().unwrap();
    assert!(pool.maintain(now).incidents.is_empty());
    assert_eq!(pool.maintain(now + MINUTE).incidents.len(), 1);
}

#[test]
fn vm_infos_tell_what_each_vm_is_doing() {
    let (pool, _rig) = pool(0, 2);
    let mut lease = pool.acquire().unwrap();
    lease.program = Some("orbit".into());
    let other = pool.acquire().unwrap();
    drop(lease);
    let vms = pool.vms();
    assert_eq!(vms.len(), 2);
    assert_eq!((vms[0].id, vms[0].uses, vms[0].leased), (0, 1, false));
    assert_eq!(vms[0].last_program.as_deref(), Some("orbit"));
    assert_eq!((vms[1].memory_bytes, vms[1].leased), (100, true));
    drop(other);
}

#[test]
fn a_factory_that_failed_has_its_rest_whatever_the_clock_says() {
    let second = Duration::from_secs(1);
    let day = Duration::from_secs(24 * 60 * 60);
    let start = Instant::now() + day;
    // By a clock that is a day ahead, by the real one, and by one that stands still.
    for began in [start + day, start, start.checked_sub(day).unwrap_or(start)] {
        let (pool, rig) = pool(1, 1);
        let asked = |now| {
            rig.create.then(Step::Fail);
            let asked = pool.maintain(now).started;
            built(&pool);
            rig.clear();
            asked
        };
        assert_eq!(asked(began), 1);
        for frame in 0..20 {
            assert_eq!(asked(began + frame * second / 21), 0, "it has a second");
        }
        assert_eq!(asked(began + second), 1);
        assert_eq!(asked(began + second + second / 2), 0);
        assert_eq!(pool.stats().create_errors, 2);
    }
}

#[test]
fn a_factory_that_failed_has_its_rest_from_who_defers_too() {
    let config = PoolConfig { overflow: Overflow::Defer, min_size: 0, max_size: 2, ..patient() };
    let (pool, rig) = pool_with(config);
    // The clock of those who maintain the pool is a day ahead.
    let _ = pool.maintain(Instant::now() + 24 * 60 * MINUTE);
    let began = Instant::now();
    for _ in 0..20 {
        rig.create.then(Step::Fail);
        assert!(matches!(pool.acquire(), Err(PoolError::Deferred { .. })));
        built(&pool);
    }
    // On a machine that takes a second for this, the rest is over meanwhile.
    let errors = pool.stats().create_errors;
    assert!(errors == 1 || began.elapsed() > Duration::from_secs(1), "{errors}");
}
