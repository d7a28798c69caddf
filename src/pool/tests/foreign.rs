//! VMs that a borrower puts in the place of the leased one, and the pool's own way to a fresh one.

use std::mem;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use super::{
    Got, LONG, Step, assert_all_slots_there, assert_balanced, assert_quiet, patient, pool,
    pool_with, waiter,
};
use crate::pool::{DestroyReason, IncidentKind, Lease, PoolConfig, PoolError};

#[test]
fn a_foreign_vm_is_destroyed_without_a_reset_and_named() {
    let (pool, rig) = pool(0, 2);
    let (other, others) = super::pool(0, 1);
    others.made.store(50, Ordering::SeqCst);
    let line = line!() + 1;
    let mut lease = pool.acquire().unwrap();
    let mut foreign = other.acquire().unwrap();
    mem::swap(&mut *lease, &mut *foreign);
    // Nothing of it is trusted: not even what it says of itself.
    lease.spent = true;
    drop(lease);
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.destroyed_by(DestroyReason::Foreign)), (0, 1));
    assert_eq!((stats.resets, stats.reset.count), (0, 0));
    assert_eq!((stats.created, stats.destroyed), (1, 1));
    let incidents = pool.maintain(Instant::now()).incidents;
    let [incident] = &incidents[..] else { panic!("{incidents:?}") };
    assert_eq!((incident.kind, incident.vm), (IncidentKind::Foreign, Some(0)));
    let place = format!("foreign.rs:{line}:");
    assert!(incident.message.contains(&place) && incident.message.contains("Lease::renew"));
    drop(foreign);
    assert_eq!(other.stats().destroyed_by(DestroyReason::Foreign), 1, "the other side too");
    assert_eq!(rig.alive(), 0);
    assert_all_slots_there(&pool);
}

#[test]
fn what_came_back_is_known_again_after_every_reset_and_check() {
    let (pool, rig) = pool(1, 1);
    assert_eq!(pool.warm_up().unwrap(), 1);
    for _ in 0..3 {
        pool.acquire().unwrap().dirt = 1;
        let _ = pool.maintain(Instant::now());
    }
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.idle, stats.destroyed, stats.acquired), (1, 0, 3));
}

#[test]
fn a_renewed_lease_has_a_fresh_vm_in_the_same_slot() {
    let (pool, rig) = pool(0, 1);
    let mut lease = pool.acquire().unwrap();
    lease.dirt = 5;
    let waiting = waiter(&pool, LONG);
    let line = line!() + 1;
    let lease = Lease::renew(lease, DestroyReason::Spent).unwrap();
    assert_eq!((Lease::id(&lease), lease.dirt, lease.number), (1, 0, 1));
    assert_eq!(rig.peak(), 1, "never two VMs in one slot");
    let vms = pool.vms();
    assert_eq!((vms.len(), vms[0].uses, vms[0].leased), (1, 1, true));
    assert_eq!(vms[0].leased_at.map(|place| place.line()), Some(line));
    let stats = pool.stats();
    assert_balanced(&stats);
    assert_eq!((stats.created, stats.destroyed_by(DestroyReason::Spent)), (2, 1));
    assert_eq!((stats.acquired, stats.use_time.count, stats.waiting), (2, 1, 1));
    drop(lease);
    assert_eq!(waiting.join().unwrap(), Got::Lease);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.acquired, stats.use_time.count, stats.idle), (3, 3, 1));
}

#[test]
fn a_lease_that_cannot_be_renewed_is_over_and_its_slot_free() {
    for step in [Step::Fail, Step::Panic] {
        let (pool, rig) = pool(0, 1);
        let lease = pool.acquire().unwrap();
        rig.create.then(step);
        let error = Lease::renew(lease, DestroyReason::Discarded).unwrap_err();
        assert!(matches!(error, PoolError::Create(_)), "{error}");
        let stats = assert_quiet(&pool, &rig);
        assert_eq!((stats.leased, stats.destroyed, stats.create_errors), (0, 1, 1));
        assert_all_slots_there(&pool);
    }
    // One slot too many since the pool was made smaller.
    let (pool, rig) = pool(0, 2);
    let [first, second] = [(); 2].map(|()| pool.acquire().unwrap());
    pool.set_config(PoolConfig { max_size: 1, ..pool.config() }).unwrap();
    let error = Lease::renew(first, DestroyReason::Discarded).unwrap_err();
    assert!(matches!(error, PoolError::Exhausted { .. }), "{error}");
    let second = Lease::renew(second, DestroyReason::Discarded).unwrap();
    let _ = pool.close(std::time::Duration::ZERO);
    let error = Lease::renew(second, DestroyReason::Discarded).unwrap_err();
    assert!(matches!(error, PoolError::Closed), "{error}");
    let stats = pool.stats();
    assert_balanced(&stats);
    assert_eq!((stats.leased, stats.idle, rig.alive()), (0, 0, 0));
}

#[test]
fn closing_sends_away_who_renews() {
    let (pool, rig) = pool(0, 1);
    let lease = pool.acquire().unwrap();
    let (reached, go_on) = rig.create.then_stop();
    let renewer =
        thread::spawn(move || Got::from(Lease::renew(lease, DestroyReason::Discarded).map(drop)));
    reached.recv_timeout(LONG).unwrap();
    assert!(!pool.close(std::time::Duration::ZERO));
    assert_eq!(renewer.join().unwrap(), Got::Closed);
    go_on.send(()).unwrap();
    assert!(pool.close(LONG));
    assert_eq!(assert_quiet(&pool, &rig).destroyed, 2);
}

#[test]
fn who_waited_in_vain_is_in_the_timings() {
    let config = PoolConfig { min_size: 0, max_size: 1, ..patient() };
    let (pool, rig) = pool_with(config);
    let lease = pool.acquire().unwrap();
    let time = std::time::Duration::from_millis(3);
    assert_eq!(Got::from(pool.acquire_timeout(time).map(drop)), Got::Exhausted);
    let wait = pool.stats().wait;
    assert_eq!(wait.count, 1, "the lease that is out counts when it ends");
    assert!(wait.last >= time, "{wait:?}");
    assert_eq!(Got::from(pool.try_acquire().map(drop)), Got::Exhausted);
    assert_eq!(pool.stats().wait.count, 1, "who is sent away at once did not wait");
    let waiting = waiter(&pool, LONG);
    assert!(!pool.close(std::time::Duration::ZERO));
    assert_eq!(waiting.join().unwrap(), Got::Closed);
    drop(lease);
    assert_eq!(assert_quiet(&pool, &rig).wait.count, 3);
}
