//! Leases, waiting, and the order of both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};

use super::{
    Got, LONG, assert_all_slots_there, assert_balanced, assert_quiet, patient, pool, pool_with,
    pool_with_one_leased, waiter,
};
use crate::pool::registry::{AcquireOutcome, WaitPolicy};
use crate::pool::slots::LeasedVm;
use crate::pool::{ConfigError, DestroyReason, Lease, PoolConfig, PoolError, VmPool};

#[test]
fn a_new_pool_has_no_vm_until_somebody_asks() {
    let (pool, rig) = pool(2, 4);
    assert_eq!(rig.alive(), 0);
    let lease = pool.acquire().unwrap();
    assert_eq!((rig.alive(), Lease::id(&lease)), (1, 0));
    drop(lease);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.created, stats.idle, stats.acquired), (1, 1, 1));
}

#[test]
fn a_wrong_configuration_makes_no_pool() {
    let config = PoolConfig { max_size: 0, ..patient() };
    let resetter = Nothing;
    let made = VmPool::new(config, || Ok::<u32, PoolError>(1), resetter);
    let error = made.map(drop).unwrap_err();
    assert!(matches!(error, ConfigError::Invalid { field: "max_size", .. }));
}

struct Nothing;

impl crate::pool::VmResetter<u32> for Nothing {
    fn reset(&self, _: &mut u32) -> Result<(), crate::pool::BoxError> {
        Ok(())
    }
}

#[test]
fn handles_and_leases_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<VmPool<std::cell::Cell<u32>>>();
    fn is_sent<T: Send>() {}
    is_sent::<Lease<std::cell::Cell<u32>>>();
}

#[test]
fn warm_up_makes_min_size_and_only_what_is_missing() {
    let (pool, rig) = pool(3, 4);
    let lease = pool.acquire().unwrap();
    assert_eq!(pool.warm_up().unwrap(), 2);
    assert_eq!(pool.warm_up().unwrap(), 0);
    drop(lease);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.created, stats.idle), (3, 3));
    assert_all_slots_there(&pool);
}

#[test]
fn threads_that_warm_up_together_do_not_make_too_many() {
    for _ in 0..1000 {
        let (pool, rig) = pool(1, 8);
        let start = Arc::new(Barrier::new(4));
        let threads = [(); 4].map(|()| {
            let (pool, start) = (pool.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                pool.warm_up().unwrap()
            })
        });
        let made: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!((made, rig.peak()), (1, 1));
    }
}

#[test]
fn a_vm_is_clean_for_its_next_borrower() {
    let (pool, _rig) = pool(0, 1);
    pool.acquire().unwrap().dirt = 7;
    let lease = pool.acquire().unwrap();
    assert_eq!((Lease::id(&lease), lease.dirt), (0, 0));
}

#[test]
fn the_vm_used_last_is_leased_first() {
    let (pool, _rig) = pool(0, 3);
    let leases = [(); 3].map(|()| pool.acquire().unwrap());
    let [first, second, third] = leases;
    for lease in [third, first, second] {
        drop(lease);
    }
    assert_eq!(Lease::id(&pool.acquire().unwrap()), 1);
    assert_eq!(Lease::id(&pool.acquire().unwrap()), 1);
}

#[test]
fn a_vm_that_ran_the_program_last_is_preferred() {
    let (pool, _rig) = pool(0, 3);
    let mut leases = [(); 3].map(|()| pool.acquire().unwrap());
    for (lease, program) in leases.iter_mut().zip(["a", "b", "c"]) {
        lease.program = Some(Arc::from(program));
    }
    drop(leases);
    let b = pool.acquire_for("b").unwrap();
    assert_eq!(Lease::id(&b), 1);
    let another_b = pool.acquire_for("b").unwrap();
    assert_eq!(Lease::id(&another_b), 2, "any VM, the top one, will do");
}

