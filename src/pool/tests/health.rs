//! The health check: which VMs it looks at, when, and what becomes of those that are found changed.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::{LONG, Step, assert_all_slots_there, assert_balanced, assert_quiet, built, pool};
use crate::pool::{DestroyReason, IncidentKind, Lease, PoolConfig};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn idle_vms_are_checked_once_in_an_interval() {
    let (pool, rig) = pool(1, 1);
    assert_eq!(pool.warm_up().unwrap(), 1);
    let now = Instant::now();
    let _ = pool.maintain(now);
    rig.check.then(Step::Fail);
    assert_eq!(pool.maintain(now + 29 * SECOND).unsound, 0, "it is not looked at");
    let done = pool.maintain(now + 30 * SECOND);
    assert_eq!((done.unsound, done.evicted(), done.started), (1, 1, 1));
    built(&pool);
    rig.check.then(Step::Fail);
    assert_eq!(pool.maintain(now + 59 * SECOND).unsound, 0);
    assert_eq!(pool.maintain(now + 61 * SECOND).unsound, 1);
    built(&pool);
    assert_eq!(assert_quiet(&pool, &rig).quarantines, 2);
}

#[test]
fn a_new_configuration_is_a_reason_to_check_at_once() {
    let (pool, rig) = pool(1, 1);
    assert_eq!(pool.warm_up().unwrap(), 1);
    let now = Instant::now();
    let _ = pool.maintain(now);
    rig.check.then(Step::Fail);
    pool.set_config(pool.config()).unwrap();
    assert_eq!(pool.maintain(now).unsound, 1);
}

#[test]
fn a_changed_vm_is_quarantined_and_named_with_what_it_ran() {
    for (step, reason) in
        [(Step::Fail, DestroyReason::ValidationFailed), (Step::Panic, DestroyReason::Panicked)]
    {
        let (pool, rig) = pool(0, 2);
        let mut lease = pool.acquire().unwrap();
        lease.program = Some("rogue.luau".into());
        let other = pool.acquire().unwrap();
        drop((lease, other));
        // The one that has been idle for longest comes first.
        rig.check.then(step);
        let done = pool.maintain(Instant::now());
        assert_eq!((done.unsound, done.incidents.len()), (1, 1), "{done:?}");
        let incident = &done.incidents[0];
        assert_eq!((incident.kind, incident.vm), (IncidentKind::ValidationFailed, Some(0)));
        let says = "VM 0, which ran \"rogue.luau\" last: found changed, and is destroyed: ";
        assert!(incident.to_string().starts_with(says), "{incident}");
        let stats = assert_quiet(&pool, &rig);
        assert_eq!((stats.quarantines, stats.destroyed_by(reason), stats.idle), (1, 1, 1));
        assert_all_slots_there(&pool);
    }
}

#[test]
fn a_changed_vm_is_in_quarantine_until_it_is_gone() {
    let (pool, rig) = pool(0, 1);
    let mut lease = pool.acquire().unwrap();
    let ((reached, was_reached), (go_on, told)) = (bounded(1), bounded(1));
    lease.drop_stops = Some((reached, told));
    drop(lease);
    rig.check.then(Step::Fail);
    let handle = pool.clone();
    let keeper = thread::spawn(move || handle.maintain(Instant::now()).unsound);
    was_reached.recv_timeout(LONG).unwrap();
    let stats = pool.stats();
    assert_balanced(&stats);
    assert_eq!((stats.quarantined, stats.leased, stats.idle), (1, 0, 0));
    assert!(pool.vms()[0].quarantined);
    assert!(pool.try_acquire().is_err(), "it has its slot until then");
    go_on.send(()).unwrap();
    assert_eq!(keeper.join().unwrap(), 1);
    assert_eq!(assert_quiet(&pool, &rig).quarantined, 0);
    assert_all_slots_there(&pool);
}

#[test]
fn the_others_can_be_leased_while_one_is_checked() {
    let (pool, rig) = pool(2, 2);
    assert_eq!(pool.warm_up().unwrap(), 2);
    let (reached, go_on) = rig.check.then_stop();
    let handle = pool.clone();
    let keeper = thread::spawn(move || handle.maintain(Instant::now()).evicted());
    reached.recv_timeout(LONG).unwrap();
    let lease = pool.try_acquire().unwrap();
    assert_eq!(Lease::id(&lease), 1);
    assert!(pool.try_acquire().is_err(), "the one that is checked is not to be had");
    let stats = pool.stats();
    assert_balanced(&stats);
    assert_eq!((stats.leased, stats.idle), (2, 0));
    go_on.send(()).unwrap();
    assert_eq!(keeper.join().unwrap(), 0);
    assert_eq!(Lease::id(&pool.try_acquire().unwrap()), 0);
    drop(lease);
    assert_quiet(&pool, &rig);
}

