//! Making and resetting that takes too long, or never ends.

use std::thread;
use std::time::{Duration, Instant};

use super::{
    Got, LONG, Step, Vm, assert_all_slots_there, assert_balanced, assert_quiet, built, patient,
    pool, pool_with, until, waiter,
};
use crate::pool::{DestroyReason, IncidentKind, Lease, PoolConfig, PoolError, PoolStats, VmPool};

const MILLI: Duration = Duration::from_millis(1);

/// A time at which everything that began until now is late.
fn much_later() -> Instant {
    Instant::now() + 2 * LONG
}

/// Lets so much real time pass.
fn pass(time: Duration) {
    let began = Instant::now();
    until(|| began.elapsed() > time);
}

/// Asks for a VM on another thread.
fn asker(pool: &VmPool<Vm>) -> thread::JoinHandle<Got> {
    let handle = pool.clone();
    thread::spawn(move || Got::from(handle.acquire().map(drop)))
}

/// The figures, checked; for moments at which there may be more VMs than slots.
fn balanced(pool: &VmPool<Vm>) -> PoolStats {
    let stats = pool.stats();
    assert_balanced(&stats);
    stats
}

#[test]
fn a_factory_that_hangs_holds_a_slot_until_create_timeout_and_no_longer() {
    let (pool, rig) = pool(0, 2);
    let lease = pool.acquire().unwrap();
    let (reached, go_on) = rig.create.then_stop();
    let owner = asker(&pool);
    reached.recv_timeout(LONG).unwrap();
    let waiter = waiter(&pool, Duration::MAX);
    let _ = pool.maintain(Instant::now() + LONG / 2);
    assert_eq!((pool.stats().building, pool.stats().waiting), (1, 1), "it still has time");

    let done = pool.maintain(much_later());
    assert_eq!(owner.join().unwrap(), Got::CreateTimedOut);
    assert_eq!(waiter.join().unwrap(), Got::Lease, "in the slot of the one that hangs");
    assert_eq!(done.incidents[0].kind, IncidentKind::CreateTimedOut);
    let stats = pool.stats();
    assert_eq!((stats.building, stats.hung_builds), (0, 1));
    assert_eq!((stats.create_errors, stats.create_timeouts), (1, 1));
    assert_eq!((stats.created, rig.alive()), (2, 2), "a VM that isn't there yet isn't counted");
    drop(lease);

    go_on.send(()).unwrap();
    until(|| pool.stats().destroyed == 1);
    let stats = balanced(&pool);
    assert_eq!((stats.created, stats.destroyed_by(DestroyReason::TooLate)), (3, 1));
    assert_eq!((stats.hung_builds, stats.idle, rig.alive()), (0, 2, 2));
    assert_all_slots_there(&pool);
}

#[test]
fn a_hanging_factory_is_given_up_even_if_nobody_maintains_the_pool() {
    let (pool, rig) = pool_with(PoolConfig { max_size: 1, min_size: 0, ..patient() });
    // Only now: what is made before has all the time it wants.
    pool.set_config(PoolConfig { create_timeout: MILLI, ..pool.config() }).unwrap();
    let (reached, go_on) = rig.create.then_stop();
    let owner = asker(&pool);
    reached.recv_timeout(LONG).unwrap();
    // Whether it comes before or after the end of the first one's time.
    let late = Got::from(pool.acquire_timeout(LONG).map(drop));
    assert_eq!(owner.join().unwrap(), Got::CreateTimedOut);
    assert_eq!(late, Got::FactoryHangs, "the only slot is free, but the factory isn't");
    go_on.send(()).unwrap();
    until(|| pool.stats().hung_builds == 0);
    pool.set_config(PoolConfig { create_timeout: LONG, ..pool.config() }).unwrap();
    assert_all_slots_there(&pool);
}

#[test]
fn what_is_made_too_late_is_destroyed_although_nobody_looked_at_the_clock() {
    let config = PoolConfig { min_size: 1, max_size: 1, create_timeout: MILLI, ..patient() };
    let (pool, rig) = pool_with(config);
    let (reached, go_on) = rig.create.then_stop();
    assert_eq!(pool.maintain(Instant::now()).started, 1);
    reached.recv_timeout(LONG).unwrap();
    pass(MILLI);
    go_on.send(()).unwrap();
    until(|| pool.stats().destroyed == 1);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.create_timeouts, stats.destroyed_by(DestroyReason::TooLate)), (1, 1));
    assert_eq!((stats.building, stats.hung_builds, stats.idle), (0, 0, 0));
}