#[test]
fn without_a_free_vm_try_acquire_fails_at_once_and_says_what_to_do() {
    let (pool, rig) = pool(0, 2);
    let _leases = [pool.acquire().unwrap(), pool.acquire().unwrap()];
    let error = pool.try_acquire().unwrap_err();
    assert!(error.to_string().contains("2 of 2 are leased; try again later, raise `max_size`"));
    assert!(matches!(error, PoolError::Exhausted { max_size: 2, leased: 2, .. }));
    assert_eq!(assert_quiet(&pool, &rig).timeouts, 1);
}

#[test]
fn acquire_gives_up_at_its_deadline_and_not_before() {
    let config = PoolConfig {
        min_size: 0,
        max_size: 1,
        acquire_timeout: Duration::from_millis(15),
        ..patient()
    };
    let (pool, rig) = pool_with(config);
    let _lease = pool.acquire().unwrap();
    for (error, at_least) in [
        (pool.acquire().unwrap_err(), 15),
        (pool.acquire_for("x").unwrap_err(), 15),
        (pool.acquire_timeout(Duration::from_millis(5)).unwrap_err(), 5),
    ] {
        let PoolError::Exhausted { waited, .. } = error else {
            panic!("{error}");
        };
        assert!(waited >= Duration::from_millis(at_least), "{waited:?}");
    }
    assert_eq!(assert_quiet(&pool, &rig).timeouts, 3);
}

#[test]
fn a_waiter_gets_the_vm_that_is_given_back() {
    let (pool, rig) = pool(0, 1);
    let lease = pool.acquire().unwrap();
    let waiter = waiter(&pool, Duration::MAX);
    drop(lease);
    assert_eq!(waiter.join().unwrap(), Got::Lease);
    assert_eq!(assert_quiet(&pool, &rig).created, 1);
}

#[test]
fn a_waiter_wakes_when_a_vm_is_destroyed() {
    let (pool, rig) = pool(0, 1);
    let lease = pool.acquire().unwrap();
    let waiter = waiter(&pool, LONG);
    Lease::discard(lease, DestroyReason::Discarded);
    assert_eq!(waiter.join().unwrap(), Got::Lease);
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.created, stats.destroyed), (2, 1));
    assert_eq!(stats.destroyed_by(DestroyReason::Discarded), 1);
}

#[test]
fn waiters_are_served_in_the_order_in_which_they_came() {
    let (pool, _rig) = pool(0, 1);
    let lease = pool.acquire().unwrap();
    let (served, order) = unbounded();
    let mut threads = Vec::new();
    for number in 0..20 {
        let (handle, served) = (pool.clone(), served.clone());
        threads.push(thread::spawn(move || {
            let _lease = handle.acquire_timeout(LONG).unwrap();
            served.send(number).unwrap();
        }));
        super::until(|| pool.stats().waiting == number + 1);
    }
    drop(lease);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let order: Vec<usize> = order.try_iter().collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
}

#[test]
fn who_comes_later_does_not_overtake_a_waiter() {
    let (pool, _rig) = pool(0, 2);
    // Suspended, so that there are waiters although slots are free.
    pool.suspend();
    let first = waiter(&pool, LONG);
    {
        // Resumed, but at this moment the first one hasn't got anything yet.
        pool.slots.registry().suspended = false;
        assert_eq!(Got::from(pool.try_acquire().map(drop)), Got::Exhausted);
        let late = waiter(&pool, Duration::from_millis(5));
        assert_eq!(late.join().unwrap(), Got::Exhausted);
    }
    pool.resume();
    assert_eq!(first.join().unwrap(), Got::Lease);
    drop(pool.try_acquire().unwrap());
}

