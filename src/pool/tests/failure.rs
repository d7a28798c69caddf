//! User code that fails or panics, everywhere it can.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use super::{
    Got, LONG, Step, assert_all_slots_there, assert_balanced, assert_quiet, built, pool, waiter,
};
use crate::pool::{DestroyReason, IncidentKind, Lease, PoolError};

#[test]
fn creation_fails_for_one_waiter_and_the_next_succeeds() {
    for step in [Step::Fail, Step::Panic] {
        let (pool, rig) = pool(0, 1);
        let lease = pool.acquire().unwrap();
        let first = waiter(&pool, LONG);
        let second = waiter(&pool, LONG);
        rig.create.then(step);
        Lease::discard(lease, DestroyReason::Discarded);
        assert_eq!(first.join().unwrap(), Got::CreateFailed);
        assert_eq!(second.join().unwrap(), Got::Lease);
        let stats = assert_quiet(&pool, &rig);
        assert_eq!((stats.create_errors, stats.created), (1, 2));
    }
}

#[test]
fn a_failed_or_panicking_creation_keeps_its_slot_and_its_cause() {
    let (pool, rig) = pool(2, 2);
    rig.create.then(Step::Fail);
    rig.create.then(Step::Panic);
    let error = pool.acquire().unwrap_err();
    assert_eq!(
        error.to_string(),
        "a VM can't be made: as planned; mend the cause and acquire again"
    );
    let error = pool.warm_up().unwrap_err();
    assert!(matches!(error, PoolError::Create(_)));
    assert!(error.to_string().contains("panicked: as planned"), "{error}");
    assert_eq!(assert_quiet(&pool, &rig).create_errors, 2);
    assert_all_slots_there(&pool);
}

#[test]
fn warm_up_keeps_what_it_made_before_it_failed() {
    let (pool, rig) = pool(3, 3);
    rig.create.then(Step::Succeed);
    rig.create.then(Step::Fail);
    assert!(pool.warm_up().is_err());
    assert_eq!(assert_quiet(&pool, &rig).idle, 1);
    assert_eq!(pool.warm_up().unwrap(), 2);
}

#[test]
fn maintain_reports_a_failed_refill_and_tries_again() {
    let (pool, rig) = pool(1, 1);
    rig.create.then(Step::FailUnspeakably);
    assert_eq!(pool.maintain(Instant::now()).started, 1);
    built(&pool);
    let now = Instant::now();
    let mut incidents = Vec::new();
    super::until(|| {
        // Noted just after the build is over.
        !pool.slots.registry().incidents().is_empty()
    });
    let done = pool.maintain(now);
    incidents.extend(done.incidents);
    assert_eq!((done.started, incidents.len()), (0, 1), "a broken factory has some rest");
    assert_eq!(incidents[0].kind, IncidentKind::CreateFailed);
    assert!(incidents[0].message.contains("the error can't be shown"));
    let done = pool.maintain(now + Duration::from_secs(2));
    assert_eq!((done.started, done.incidents.len()), (1, 0));
    built(&pool);
    assert_quiet(&pool, &rig);
}

#[test]
fn a_broken_factory_is_asked_once_for_each_missing_vm() {
    let (pool, rig) = pool(3, 3);
    for _ in 0..100 {
        (0..20).for_each(|_| rig.create.then(Step::Fail));
        // Whatever the caller's clock says: they fail while others are begun.
        let now = Instant::now();
        for now in [now, now.checked_sub(Duration::from_secs(5)).unwrap_or(now)] {
            let started = pool.maintain(now).started;
            assert!(started <= 3, "{started} were begun");
            built(&pool);
        }
    }
    assert_quiet(&pool, &rig);
}

#[test]
fn a_failed_or_panicking_reset_destroys_the_vm_and_wakes_a_waiter() {
    let cases = [
        (Step::Fail, DestroyReason::ResetFailed, "as planned"),
        (Step::Panic, DestroyReason::Panicked, "the reset of a VM panicked: as planned"),
        (Step::FailUnspeakably, DestroyReason::ResetFailed, "can't be shown"),
    ];
    for (step, reason, message) in cases {
        let (pool, rig) = pool(0, 1);
        let mut lease = pool.acquire().unwrap();
        lease.program = Some(Arc::from("before"));
        drop(lease);
        let lease = pool.acquire().unwrap();
        let waiter = waiter(&pool, LONG);
        rig.reset.then(step);
        drop(lease);
        assert_eq!(waiter.join().unwrap(), Got::Lease);
        let stats = assert_quiet(&pool, &rig);
        assert_eq!((stats.resets, stats.reset_errors), (3, 1));
        assert_eq!((stats.destroyed, stats.destroyed_by(reason)), (1, 1));
        assert_all_slots_there(&pool);
        let incidents = pool.maintain(Instant::now()).incidents;
        assert_eq!(incidents.len(), 1);
        assert_eq!((incidents[0].kind, incidents[0].vm), (IncidentKind::ResetFailed, Some(0)));
        assert_eq!(incidents[0].program.as_deref(), Some("before"));
        assert!(incidents[0].message.contains(message), "{incidents:?}");
    }
}

