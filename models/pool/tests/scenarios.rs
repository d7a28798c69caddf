//! What threads do to a pool at the same time, in many orders. Each ends with a look at the books.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{
    Habit, Habits, assert_all_slots_there, check, check_size, endless, explore, finish, pool,
    together, until, use_alone,
};
use pool_model::clock::{self, Instant};
use pool_model::model_sync::run_out_of_threads;
use pool_model::pool::{DestroyReason, Lease, Overflow, PoolConfig, PoolError};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn more_threads_than_slots_share_them_and_nobody_waits_for_ever() {
    explore(|| {
        let (pool, rig) = pool(endless(0, 2), Habits::default());
        let handle = pool.clone();
        together(4, move |number| {
            for round in 0..2 {
                let mut lease = handle.acquire_timeout(Duration::MAX).unwrap();
                use_alone(&mut lease);
                check_size(&handle);
                if (number + round) % 3 == 0 {
                    Lease::discard(lease, DestroyReason::Discarded);
                }
            }
        });
        assert!(rig.peak() <= 2, "there were {}", rig.peak());
        assert_eq!(check(&pool).acquired, 8);
        assert_all_slots_there(&pool);
        finish(&pool, &rig);
    });
}

#[test]
fn a_factory_that_fails_strands_nobody_and_loses_no_slot() {
    explore(|| {
        let habits = Habits { create: Habit::FailsSometimes, ..Habits::default() };
        let (pool, rig) = pool(endless(1, 1), habits);
        let handle = pool.clone();
        together(3, move |number| match handle.acquire_timeout(Duration::MAX) {
            Ok(lease) if number == 0 => Lease::discard(lease, DestroyReason::Discarded),
            Ok(mut lease) => use_alone(&mut lease),
            Err(PoolError::Create(_)) => drop(check_size(&handle)),
            Err(error) => panic!("{error}"),
        });
        assert!(rig.peak() <= 1);
        let _ = pool.maintain(Instant::now());
        finish(&pool, &rig);
    });
}

#[test]
fn a_reset_or_a_validation_that_fails_never_makes_one_too_many() {
    explore(|| {
        let sometimes = Habit::FailsSometimes;
        let habits = Habits { reset: sometimes, validate: sometimes, ..Habits::default() };
        let (pool, rig) = pool(endless(0, 2), habits);
        let handle = pool.clone();
        together(3, move |_| {
            for _ in 0..2 {
                use_alone(&mut handle.acquire_timeout(Duration::MAX).unwrap());
                let stats = check(&handle);
                let in_slots = stats.idle + stats.leased + stats.quarantined + stats.building;
                assert!(in_slots <= 2, "{stats:?}");
            }
        });
        assert!(rig.peak() <= 2, "there were {}", rig.peak());
        finish(&pool, &rig);
    });
}

#[test]
fn evicting_and_maintaining_meanwhile_keeps_every_slot() {
    explore(|| {
        let config = PoolConfig { max_use_count: 2, ..endless(1, 2) };
        let (pool, rig) = pool(config, Habits::default());
        let handle = pool.clone();
        together(3, move |number| match number {
            0 => {
                handle.evict_all();
                let _ = handle.maintain(Instant::now());
                check_size(&handle);
                let _ = handle.maintain(Instant::now() + Duration::from_secs(40 * 60));
            }
            _ => {
                for _ in 0..2 {
                    use_alone(&mut handle.acquire_timeout(Duration::MAX).unwrap());
                    check_size(&handle);
                }
            }
        });
        assert!(rig.peak() <= 2);
        until(|| pool.stats().building == 0);
        assert_all_slots_there(&pool);
        finish(&pool, &rig);
    });
}

#[test]
fn a_pool_is_resized_while_its_vms_are_leased_and_made() {
    explore(|| {
        let (pool, rig) = pool(endless(0, 2), Habits::default());
        let handle = pool.clone();
        together(3, move |number| match number {
            0 => {
                for max_size in [1, 3, 2] {
                    let config = PoolConfig { max_size, ..handle.config() };
                    handle.set_config(config).unwrap();
                    check(&handle);
                }
            }
            _ => {
                let mut first = handle.acquire_timeout(Duration::MAX).unwrap();
                use_alone(&mut first);
                if number == 1 {
                    // Two at a time are more than there may be for a while: no third to wait for.
                    drop(handle.try_acquire());
                }
                drop(first);
                use_alone(&mut handle.acquire_timeout(Duration::MAX).unwrap());
                check(&handle);
            }
        });
        assert!(rig.peak() <= 3, "there were {}", rig.peak());
        check_size(&pool);
        assert_all_slots_there(&pool);
        finish(&pool, &rig);
    });
}