#[test]
fn a_slot_is_not_free_before_the_drop_of_its_vm_is_done() {
    let (pool, rig) = pool(0, 1);
    let mut lease = pool.acquire().unwrap();
    let ((reached, was_reached), (go_on, told)) = (bounded(1), bounded(1));
    lease.drop_stops = Some((reached, told));
    let discarder = thread::spawn(move || Lease::discard(lease, DestroyReason::OverMemory));
    was_reached.recv_timeout(LONG).unwrap();
    assert_eq!(Got::from(pool.try_acquire().map(drop)), Got::Exhausted);
    assert_eq!(assert_quiet(&pool, &rig).leased, 1);
    go_on.send(()).unwrap();
    discarder.join().unwrap();
    assert_eq!(assert_quiet(&pool, &rig).leased, 0);
    drop(pool.try_acquire().unwrap());
}

#[test]
fn a_waiter_that_gives_up_in_front_leaves_its_turn_to_the_next() {
    let (pool, _rig) = pool(0, 1);
    let lease = pool.acquire().unwrap();
    let impatient = waiter(&pool, Duration::from_millis(30));
    let patient = waiter(&pool, LONG);
    assert_eq!(impatient.join().unwrap(), Got::Exhausted);
    drop(lease);
    assert_eq!(patient.join().unwrap(), Got::Lease);
}

#[test]
fn twenty_threads_on_four_slots_never_make_a_fifth() {
    let (pool, rig) = pool(0, 4);
    let start = Arc::new(Barrier::new(20));
    let threads: Vec<_> = (0..20)
        .map(|thread| {
            let (pool, start) = (pool.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                for round in 0..200 {
                    let mut lease = pool.acquire_timeout(LONG).unwrap();
                    assert_eq!(lease.dirt, 0, "nobody else has this VM");
                    lease.dirt = 1;
                    assert_balanced(&pool.stats());
                    if (thread + round) % 7 == 0 {
                        Lease::discard(lease, DestroyReason::Discarded);
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(rig.peak() <= 4, "there were {}", rig.peak());
    let stats = assert_quiet(&pool, &rig);
    assert_eq!(stats.acquired, 4000);
    assert_eq!(stats.acquired, stats.use_time.count);
    assert_all_slots_there(&pool);
}

#[test]
fn thousands_of_waiters_on_three_slots_all_finish() {
    let (pool, rig) = pool(0, 3);
    let held = [(); 3].map(|()| pool.acquire().unwrap());
    let threads: Vec<_> = (0..2000)
        .map(|_| {
            let pool = pool.clone();
            let small = thread::Builder::new().stack_size(128 * 1024);
            small.spawn(move || Got::from(pool.acquire_timeout(LONG).map(drop))).unwrap()
        })
        .collect();
    super::until(|| pool.stats().waiting == 2000);
    drop(held);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Got::Lease);
    }
    assert_eq!(assert_quiet(&pool, &rig).acquired, 2003);
}

/// More than a system has threads for, so each thread stands in the queue many times.
#[test]
fn twenty_five_thousand_waiters_on_three_slots_all_finish() {
    const THREADS: usize = 25;
    const EACH: usize = 1000;
    let (pool, rig) = pool(0, 3);
    let held = [(); 3].map(|()| pool.acquire().unwrap());
    let (all_wait, opened) = (Arc::new(Barrier::new(THREADS + 1)), Instant::now());
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (pool, all_wait) = (pool.clone(), Arc::clone(&all_wait));
            thread::spawn(move || {
                let slots = &pool.slots;
                let here = Some(std::panic::Location::caller());
                let ask =
                    || match slots.registry().ask(WaitPolicy::AtMost(LONG), None, here, opened) {
                        AcquireOutcome::Waiting(waiting, _) => waiting,
                        _ => panic!("there is nothing to have"),
                    };
                let queue: Vec<_> = (0..EACH).map(|_| ask()).collect();
                all_wait.wait();
                // In the order of the queue, so that who is in front is always being waited for.
                for waiting in queue {
                    let grant = slots.wait(&waiting, opened, Duration::MAX, None, None).unwrap();
                    let crate::pool::slot::Grant::Ready(slot) = grant else {
                        panic!("the VMs are sound and stay");
                    };
                    let leased = LeasedVm { slot, taken: opened, waited: opened.elapsed() };
                    drop(Lease::new(Arc::clone(slots), leased));
                }
            })
        })
        .collect();
    super::until(|| pool.stats().waiting == THREADS * EACH);
    all_wait.wait();
    drop(held);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.acquired, stats.wait.count), (25_003, 25_003));
    assert_eq!((stats.created, stats.timeouts), (3, 0));
    assert_all_slots_there(&pool);
}

