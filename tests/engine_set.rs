//! `EngineSet`: an engine per user, bounded, no state lost.

#![expect(clippy::unwrap_used, reason = "what is set up here can't fail")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bevy_lua_pool::engine::{EngineSet, EngineSetConfig, EngineSetError, Evicted};
use bevy_lua_pool::{EngineError, LuaEngine, ScriptTable, ScriptValue};

const MIB: usize = 1024 * 1024;

type Saved = Arc<Mutex<HashMap<u32, ScriptTable>>>;

/// A set that restores from, and saves to, the same place.
fn users(config: EngineSetConfig) -> (EngineSet<u32>, Saved) {
    let saved = Saved::default();
    let (load, save) = (saved.clone(), saved.clone());
    let make = move |user: &u32| {
        let mut engine = LuaEngine::new()?;
        if let Some(state) = load.lock().unwrap().remove(user) {
            engine.restore(&state)?;
        }
        Ok(engine)
    };
    let keep = move |evicted: Evicted<u32>| {
        save.lock().unwrap().insert(evicted.key, evicted.state.unwrap());
    };
    (EngineSet::new(config, make, keep).unwrap(), saved)
}

fn config() -> EngineSetConfig {
    EngineSetConfig { wait: Duration::from_secs(60), ..EngineSetConfig::default() }
}

fn add(users: &EngineSet<u32>, user: u32) -> f64 {
    let value = users
        .with(&user, |engine| engine.evaluate("count = (count or 0) + 1 return count"))
        .unwrap();
    match value {
        Ok(ScriptValue::Number(count)) => count,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_engine_persists_for_its_key() {
    let (users, _) = users(config());
    assert_eq!(
        [add(&users, 1), add(&users, 1), add(&users, 2), add(&users, 1)],
        [1.0, 2.0, 1.0, 3.0]
    );
    assert_eq!((users.stats().engines, users.stats().created), (2, 2));
}

#[test]
fn the_least_recently_used_goes_first_and_its_state_is_handed_over() {
    let (users, saved) = users(EngineSetConfig { max_engines: 2, ..config() });
    add(&users, 1);
    add(&users, 2);
    add(&users, 1);
    add(&users, 3);
    assert_eq!(
        saved.lock().unwrap().get(&2),
        Some(&ScriptTable::from([("count", 1.0)])),
        "2 was used least recently"
    );
    assert_eq!(add(&users, 2), 2.0, "it was restored");
    assert!(saved.lock().unwrap().contains_key(&1));
    let stats = users.stats();
    assert_eq!((stats.engines, stats.in_use, stats.created, stats.evicted), (2, 0, 4, 2));
}

#[test]
fn the_state_of_an_engine_that_goes_is_handed_over_whatever_ends_its_calls() {
    let (keep, kept) = mpsc::channel();
    let keep = Mutex::new(keep);
    let on_evict = move |evicted: Evicted<u32>| keep.lock().unwrap().send(evicted.state).unwrap();
    let users = EngineSet::new(config(), |_| LuaEngine::new(), on_evict).unwrap();
    let source = "gold = {} for i = 1, 20000 do gold[i] = {i} end";
    let interrupter = users
        .with(&1, |engine| {
            engine.run(source).unwrap();
            engine.set_time_limit(Duration::from_nanos(1));
            engine.set_call_timeout(Some(Duration::ZERO));
            assert!(engine.state().is_err(), "an ordinary call has no time");
            engine.interrupter()
        })
        .unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                interrupter.interrupt();
            }
        });
        users.evict(&1);
        over.store(true, Ordering::Relaxed);
    });
    let gold = kept.try_recv().unwrap().unwrap().get("gold").clone();
    assert!(matches!(gold, ScriptValue::Table(gold) if gold.array.len() == 20_000));
}