#[test]
fn closing_sends_all_away_and_ends_with_nothing() {
    explore(|| {
        let habits = Habits { create: Habit::FailsSometimes, ..Habits::default() };
        let (pool, rig) = pool(endless(1, 1), habits);
        let handle = pool.clone();
        let books = Arc::clone(&rig);
        together(4, move |number| match number {
            0 | 1 => {
                finish(&handle, &books);
                assert!(matches!(handle.try_acquire(), Err(PoolError::Closed)));
            }
            2 => match handle.warm_up() {
                Ok(_) | Err(PoolError::Closed | PoolError::Create(_)) => {}
                Err(error) => panic!("{error}"),
            },
            _ => match handle.acquire_timeout(Duration::MAX) {
                Ok(mut lease) => use_alone(&mut lease),
                Err(PoolError::Closed | PoolError::Create(_)) => {}
                Err(error) => panic!("{error}"),
            },
        });
        finish(&pool, &rig);
    });
}

#[test]
fn closing_sends_away_who_waits_for_a_factory_that_hangs() {
    explore(|| {
        let habits = Habits { create: Habit::HangsOnce, ..Habits::default() };
        let (pool, rig) = pool(endless(0, 1), habits);
        let handle = pool.clone();
        let waiter = thread::spawn(move || handle.acquire_timeout(Duration::MAX).map(drop));
        until(|| rig.hangs() > 0);
        assert!(!pool.close(Duration::ZERO), "a VM is being made");
        // Before the factory comes back; it might never.
        assert!(matches!(waiter.join().unwrap(), Err(PoolError::Closed)));
        rig.gate.open();
        finish(&pool, &rig);
    });
}

#[test]
fn closing_interrupts_who_does_not_come_back() {
    explore(|| {
        let (pool, rig) = pool(endless(0, 1), Habits::default());
        let lease = pool.acquire().unwrap();
        let (handle, books) = (pool.clone(), Arc::clone(&rig));
        let borrower = thread::spawn(move || {
            let _lease = lease;
            books.interrupted.pass();
        });
        let _ = handle.close(Duration::ZERO);
        borrower.join().unwrap();
        finish(&pool, &rig);
    });
}

#[test]
fn closing_lasts_no_longer_than_it_was_told() {
    explore(|| {
        let (pool, rig) = pool(endless(0, 1), Habits::default());
        let lease = pool.acquire().unwrap();
        let handle = pool.clone();
        let closer = thread::spawn(move || handle.close(Duration::from_secs(10)));
        until(|| clock::sleepers() == 1);
        clock::advance(Duration::from_secs(9));
        // A second before the end, and not after it.
        rig.interrupted.pass();
        until(|| clock::sleepers() == 1);
        clock::advance(Duration::from_secs(1));
        assert!(!closer.join().unwrap(), "its borrower doesn't listen");
        drop(lease);
        finish(&pool, &rig);
    });
}

#[test]
fn who_renews_a_lease_loses_no_slot_whatever_happens_meanwhile() {
    explore(|| {
        let habits = Habits { create: Habit::FailsSometimes, ..Habits::default() };
        let (pool, rig) = pool(endless(0, 2), habits);
        let handle = pool.clone();
        together(3, move |number| {
            let lease = match number {
                // One asks and renews, one asks, one changes the pool under them.
                0 => handle.acquire().and_then(|mut lease| {
                    use_alone(&mut lease);
                    Lease::renew(lease, DestroyReason::Discarded)
                }),
                1 => handle.acquire(),
                _ => {
                    let max_size = thread_rng().gen_range(1..=2);
                    handle.set_config(PoolConfig { max_size, ..handle.config() }).unwrap();
                    handle.evict_all();
                    return;
                }
            };
            if let Ok(mut lease) = lease {
                use_alone(&mut lease);
            }
            check(&handle);
        });
        pool.set_config(PoolConfig { max_size: 2, ..pool.config() }).unwrap();
        finish(&pool, &rig);
    });
}