#[test]
fn a_factory_is_not_called_again_when_as_many_calls_hang_as_there_may_be_vms() {
    let (pool, rig) = pool(0, 2);
    let hanging = [rig.create.then_stop(), rig.create.then_stop()];
    let owners = [asker(&pool), asker(&pool)];
    hanging.iter().for_each(|(reached, _)| reached.recv_timeout(LONG).unwrap());
    let _ = pool.maintain(much_later());
    for owner in owners {
        assert_eq!(owner.join().unwrap(), Got::CreateTimedOut);
    }
    let error = pool.acquire().unwrap_err();
    assert!(matches!(error, PoolError::FactoryHangs { hung: 2, .. }), "{error}");
    assert!(error.to_string().contains("2 calls of the factory have not come back within 30s"));
    assert!(matches!(pool.warm_up(), Ok(0)));

    let [(_, first), (_, second)] = hanging;
    first.send(()).unwrap();
    until(|| pool.stats().hung_builds == 1);
    drop(pool.acquire().unwrap());
    second.send(()).unwrap();
    until(|| pool.stats().destroyed_by(DestroyReason::TooLate) == 2);
    assert_all_slots_there(&pool);
    assert_balanced(&pool.stats());
}

#[test]
fn a_hanging_factory_holds_up_no_maintenance() {
    let (pool, rig) = pool(2, 2);
    let hanging = [rig.create.then_stop(), rig.create.then_stop()];
    assert_eq!(pool.maintain(Instant::now()).started, 2);
    hanging.iter().for_each(|(reached, _)| reached.recv_timeout(LONG).unwrap());
    assert_eq!(pool.maintain(Instant::now()).started, 0, "they are being made");
    let done = pool.maintain(much_later());
    assert_eq!((done.started, done.incidents.len()), (0, 2), "{done:?}");
    assert!(done.incidents[0].to_string().contains("a new VM: not made in time"));
    for (_, go_on) in &hanging {
        go_on.send(()).unwrap();
    }
    until(|| pool.stats().destroyed == 2);
    assert_eq!(pool.maintain(much_later()).started, 2);
    built(&pool);
    assert_eq!(balanced(&pool).idle, 2);
}

#[test]
fn a_shorter_create_timeout_also_ends_what_is_being_made() {
    let (pool, rig) = pool(0, 1);
    let (reached, go_on) = rig.create.then_stop();
    let owner = asker(&pool);
    reached.recv_timeout(LONG).unwrap();
    pool.set_config(PoolConfig { create_timeout: MILLI, ..pool.config() }).unwrap();
    let _ = pool.maintain(Instant::now() + 2 * MILLI);
    assert_eq!(owner.join().unwrap(), Got::CreateTimedOut);
    go_on.send(()).unwrap();
    until(|| pool.stats().destroyed == 1);
}

#[test]
fn a_vm_that_cannot_be_configured_is_none() {
    for step in [Step::Fail, Step::Panic] {
        let (pool, rig) = pool(0, 1);
        rig.configure.then(step);
        let error = pool.acquire().unwrap_err();
        assert!(matches!(error, PoolError::Create(_)), "{error}");
        let stats = assert_quiet(&pool, &rig);
        assert_eq!((rig.alive(), stats.created, stats.create_errors), (0, 0, 1));
        assert_all_slots_there(&pool);
    }
}

#[test]
fn a_configuration_that_hangs_is_part_of_the_making() {
    let (pool, rig) = pool(0, 1);
    let (reached, go_on) = rig.configure.then_stop();
    let owner = asker(&pool);
    reached.recv_timeout(LONG).unwrap();
    let _ = pool.maintain(much_later());
    assert_eq!(owner.join().unwrap(), Got::CreateTimedOut);
    go_on.send(()).unwrap();
    until(|| pool.stats().destroyed_by(DestroyReason::TooLate) == 1);
    assert_eq!(rig.alive(), 0);
}

#[test]
fn a_reset_that_hangs_ends_in_quarantine_without_a_slot() {
    let (pool, rig) = pool(0, 1);
    let mut lease = pool.acquire().unwrap();
    lease.program = Some("orbit.luau".into());
    drop(lease);
    let lease = pool.acquire().unwrap();
    let (reached, go_on) = rig.reset.then_stop();
    let releaser = thread::spawn(move || drop(lease));
    reached.recv_timeout(LONG).unwrap();
    let waiter = waiter(&pool, Duration::MAX);
    assert!(pool.maintain(Instant::now()).incidents.is_empty(), "it still has time");
    assert_eq!((pool.stats().leased, pool.stats().quarantined), (1, 0));

    let incidents = pool.maintain(much_later()).incidents;
    assert_eq!(waiter.join().unwrap(), Got::Lease, "with a VM of its own");
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    assert_eq!((incidents[0].kind, incidents[0].vm), (IncidentKind::ResetTimedOut, Some(0)));
    assert_eq!(incidents[0].program.as_deref(), Some("orbit.luau"));
    let stats = balanced(&pool);
    assert_eq!((stats.quarantined, stats.idle, stats.leased), (1, 1, 0));
    assert_eq!((stats.reset_timeouts, stats.quarantines), (1, 1));
    let vm = &pool.vms()[0];
    assert!(vm.quarantined && !vm.leased, "{vm:?}");
    assert!(pool.maintain(much_later()).incidents.is_empty(), "named once");
    assert_all_slots_there(&pool);

    go_on.send(()).unwrap();
    releaser.join().unwrap();
    let stats = balanced(&pool);
    assert_eq!((stats.quarantined, stats.destroyed_by(DestroyReason::ResetTimedOut)), (0, 1));
    assert_eq!((stats.reset_timeouts, stats.idle, rig.alive()), (1, 1, 1), "counted once");
    assert_all_slots_there(&pool);
}

