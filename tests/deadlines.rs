//! What limits of time hold for besides running scripts: compiling, looking at values for the host, waiting.

#![expect(clippy::unwrap_used, reason = "what is set up here can't fail")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use bevy_lua_pool::engine::{ExecuteError, Interrupter};
use bevy_lua_pool::pool::PoolError;
use bevy_lua_pool::{LuaEngine, LuaPoolConfig, LuauPool, PoolConfig, ScriptError};
use cpu_time::ThreadTime;

/// Far more than a limit of some milliseconds allows, on a busy machine and without optimisation.
const AGES: Duration = Duration::from_secs(2);

fn timed_out(error: &ScriptError) -> bool {
    matches!(error, ScriptError::TimedOut { .. })
}

/// A table of references to one table, which takes long to look at and has nothing in it.
const SHARED: &str = "local cells = table.create(1000000)
    shared = table.create(16000, cells)";

#[test]
fn looking_at_globals_for_the_host_has_a_deadline() {
    let mut engine = LuaEngine::builder()
        .value_limit(1 << 30)
        .time_limit(Duration::from_secs(60))
        .build()
        .unwrap();
    engine.run(SHARED).unwrap();
    engine.set_time_limit(Duration::from_millis(20));
    type Look = fn(&mut LuaEngine) -> Option<ScriptError>;
    let looks: [(&str, Look); 4] = [
        ("state", |engine| engine.state().err().map(|failure| failure.error)),
        ("get", |engine| engine.get("shared").err().map(|failure| failure.error)),
        ("evaluate", |engine| engine.evaluate("shared").err().map(|failure| failure.error)),
        ("call", |engine| {
            engine.run("function give() return shared end").unwrap();
            engine.call("give", ()).err().map(|failure| failure.error)
        }),
    ];
    for (name, look) in looks {
        let began = ThreadTime::now();
        let error = look(&mut engine);
        assert!(error.as_ref().is_some_and(timed_out), "{name}: {error:?}");
        assert!(began.elapsed() < AGES, "{name}: {:?}", began.elapsed());
    }
    engine.set_time_limit(Duration::from_secs(60));
    assert_eq!(engine.evaluate("#shared").unwrap(), 16000.0.into(), "and it goes on");
}

/// A source that takes some milliseconds to compile, and none to run.
fn slow_to_compile() -> String {
    let mut source = String::from("local f = function() return {");
    while source.len() < 240_000 {
        source.push_str("a=1+2*3,");
    }
    source + "} end"
}

#[test]
fn compiling_is_part_of_the_call() {
    let limit = Duration::from_micros(100);
    let mut engine = LuaEngine::builder().time_limit(limit).build().unwrap();
    let source = slow_to_compile();
    let failure = engine.run(&source).unwrap_err();
    assert!(timed_out(&failure.error), "{failure}");
    let failure = engine.evaluate(&format!("1 {source}")).unwrap_err();
    assert!(!timed_out(&failure.error), "what doesn't compile says so: {failure}");

    let pool = LuauPool::builder()
        .config(LuaPoolConfig { run_time_limit: limit, ..LuaPoolConfig::default() });
    let pool = pool.build().unwrap();
    let error = pool.execute(&source, [("x", 1.0)]).unwrap_err();
    let ExecuteError::Failed(failure) = error else { panic!("{error}") };
    assert!(timed_out(&failure.error), "{failure}");
    engine.set_time_limit(Duration::from_secs(60));
    engine.run(&source).unwrap();
}

#[test]
fn a_source_may_be_as_long_as_was_said() {
    let mut engine = LuaEngine::builder().max_source_size(10).build().unwrap();
    let pool = LuauPool::builder().max_source_size(10).build().unwrap();
    assert_eq!(engine.evaluate("1000000000").unwrap(), 1e9.into());
    assert_eq!(pool.execute("1000000000", [("x", 1.0)]).unwrap(), 1e9.into());
    engine.run("x = 1 + 10").unwrap();
    let too_large = |error: &ScriptError| matches!(error, ScriptError::TooLarge { limit: 10, .. });
    for source in ["10000000000", "return 1000"] {
        let failure = engine.evaluate(source).unwrap_err();
        assert!(too_large(&failure.error), "{failure}");
        let failure = failed(pool.execute(source, [("x", 1.0)]).unwrap_err());
        assert!(too_large(&failure), "{failure}");
    }
    assert!(too_large(&engine.run("x = 1 + 100").unwrap_err().error));
}

fn failed(error: ExecuteError) -> ScriptError {
    match error {
        ExecuteError::Failed(failure) => failure.error,
        error => panic!("{error}"),
    }
}

/// A function that waits for some milliseconds, which takes no CPU time, and how often it was called.
fn waits() -> (impl Fn(()) + Clone + Send + Sync + 'static, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    // Nothing ever comes.
    let (sender, receiver) = mpsc::channel::<()>();
    let ends = Arc::new((sender, Mutex::new(receiver)));
    let wait = move |(): ()| {
        counted.fetch_add(1, Ordering::Relaxed);
        let _ = ends.1.lock().unwrap().recv_timeout(Duration::from_millis(2));
    };
    (wait, calls)
}

const WAITS: &str = "for n = 1, 1000 do wait() end";
const SPINS: &str = "while true do end";