#[test]
fn who_gives_up_waiting_loses_nothing() {
    explore(|| {
        let (pool, rig) = pool(endless(0, 1), Habits::default());
        let handle = pool.clone();
        together(4, move |number| {
            if number == 0 {
                return clock::advance(MOMENT);
            }
            match handle.acquire_timeout(MOMENT) {
                Ok(mut lease) => use_alone(&mut lease),
                Err(PoolError::Exhausted { waited, .. }) => assert!(waited >= MOMENT),
                Err(error) => panic!("{error}"),
            }
            check_size(&handle);
        });
        let stats = check_size(&pool);
        assert_eq!(stats.acquired + stats.timeouts, 3, "{stats:?}");
        assert!(rig.peak() <= 1);
        assert_all_slots_there(&pool);
        finish(&pool, &rig);
    });
}

#[test]
fn a_factory_that_hangs_gives_its_slot_back_in_time() {
    explore(|| {
        let habits = Habits { create: Habit::HangsOnce, ..Habits::default() };
        let config = PoolConfig { create_timeout: MOMENT, ..endless(0, 1) };
        let (pool, rig) = pool(config, habits);
        let handle = pool.clone();
        let books = Arc::clone(&rig);
        together(3, move |number| match number {
            0 => {
                until(|| books.hangs() > 0);
                clock::advance(MOMENT * 2);
                if thread_rng().gen_bool(0.5) {
                    books.gate.open();
                }
            }
            _ => match handle.acquire_timeout(Duration::MAX) {
                Ok(mut lease) => use_alone(&mut lease),
                // The factory must come back before the pool dares to call it again.
                Err(PoolError::CreateTimedOut { .. } | PoolError::FactoryHangs { .. }) => {}
                Err(error) => panic!("{error}"),
            },
        });
        check_size(&pool);
        rig.gate.open();
        until(|| pool.stats().hung_builds == 0);
        assert_all_slots_there(&pool);
        finish(&pool, &rig);
    });
}

#[test]
fn a_reset_that_hangs_gives_its_slot_back_in_time() {
    explore(|| {
        let habits = Habits { reset: Habit::HangsOnce, ..Habits::default() };
        let config = PoolConfig { reset_timeout: MOMENT, ..endless(0, 1) };
        let (pool, rig) = pool(config, habits);
        let lease = pool.acquire().unwrap();
        let releaser = thread::spawn(move || drop(lease));
        let (handle, books) = (pool.clone(), Arc::clone(&rig));
        let keeper = thread::spawn(move || {
            until(|| books.hangs() > 0);
            clock::advance(MOMENT * 2);
            let _ = handle.maintain(Instant::now());
            let stats = check_size(&handle);
            assert_eq!((stats.reset_timeouts, stats.quarantines), (1, 1), "{stats:?}");
            books.gate.open();
        });
        // The slot of the one that hangs, or a VM of its own; in either case a clean one.
        use_alone(&mut pool.acquire_timeout(Duration::MAX).unwrap());
        keeper.join().unwrap();
        releaser.join().unwrap();
        let stats = check_size(&pool);
        assert_eq!(stats.destroyed_by(DestroyReason::ResetTimedOut), 1, "{stats:?}");
        assert_all_slots_there(&pool);
        finish(&pool, &rig);
    });
}

#[test]
fn suspending_and_draining_let_nobody_in_until_resumed() {
    explore(|| {
        let (pool, rig) = pool(endless(0, 2), Habits::default());
        let handle = pool.clone();
        let books = Arc::clone(&rig);
        together(3, move |number| {
            if number > 0 {
                use_alone(&mut handle.acquire_timeout(Duration::MAX).unwrap());
                return;
            }
            assert!(handle.drain(Duration::MAX));
            assert_eq!(books.alive(), 0);
            assert!(matches!(handle.try_acquire(), Err(PoolError::Suspended { .. })));
            handle.resume();
        });
        assert!(rig.peak() <= 2);
        assert_all_slots_there(&pool);
        finish(&pool, &rig);
    });
}

