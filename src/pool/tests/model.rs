//! Random operations, and the promises after each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Step, assert_balanced, built, patient, pool_with};
use crate::pool::{DestroyReason, Lease, PoolConfig, PoolError};

#[derive(Clone, Debug)]
enum Op {
    Acquire,
    Release(usize),
    Discard(usize),
    Unwind(usize),
    FailCreate(bool),
    FailReset(bool),
    FailValidate(bool),
    WarmUp,
    Maintain(u64),
    EvictAll,
    Resize(usize, usize),
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Acquire),
        5 => (0..8_usize).prop_map(Op::Release),
        2 => (0..8_usize).prop_map(Op::Discard),
        1 => (0..8_usize).prop_map(Op::Unwind),
        1 => any::<bool>().prop_map(Op::FailCreate),
        1 => any::<bool>().prop_map(Op::FailReset),
        1 => any::<bool>().prop_map(Op::FailValidate),
        1 => Just(Op::WarmUp),
        2 => (0..4000_u64).prop_map(Op::Maintain),
        1 => Just(Op::EvictAll),
        1 => (1..6_usize, 0..6_usize).prop_map(|(max, min)| Op::Resize(min.min(max), max)),
    ]
}

/// Most runs never close; some close somewhere.
fn ops() -> impl Strategy<Value = Vec<Op>> {
    (prop::collection::vec(op(), 1..80), prop::option::weighted(0.3, 0..80_usize)).prop_map(
        |(mut ops, close)| {
            if let Some(at) = close {
                ops.insert(at.min(ops.len()), Op::Close);
            }
            ops
        },
    )
}

fn failing(panic: bool) -> Step {
    if panic { Step::Panic } else { Step::Fail }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_promises_hold_after_every_operation(ops in ops(), max_use_count in 0..5_u64) {
        let config = PoolConfig {
            min_size: 1,
            max_size: 4,
            max_use_count,
            ..patient()
        };
        let (pool, rig) = pool_with(config);
        let mut leases = Vec::new();
        let mut largest = 4;
        let mut closed = false;
        for op in ops {
            match op {
                Op::Acquire => match pool.try_acquire() {
                    Ok(mut lease) => {
                        prop_assert!(!closed);
                        prop_assert_eq!(lease.dirt, 0);
                        lease.dirt = 1;
                        leases.push(lease);
                    }
                    Err(PoolError::Exhausted { max_size, leased, .. }) => {
                        prop_assert!(leased >= max_size && leased == leases.len());
                    }
                    Err(PoolError::Closed) => prop_assert!(closed),
                    Err(PoolError::Create(_)) => {}
                    Err(error) => prop_assert!(false, "{error}"),
                },
                Op::Release(n) if n < leases.len() => drop(leases.swap_remove(n)),
                Op::Discard(n) if n < leases.len() => {
                    Lease::discard(leases.swap_remove(n), DestroyReason::Discarded);
                }
                Op::Unwind(n) if n < leases.len() => {
                    let lease = leases.swap_remove(n);
                    let unwound = catch_unwind(AssertUnwindSafe(move || {
                        let _lease = lease;
                        panic!("as planned");
                    }));
                    prop_assert!(unwound.is_err());
                }
                Op::Release(_) | Op::Discard(_) | Op::Unwind(_) => {}
                Op::FailCreate(panic) => rig.create.then(failing(panic)),
                Op::FailReset(panic) => rig.reset.then(failing(panic)),
                Op::FailValidate(panic) => rig.validate.then(failing(panic)),
                Op::WarmUp => {
                    if let Ok(made) = pool.warm_up() {
                        prop_assert!(made == 0 || pool.stats().idle >= made);
                    }
                }
                Op::Maintain(seconds) => {
                    let _ = pool.maintain(Instant::now() + Duration::from_secs(seconds));
                    let stats = pool.stats();
                    let kept = stats.min_size.min(stats.idle);
                    prop_assert!(closed || stats.idle >= kept);
                    built(&pool);
                }
                Op::EvictAll => {
                    let idle = pool.stats().idle;
                    prop_assert_eq!(pool.evict_all(), idle);
                }
                Op::Resize(min_size, max_size) => {
                    largest = largest.max(max_size);
                    let config = PoolConfig { min_size, max_size, ..pool.config() };
                    prop_assert!(pool.set_config(config).is_ok());
                }
                Op::Close => {
                    closed = true;
                    prop_assert_eq!(pool.close(Duration::ZERO), leases.is_empty());
                }
            }
            let stats = pool.stats();
            assert_balanced(&stats);
            prop_assert_eq!(stats.leased, leases.len());
            prop_assert_eq!(stats.quarantined, 0);
            prop_assert_eq!(stats.idle + stats.leased, rig.alive());
            prop_assert!(rig.peak() <= largest);
            prop_assert!(stats.idle + stats.leased <= stats.max_size.max(leases.len()));
            prop_assert_eq!(pool.vms().len(), rig.alive());
        }
        drop(leases);
        if !closed {
            // No slot was lost: with failures out of the way, all of them can be leased.
            rig.clear();
            let size = pool.stats().max_size;
            let all: Vec<_> = (0..size).map(|_| pool.try_acquire()).collect();
            prop_assert!(all.iter().all(Result::is_ok));
            prop_assert!(pool.try_acquire().is_err());
        }
        prop_assert!(pool.close(Duration::ZERO));
        prop_assert_eq!(rig.alive(), 0);
        let stats = pool.stats();
        prop_assert_eq!(stats.created, stats.destroyed);
    }
}