#[test]
fn an_unsound_vm_is_quarantined_and_the_borrower_gets_another() {
    for (step, reason) in
        [(Step::Fail, DestroyReason::ValidationFailed), (Step::Panic, DestroyReason::Panicked)]
    {
        let (pool, rig) = pool(2, 2);
        assert_eq!(pool.warm_up().unwrap(), 2);
        rig.validate.then(step);
        let lease = pool.try_acquire().unwrap();
        assert_eq!(Lease::id(&lease), 0, "the other idle VM, not a new one");
        drop(lease);
        let stats = assert_quiet(&pool, &rig);
        assert_eq!((stats.quarantines, stats.destroyed_by(reason)), (1, 1));
        assert_eq!((stats.idle, stats.created), (1, 2));
        let incidents = pool.maintain(Instant::now()).incidents;
        assert_eq!(incidents[0].kind, IncidentKind::ValidationFailed);
        assert_eq!(incidents[0].vm, Some(1));
        built(&pool);
        assert_all_slots_there(&pool);
    }
}

#[test]
fn when_all_idle_vms_are_unsound_a_new_one_is_made() {
    let (pool, rig) = pool(2, 2);
    assert_eq!(pool.warm_up().unwrap(), 2);
    rig.validate.then(Step::Fail);
    rig.validate.then(Step::Fail);
    let lease = pool.try_acquire().unwrap();
    assert_eq!(Lease::id(&lease), 2);
    assert_eq!(assert_quiet(&pool, &rig).quarantines, 2);
    drop(lease);
    assert_all_slots_there(&pool);
}

#[test]
fn a_guard_dropped_while_unwinding_destroys_its_vm() {
    let (pool, rig) = pool(0, 1);
    let lease = pool.acquire().unwrap();
    let waiter = waiter(&pool, LONG);
    let caught = catch_unwind(AssertUnwindSafe(move || {
        let _lease = lease;
        panic!("the borrower panics");
    }));
    assert!(caught.is_err());
    assert_eq!(waiter.join().unwrap(), Got::Lease);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!(stats.destroyed_by(DestroyReason::Panicked), 1);
    assert_eq!(stats.resets, 1, "the destroyed one was not reset");
    let incidents = pool.maintain(Instant::now()).incidents;
    assert_eq!(incidents[0].kind, IncidentKind::BorrowerPanicked);
}

#[test]
fn a_lease_taken_and_ended_during_an_unwinding_is_a_good_one() {
    struct LeaseOnDrop(crate::pool::VmPool<super::Vm>);
    impl Drop for LeaseOnDrop {
        fn drop(&mut self) {
            assert!(thread::panicking());
            self.0.acquire().unwrap().dirt = 1;
        }
    }
    let (pool, rig) = pool(0, 1);
    let handle = pool.clone();
    let caught = catch_unwind(AssertUnwindSafe(move || {
        let _late = LeaseOnDrop(handle);
        panic!("unwinding");
    }));
    assert!(caught.is_err());
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.destroyed, stats.idle), (0, 1));
}

#[test]
fn a_vm_that_panics_when_dropped_breaks_no_count() {
    let (pool, rig) = pool(0, 2);
    let mut first = pool.acquire().unwrap();
    first.drop_panics = true;
    let mut second = pool.acquire().unwrap();
    second.drop_panics = true;
    Lease::discard(first, DestroyReason::Discarded);
    // A panic inside a `drop` inside an unwinding.
    let caught = catch_unwind(AssertUnwindSafe(move || {
        let _second = second;
        panic!("the borrower panics");
    }));
    assert!(caught.is_err());
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.destroyed, stats.leased), (2, 0));
    assert_all_slots_there(&pool);

    let mut idle = pool.acquire().unwrap();
    idle.drop_panics = true;
    drop(idle);
    drop(pool);
    assert_eq!(rig.alive(), 0);
}

#[test]
fn incidents_are_bounded_and_the_rest_is_counted() {
    let (pool, rig) = pool(0, 1);
    for _ in 0..70 {
        rig.reset.then(Step::Fail);
        drop(pool.acquire().unwrap());
    }
    let done = pool.maintain(Instant::now());
    assert_eq!((done.incidents.len(), done.incidents_lost), (64, 6));
    let done = pool.maintain(Instant::now());
    assert_eq!((done.incidents.len(), done.incidents_lost), (0, 0));
}

#[test]
fn recycling_failure_never_overshoots() {
    let (pool, rig) = pool(2, 4);
    let start = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let (pool, rig, start) = (pool.clone(), Arc::clone(&rig), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                for round in 0..200 {
                    // The plans are shared: some other thread may take the step.
                    match (thread + round) % 5 {
                        0 => rig.reset.then(Step::Fail),
                        1 => rig.reset.then(Step::Panic),
                        2 => rig.validate.then(Step::Fail),
                        3 => drop(pool.maintain(Instant::now())),
                        _ => {}
                    }
                    let mut lease = pool.acquire_timeout(LONG).unwrap();
                    assert_eq!(lease.dirt, 0);
                    lease.dirt = 1;
                    let stats = pool.stats();
                    assert_balanced(&stats);
                    let taken = stats.idle + stats.leased + stats.quarantined + stats.building;
                    assert!(taken <= 4, "{stats:?}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    built(&pool);
    assert!(rig.peak() <= 4, "there were {}", rig.peak());
    rig.clear();
    let stats = assert_quiet(&pool, &rig);
    assert!(stats.reset_errors > 100 && stats.quarantines > 50, "{stats:?}");
    assert_all_slots_there(&pool);
}