/// Limits of CPU time that nothing here reaches.
fn patient() -> LuaPoolConfig {
    let run_time_limit = Duration::from_secs(60);
    let acquire_timeout = Duration::from_secs(600);
    LuaPoolConfig {
        pool: PoolConfig { acquire_timeout, min_size: 1, max_size: 1, ..PoolConfig::default() },
        run_time_limit,
        ..LuaPoolConfig::default()
    }
}

#[test]
fn waiting_counts_by_the_clock_on_the_wall_alone() {
    let timeout = Duration::from_millis(30);
    let overdue = |error: &ScriptError| matches!(error, ScriptError::Overdue { timeout: told, .. } if *told == timeout);
    let (wait, calls) = waits();
    let builder = LuaEngine::builder().function("wait", wait.clone());
    let mut engine = builder.time_limit(Duration::from_secs(60)).build().unwrap();
    engine.run("for n = 1, 100 do wait() end").unwrap();
    engine.set_call_timeout(Some(timeout));
    for source in [WAITS, SPINS, "while true do pcall(wait) end"] {
        calls.store(0, Ordering::Relaxed);
        let failure = engine.run(source).unwrap_err();
        assert!(overdue(&failure.error), "{failure}");
        assert!(calls.load(Ordering::Relaxed) < 1000, "it ended when a function returned");
    }
    engine.set_call_timeout(None);
    engine.run("x = 1").unwrap();

    let pool = LuauPool::builder().config(patient()).function("wait", wait);
    let pool = pool.call_timeout(timeout).build().unwrap();
    for source in [WAITS, SPINS] {
        let error = failed(pool.execute(source, [("x", 1.0)]).unwrap_err());
        assert!(overdue(&error), "{error}");
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(pool.execute_within(hour, "wait()", [("x", 1.0)]).unwrap(), Default::default());
    // Waiting for a VM is a part of the call.
    let lease = pool.vms().acquire().unwrap();
    let error = failed(pool.execute_within(timeout, "1", [("x", 1.0)]).unwrap_err());
    assert!(overdue(&error), "{error}");
    drop(lease);
    assert_eq!(pool.execute_within(hour, "1", [("x", 1.0)]).unwrap(), 1.0.into());
}

/// A function that interrupts from another thread.
fn interrupts() -> (impl Fn(()) + Send + Sync + 'static, Arc<OnceLock<Interrupter>>) {
    let interrupter = Arc::new(OnceLock::<Interrupter>::new());
    let shared = Arc::clone(&interrupter);
    let interrupt = move |(): ()| {
        let interrupter = shared.get().unwrap().clone();
        thread::spawn(move || interrupter.interrupt()).join().unwrap();
    };
    (interrupt, interrupter)
}

#[test]
fn an_interrupter_ends_the_call_that_is_under_way_and_no_other() {
    let (interrupt, interrupter) = interrupts();
    let builder = LuaEngine::builder().function("interrupt", interrupt);
    let mut engine = builder.time_limit(Duration::from_secs(60)).build().unwrap();
    interrupter.set(engine.interrupter()).unwrap();
    for source in [
        "interrupt() while true do end",
        "pcall(interrupt) while true do pcall(function() while true do end end) end",
        "coroutine.wrap(function() interrupt() while true do end end)()",
    ] {
        let failure = engine.run(source).unwrap_err();
        assert_eq!(failure.error, ScriptError::Cancelled, "{source}");
        engine.run("x = 1 for n = 1, 1000 do x += n end").unwrap();
        interrupter.get().unwrap().interrupt();
        engine.run("x = 2 for n = 1, 1000 do x += n end").unwrap();
    }
}

#[test]
fn an_interrupter_of_a_pool_ends_what_runs_and_what_waits_for_a_vm() {
    let (interrupt, interrupter) = interrupts();
    let pool = LuauPool::builder().config(patient()).function("interrupt", interrupt);
    let pool = pool.build().unwrap();
    interrupter.set(pool.interrupter()).unwrap();
    for _ in 0..3 {
        let source = "interrupt() while true do end";
        let error = failed(pool.execute(source, [("x", 1.0)]).unwrap_err());
        assert_eq!(error, ScriptError::Cancelled);
        assert_eq!(pool.execute("params.x", [("x", 1.0)]).unwrap(), 1.0.into());
    }
    let lease = pool.vms().acquire().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| pool.execute("1", [("x", 1.0)]).unwrap_err());
        while pool.vms().stats().waiting == 0 {
            thread::yield_now();
        }
        pool.interrupter().interrupt();
        assert_eq!(failed(waiting.join().unwrap()), ScriptError::Cancelled);
    });
    assert_eq!(pool.vms().stats().waiting, 0);
    drop(lease);
    assert_eq!(pool.execute("1", [("x", 1.0)]).unwrap(), 1.0.into());
}

#[test]
fn who_waits_for_a_vm_may_be_told_to_stop() {
    let pool = LuauPool::builder().config(patient()).build().unwrap();
    drop(pool.vms().acquire().unwrap());
    assert!(pool.vms().acquire_unless(|| true).is_ok(), "what is free is there at once");
    let lease = pool.vms().acquire().unwrap();
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = || stopped.load(Ordering::Relaxed);
        let waiting = scope.spawn(move || pool.vms().acquire_unless(stop).err());
        stopped.store(true, Ordering::Relaxed);
        let error = waiting.join().unwrap().unwrap();
        assert!(matches!(error, PoolError::Interrupted { .. }), "{error}");
    });
    drop(lease);
}