#[test]
fn a_waiter_gets_the_vm_whose_check_is_over() {
    let (pool, rig) = pool(1, 1);
    assert_eq!(pool.warm_up().unwrap(), 1);
    let (reached, go_on) = rig.check.then_stop();
    let handle = pool.clone();
    let keeper = thread::spawn(move || drop(handle.maintain(Instant::now())));
    reached.recv_timeout(LONG).unwrap();
    let waiter = super::waiter(&pool, Duration::MAX);
    go_on.send(()).unwrap();
    assert_eq!(waiter.join().unwrap(), super::Got::Lease);
    keeper.join().unwrap();
    assert_eq!(assert_quiet(&pool, &rig).created, 1);
}

#[test]
fn a_check_changes_neither_the_order_nor_the_idle_time() {
    let (pool, _rig) = pool(0, 3);
    let [a, b, c] = [(); 3].map(|()| pool.acquire().unwrap());
    // The last one given back is leased first.
    drop(b);
    drop(c);
    drop(a);
    let now = Instant::now();
    for minute in 0..4 {
        assert_eq!(pool.maintain(now + minute * MINUTE).evicted(), 0);
    }
    let order = [(); 3].map(|()| pool.try_acquire().unwrap()).map(|lease| Lease::id(&lease));
    assert_eq!(order, [0, 2, 1]);
    assert_eq!(pool.maintain(now + 4 * MINUTE).evicted(), 0);
    assert_eq!(pool.maintain(now + 6 * MINUTE).idle, 3, "a check is not a use");
}

#[test]
fn a_vm_that_is_checked_when_the_pool_closes_is_destroyed() {
    let (pool, rig) = pool(1, 1);
    assert_eq!(pool.warm_up().unwrap(), 1);
    let (reached, go_on) = rig.check.then_stop();
    let handle = pool.clone();
    let keeper = thread::spawn(move || drop(handle.maintain(Instant::now())));
    reached.recv_timeout(LONG).unwrap();
    assert!(!pool.close(Duration::ZERO));
    go_on.send(()).unwrap();
    assert!(pool.close(LONG));
    keeper.join().unwrap();
    assert_eq!(assert_quiet(&pool, &rig).destroyed_by(DestroyReason::Closed), 1);
}

#[test]
fn a_vm_that_holds_too_much_at_rest_is_replaced() {
    let (pool, rig) = pool(0, 2);
    let limit = pool.config().resting_memory();
    let mut lease = pool.acquire().unwrap();
    lease.memory = limit;
    drop(lease);
    assert_eq!(assert_quiet(&pool, &rig).idle, 1, "exactly so much is allowed");
    pool.acquire().unwrap().memory = limit + 1;
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.idle, stats.destroyed_by(DestroyReason::OverMemory)), (0, 1));

    // And at a health check, where the limit was lowered meanwhile.
    let mut lease = pool.acquire().unwrap();
    lease.memory = 128 * 1024;
    drop(lease);
    let config = PoolConfig { max_resting_memory: Some(64 * 1024), ..pool.config() };
    pool.set_config(config).unwrap();
    assert_eq!(pool.maintain(Instant::now()).over_memory, 1);
    assert_eq!(assert_quiet(&pool, &rig).destroyed_by(DestroyReason::OverMemory), 2);
}

#[test]
fn a_clock_that_jumps_back_and_forth_neither_stops_the_checks_nor_loses_a_vm() {
    let (pool, rig) = pool(2, 3);
    assert_eq!(pool.warm_up().unwrap(), 2);
    let start = Instant::now();
    // Ahead by a day: the VMs have reached the end of their lives, once.
    let tomorrow = start + 24 * 60 * MINUTE;
    assert_eq!(pool.maintain(tomorrow).lifetime, 2);
    built(&pool);
    // Back again. The checks go on at once, and not only when tomorrow has come.
    rig.check.then(Step::Fail);
    assert_eq!(pool.maintain(start).unsound, 1);
    built(&pool);
    rig.check.then(Step::Fail);
    assert_eq!(pool.maintain(start + MINUTE).unsound, 1);
    built(&pool);
    for (jump, back) in [(3, 0), (59, 2), (4, 4), (0, 1)] {
        let _lease = pool.acquire().unwrap();
        let _ = pool.maintain(start + jump * MINUTE);
        let _ = pool.maintain(start.checked_sub(back * SECOND).unwrap_or(start));
        built(&pool);
        let stats = assert_quiet(&pool, &rig);
        assert_eq!(stats.idle + stats.leased, 2, "{stats:?}");
    }
    assert_all_slots_there(&pool);
}