#[test]
fn who_may_be_told_to_stop_keeps_his_place_in_the_queue() {
    let config = PoolConfig { min_size: 0, max_size: 1, acquire_timeout: LONG, ..patient() };
    let (pool, rig) = pool_with(config);
    let lease = pool_with_one_leased(&pool);
    let (served, order) = unbounded();
    let asked = Arc::new(AtomicUsize::new(0));
    let (first, counted, sender) = (pool.clone(), Arc::clone(&asked), served.clone());
    let first = thread::spawn(move || {
        let never = || {
            counted.fetch_add(1, Ordering::SeqCst);
            false
        };
        let _lease = first.acquire_unless(never).unwrap();
        sender.send(1).unwrap();
    });
    super::until(|| pool.stats().waiting == 1);
    let second = pool.clone();
    let second = thread::spawn(move || {
        let _lease = second.acquire().unwrap();
        served.send(2).unwrap();
    });
    super::until(|| pool.stats().waiting == 2 && asked.load(Ordering::SeqCst) > 2);
    drop(lease);
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(order.iter().collect::<Vec<_>>(), [1, 2]);
    assert_quiet(&pool, &rig);

    let lease = pool_with_one_leased(&pool);
    let stopped = pool.acquire_unless(|| true);
    assert_eq!(Got::from(stopped.map(drop)), Got::Interrupted);
    assert_eq!(pool.stats().waiting, 0);
    drop(lease);
    assert_quiet(&pool, &rig);
}

#[test]
fn who_waits_for_a_vm_to_be_made_may_be_told_to_stop_and_another_gets_it() {
    let config = PoolConfig { min_size: 0, max_size: 1, create_timeout: LONG, ..patient() };
    let (pool, rig) = pool_with(config);
    let (reached, go_on) = rig.create.then_stop();
    let stopped = pool.acquire_unless(|| reached.try_recv().is_ok());
    assert_eq!(Got::from(stopped.map(drop)), Got::Interrupted);
    let stats = pool.stats();
    assert_eq!((stats.acquired, stats.building, stats.waiting), (0, 1, 0));
    go_on.send(()).unwrap();
    super::until(|| pool.stats().idle == 1);
    drop(pool.acquire().unwrap());
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.created, stats.acquired), (1, 1));
    assert_all_slots_there(&pool);
}

#[test]
fn ten_thousand_leases_leave_the_books_as_small_as_they_were() {
    let config = PoolConfig { min_size: 0, max_size: 4, max_use_count: 3, ..patient() };
    let (pool, rig) = pool_with(config);
    for round in 0..10_000 {
        let mut leases = [(); 2].map(|()| pool.acquire().unwrap());
        leases[0].program = Some(format!("program {round}").into());
        assert!(round % 100 > 0 || pool.acquire_timeout(Duration::ZERO).is_ok());
    }
    let stats = assert_quiet(&pool, &rig);
    assert_eq!((stats.acquired, stats.waiting), (20_100, 0));
    assert!(stats.created > 5000, "{stats:?}");
    assert!(stats.idle <= 3 && pool.vms().len() == stats.idle, "{stats:?}");
    let places = pool.slots.registry().places();
    assert!(places <= 4, "{places} places for at most 4 VMs");
}

#[test]
fn the_last_handle_may_go_before_the_last_lease() {
    let (pool, rig) = pool(2, 3);
    assert_eq!(pool.warm_up().unwrap(), 2);
    let lease = pool.acquire().unwrap();
    drop(pool);
    assert_eq!(rig.alive(), 2);
    drop(lease);
    assert_eq!(rig.alive(), 0);
}