#[test]
fn a_reset_that_takes_too_long_ends_in_a_destroyed_vm() {
    let config = PoolConfig { min_size: 0, max_size: 1, reset_timeout: MILLI, ..patient() };
    let (pool, rig) = pool_with(config);
    for step_fails in [false, true] {
        let lease = pool.acquire().unwrap();
        let id = Lease::id(&lease);
        let (reached, go_on) = rig.reset.then_stop();
        let releaser = thread::spawn(move || drop(lease));
        reached.recv_timeout(LONG).unwrap();
        pass(MILLI);
        if step_fails {
            // Dropping the sender makes the step panic: a slow reset that also fails.
            drop(go_on);
        } else {
            go_on.send(()).unwrap();
        }
        releaser.join().unwrap();
        let stats = assert_quiet(&pool, &rig);
        assert_eq!((stats.idle, stats.quarantines), (0, 0));
        let timeouts = pool.maintain(Instant::now()).incidents;
        let timeout = timeouts.iter().find(|it| it.kind == IncidentKind::ResetTimedOut).unwrap();
        assert_eq!(timeout.vm, Some(id));
        assert!(timeout.message.contains("and 1ms are allowed"), "{timeout}");
    }
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.resets, stats.reset_timeouts, stats.reset_errors), (2, 2, 1));
    assert_eq!(stats.destroyed_by(DestroyReason::ResetTimedOut), 1);
    assert_eq!(stats.destroyed_by(DestroyReason::Panicked), 1, "what failed says why");
}

#[test]
fn of_resets_that_hang_only_so_many_give_their_slot_back() {
    let (pool, rig) = pool(0, 1);
    let hang = |rig: &super::Rig| {
        let lease = pool.acquire().unwrap();
        let (reached, go_on) = rig.reset.then_stop();
        let releaser = thread::spawn(move || drop(lease));
        reached.recv_timeout(LONG).unwrap();
        let _ = pool.maintain(much_later());
        (go_on, releaser)
    };
    let first = hang(&rig);
    let second = hang(&rig);
    let stats = balanced(&pool);
    assert_eq!((stats.quarantined, stats.quarantines), (2, 2));
    let none = Got::from(pool.try_acquire().map(drop));
    assert_eq!(none, Got::Exhausted, "a leak must have an end");
    for (go_on, releaser) in [first, second] {
        go_on.send(()).unwrap();
        releaser.join().unwrap();
    }
    let stats = balanced(&pool);
    assert_eq!((stats.quarantined, rig.alive()), (0, 0));
    assert_all_slots_there(&pool);
}

#[test]
fn a_used_up_vm_is_destroyed_without_a_reset() {
    let (pool, rig) = pool(0, 1);
    pool.acquire().unwrap().spent = true;
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.resets, stats.reset.count), (0, 0));
    assert_eq!((stats.idle, stats.destroyed_by(DestroyReason::Spent)), (0, 1));
    assert_all_slots_there(&pool);
}

#[test]
fn averages_are_over_what_was_done() {
    let (pool, rig) = pool(0, 2);
    drop(pool.acquire().unwrap());
    drop(pool.acquire().unwrap());
    pool.acquire().unwrap().spent = true;
    rig.create.then(Step::Fail);
    assert!(pool.acquire().is_err());
    Lease::discard(pool.acquire().unwrap(), DestroyReason::Discarded);
    rig.reset.then(Step::Fail);
    drop(pool.acquire().unwrap());
    let stats = assert_quiet(&pool, &rig);
    // Made: the first, the one after the spent one, the one after the discarded one.
    assert_eq!((stats.create.count, stats.created), (3, 3));
    // Reset: the first two leases, and the one whose reset failed.
    assert_eq!((stats.reset.count, stats.resets, stats.reset_errors), (3, 3, 1));
    assert_eq!((stats.use_time.count, stats.acquired), (5, 5));
    // Those five, and the one for whom no VM could be made.
    assert_eq!((stats.wait.count, stats.timeouts), (6, 0));
    assert!(stats.wait.max >= stats.create.last, "who waits for a VM to be made waits");
}