#[test]
fn whoever_defers_makes_a_vm_for_the_next_time() {
    explore(|| {
        let config = PoolConfig { overflow: Overflow::Defer, ..endless(0, 1) };
        let (pool, rig) = pool(config, Habits::default());
        let handle = pool.clone();
        together(2, move |_| {
            until(|| match handle.acquire() {
                Ok(mut lease) => {
                    use_alone(&mut lease);
                    true
                }
                Err(PoolError::Deferred { .. }) => {
                    check_size(&handle);
                    false
                }
                Err(error) => panic!("{error}"),
            });
        });
        assert_eq!(rig.peak(), 1);
        finish(&pool, &rig);
    });
}

#[test]
fn without_a_thread_to_make_a_vm_on_no_slot_is_lost() {
    explore(|| {
        let (pool, rig) = pool(endless(1, 2), Habits::default());
        let handle = pool.clone();
        together(4, move |number| {
            if number == 0 {
                run_out_of_threads(true);
                let _ = handle.maintain(Instant::now());
                return run_out_of_threads(false);
            }
            match handle.acquire_timeout(Duration::MAX) {
                Ok(mut lease) => use_alone(&mut lease),
                Err(PoolError::Create(_)) => {}
                Err(error) => panic!("{error}"),
            }
            check_size(&handle);
        });
        until(|| pool.stats().building == 0);
        assert_all_slots_there(&pool);
        finish(&pool, &rig);
    });
}

#[test]
fn the_last_handle_may_go_at_any_moment() {
    explore(|| {
        let (pool, rig) = pool(endless(1, 2), Habits::default());
        let lease = pool.acquire().unwrap();
        let (maker, maintainer) = (pool.clone(), pool.clone());
        let threads = [
            thread::spawn(move || drop(lease)),
            thread::spawn(move || drop(maker.acquire().unwrap())),
            thread::spawn(move || drop(maintainer.maintain(Instant::now()))),
        ];
        drop(pool);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        until(|| rig.making() == 0 && rig.alive() == 0);
    });
}

#[test]
fn everything_at_once() {
    explore(|| {
        let sometimes = Habit::FailsSometimes;
        let habits = Habits { create: sometimes, reset: sometimes, validate: sometimes };
        let config = PoolConfig { create_timeout: MOMENT, reset_timeout: MOMENT, ..endless(1, 2) };
        let (pool, rig) = pool(config, habits);
        let handle = pool.clone();
        let borrowers = Arc::new(AtomicUsize::new(3));
        together(4, move |number| {
            if number == 0 {
                // Whatever else happens, time goes by.
                until(|| {
                    clock::advance(MOMENT / 2);
                    borrowers.load(Ordering::SeqCst) == 0
                });
                return;
            }
            let mut lease = None;
            for _ in 0..4 {
                match thread_rng().gen_range(0..11) {
                    0..=3 => match handle.acquire_timeout(MOMENT) {
                        Ok(mut new) => {
                            use_alone(&mut new);
                            // What was held before goes back here.
                            lease = Some(new);
                        }
                        Err(PoolError::Closed | PoolError::Suspended { .. }) => {}
                        Err(PoolError::Exhausted { .. } | PoolError::Create(_)) => {}
                        Err(PoolError::CreateTimedOut { .. } | PoolError::FactoryHangs { .. }) => {}
                        Err(error) => panic!("{error}"),
                    },
                    4 => drop(lease.take()),
                    5 => lease.take().into_iter().for_each(|lease| {
                        Lease::discard(lease, DestroyReason::Discarded);
                    }),
                    6 => drop(handle.evict_all()),
                    7 => drop(handle.maintain(Instant::now() + MOMENT)),
                    8 => {
                        let max_size = thread_rng().gen_range(1..=2);
                        let config = PoolConfig { max_size, ..handle.config() };
                        handle.set_config(config).unwrap();
                    }
                    9 => {
                        handle.suspend();
                        thread::yield_now();
                        handle.resume();
                    }
                    _ if thread_rng().gen_bool(0.2) => {
                        drop(lease.take());
                        let _ = handle.close(Duration::ZERO);
                    }
                    _ => drop(handle.warm_up()),
                }
                let stats = check(&handle);
                assert!(stats.idle + stats.leased + stats.building <= 2, "{stats:?}");
            }
            drop(lease);
            borrowers.fetch_sub(1, Ordering::SeqCst);
        });
        finish(&pool, &rig);
    });
}