#[test]
fn memory_is_bounded_for_all_together() {
    let limits =
        EngineSetConfig { max_engine_memory: 8 * MIB, max_total_memory: 20 * MIB, ..config() };
    let (users, saved) = users(limits);
    for user in 0..10 {
        users
            .with(&user, |engine| engine.run("text = string.rep('x', 5 * 1024 * 1024)"))
            .unwrap()
            .unwrap();
        let stats = users.stats();
        assert!(stats.memory_bytes <= 20 * MIB, "{stats:?}");
    }
    assert!(users.stats().engines >= 2, "there is room for more than one");
    assert!(!saved.lock().unwrap().is_empty());
    let failure = users.with(&0, |engine| engine.run("more = string.rep('y', 9 * 1024 * 1024)"));
    assert!(failure.unwrap().is_err(), "an engine has no more than its share");
}

#[test]
fn an_engine_in_use_is_never_evicted_and_who_wants_it_waits() {
    let (users, saved) = users(EngineSetConfig { max_engines: 1, ..config() });
    let (started, is_started) = mpsc::channel();
    let (release, is_released) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let users = &users;
        scope.spawn(move || {
            users
                .with(&1, |engine| {
                    started.send(()).unwrap();
                    is_released.recv().unwrap();
                    engine.run("x = 1")
                })
                .unwrap()
                .unwrap();
        });
        is_started.recv().unwrap();
        assert!(!users.evict(&1), "it is in use");
        assert_eq!((users.stats().engines, users.stats().in_use), (1, 1));
        let waiting = [1, 2].map(|user| scope.spawn(move || add(users, user)));
        release.send(()).unwrap();
        for waiter in waiting {
            assert_eq!(waiter.join().unwrap(), 1.0);
        }
    });
    assert_eq!(users.evict_all(), 1);
    assert_eq!(saved.lock().unwrap().len(), 2);
    assert_eq!(users.stats().memory_bytes, 0);
}

#[test]
fn waiting_has_an_end() {
    let (users, _) = users(EngineSetConfig { wait: Duration::from_millis(1), ..config() });
    users
        .with(&1, |_| {
            let second = users.with(&1, |_| ());
            assert!(matches!(second, Err(EngineSetError::Busy { .. })), "{second:?}");
        })
        .unwrap();
    users.with(&1, |_| ()).unwrap();
}

#[test]
fn an_engine_survives_a_panic_of_its_user() {
    let (users, _) = users(config());
    add(&users, 1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        users.with(&1, |_| panic!("the user's own"))
    }));
    assert!(panicked.is_err());
    assert_eq!(add(&users, 1), 2.0);
    assert_eq!(users.stats().in_use, 0);
}

#[test]
fn an_engine_that_cannot_be_made_leaves_no_trace() {
    let make = |user: &u32| {
        let mut engine = LuaEngine::builder().memory_limit(if *user == 0 { 1 } else { MIB * 2 });
        engine = engine.seed(1);
        engine.build()
    };
    let set = EngineSet::new(config(), make, |_| ()).unwrap();
    assert!(matches!(set.with(&0, |_| ()), Err(EngineSetError::Make(EngineError::SetUp(_)))));
    assert_eq!((set.stats().engines, set.stats().memory_bytes), (0, 0));
    set.with(&1, |_| ()).unwrap();
}

#[test]
fn a_configuration_without_room_for_one_engine_is_refused() {
    for bad in [
        EngineSetConfig { max_engines: 0, ..config() },
        EngineSetConfig { max_total_memory: 10 * MIB, ..config() },
        EngineSetConfig { max_engine_memory: 0, ..config() },
    ] {
        let set = EngineSet::new(bad, |_: &u32| LuaEngine::new(), |_| ());
        assert!(matches!(set, Err(EngineSetError::Config { .. })), "{bad:?}");
    }
}

#[test]
fn many_threads_and_users_lose_no_count() {
    let (users, saved) = users(EngineSetConfig { max_engines: 3, ..config() });
    let (threads, rounds, keys) = (4, 60, 6);
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        for thread in 0..threads {
            let (users, barrier) = (&users, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..rounds {
                    add(users, ((round * 7 + thread * 3) % keys) as u32);
                    let stats = users.stats();
                    assert!(stats.engines <= 3, "{stats:?}");
                }
            });
        }
    });
    users.evict_all();
    let saved = saved.lock().unwrap();
    let total: f64 = saved
        .values()
        .map(|state| match state.get("count") {
            ScriptValue::Number(count) => *count,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(total, (threads * rounds) as f64);
}
