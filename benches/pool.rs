//! The pool and the engine, beside what else there is, in one run, with the ratios at the end.
//!
//! ```text
//! cargo bench --bench pool
//! ```
//!
//! - `lease`: acquire a VM that is there and give it back, on 1, 2, 4 and 8 threads, with a VM for each
//!   thread and with one for two. The VM is a number and its reset does nothing, so this is the pool's own
//!   work. Beside it [`deadpool`], driven by `block_on`, which never waits for a runtime; and a channel
//!   that holds the numbers: a pool without checks, limits and figures.
//! - `reset`: what cleaning a VM costs after a script has run, beside making one.
//! - `evaluate`: the engine beside plain mlua. `compile` is an expression from its source, as mlua's
//!   `lua.load(source).eval()` does it; `call` is a function that is there, by its name.
//! - `stats`: the snapshot that the panel takes each frame.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use bevy_lua_pool::pool::{BoxError, PoolConfig, VmFactory, VmPool, VmResetter};
use bevy_lua_pool::vm::{Api, LuauFactory, LuauResetter, NoWorld, Program, RunLimits, Vm};
use bevy_lua_pool::{LuaEngine, LuaPoolConfig, LuauPool, ScriptTable};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};
use deadpool::managed::{Manager, Metrics, RecycleResult};
use futures_lite::future::block_on;
use mlua::{Function, Lua};

const THREADS: [usize; 4] = [1, 2, 4, 8];

/// Group, case, way; nanoseconds for each time.
type Results = BTreeMap<(&'static str, String, &'static str), Vec<f64>>;

thread_local! {
    static RESULTS: RefCell<Results> = const { RefCell::new(BTreeMap::new()) };
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lease(&mut criterion);
    reset(&mut criterion);
    evaluate(&mut criterion);
    stats(&mut criterion);
    criterion.final_summary();
    print_ratios();
}

fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.sample_size(20);
    group
}

/// Measures what does something so many times and says how long that took.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: (&'static str, &str, &'static str),
    mut times: impl FnMut(u64) -> Duration,
) {
    let (of, case, way) = name;
    group.bench_function(BenchmarkId::new(way, case), |bencher| {
        bencher.iter_custom(|iterations| {
            let took = times(iterations);
            let each = took.as_nanos() as f64 / iterations as f64;
            RESULTS.with_borrow_mut(|all| {
                all.entry((of, case.to_owned(), way)).or_default().push(each);
            });
            took
        });
    });
}

/// Does something again and again.
fn repeat(mut what: impl FnMut()) -> impl FnMut(u64) -> Duration {
    move |iterations| {
        let start = Instant::now();
        for _ in 0..iterations {
            what();
        }
        start.elapsed()
    }
}

/// The work that is to be measured, after some that isn't.
fn after<T>(mut before: impl FnMut() -> T, mut what: impl FnMut(T)) -> impl FnMut(u64) -> Duration {
    move |iterations| {
        let mut took = Duration::ZERO;
        for _ in 0..iterations {
            let prepared = before();
            let start = Instant::now();
            what(prepared);
            took += start.elapsed();
        }
        took
    }
}

struct Idle;

impl VmResetter<u64> for Idle {
    fn reset(&self, _: &mut u64) -> Result<(), BoxError> {
        Ok(())
    }
}

struct Numbers;

impl Manager for Numbers {
    type Type = u64;
    type Error = BoxError;

    async fn create(&self) -> Result<u64, BoxError> {
        Ok(0)
    }

    async fn recycle(&self, _: &mut u64, _: &Metrics) -> RecycleResult<BoxError> {
        Ok(())
    }
}

fn lease(criterion: &mut Criterion) {
    let mut group = group(criterion, "lease");
    for threads in THREADS {
        let sizes = [(threads, "a VM each"), (threads / 2, "a VM for two")];
        for (size, share) in sizes.into_iter().filter(|(size, _)| *size > 0) {
            let case = format!("{threads} threads, {share}");

            let config = PoolConfig {
                min_size: size,
                max_size: size,
                acquire_timeout: Duration::from_secs(60),
                max_use_count: 0,
                ..PoolConfig::default()
            };
            let pool = VmPool::new(config, || Ok::<_, BoxError>(0_u64), Idle);
            let pool = pool.expect("the configuration is valid");
            pool.warm_up().expect("numbers can be made");
            let cycle = move || *pool.acquire().expect("its turn comes") += 1;
            measure(&mut group, ("lease", &case, "pool"), on_threads(threads, cycle));

            let pool = deadpool::managed::Pool::<Numbers>::builder(Numbers);
            let pool = pool.max_size(size).build().expect("it needs no runtime");
            let cycle = move || *block_on(pool.get()).expect("its turn comes") += 1;
            measure(&mut group, ("lease", &case, "deadpool"), on_threads(threads, cycle));

            let (give, take) = crossbeam_channel::bounded(size);
            (0..size).for_each(|_| give.send(0_u64).expect("there is room"));
            let cycle = move || {
                let number = take.recv().expect("its turn comes");
                give.send(number + 1).expect("there is room");
            };
            measure(&mut group, ("lease", &case, "channel"), on_threads(threads, cycle));
        }
    }
    group.finish();
}

/// Does so many cycles on all threads together, which begin at the same time.
fn on_threads(
    threads: usize,
    cycle: impl Fn() + Clone + Send + 'static,
) -> impl FnMut(u64) -> Duration {
    move |iterations| {
        if threads == 1 {
            return repeat(&cycle)(iterations);
        }
        let each = iterations.div_ceil(threads as u64);
        let start = Arc::new(Barrier::new(threads + 1));
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (cycle, start) = (cycle.clone(), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    (0..each).for_each(|_| cycle());
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        workers.into_iter().for_each(|worker| worker.join().expect("no cycle panics"));
        began.elapsed()
    }
}

/// Leaves globals, a function and a table behind.
const DIRT: &str = "
count = (count or 0) + 1
items = {}
for i = 1, 20 do items[i] = {name = 'item', number = i} end
function twice(x) return 2 * x end
return count";

fn reset(criterion: &mut Criterion) {
    let mut group = group(criterion, "reset");
    // Made, and kept until the time is taken: what it costs to get rid of one isn't part of it.
    let mut kept = None;
    let make = after(|| (), |()| drop(kept.replace(Lua::new())));
    measure(&mut group, ("reset", "a VM", "Lua::new()"), make);
    let mut kept = None;
    let make = after(
        || (),
        |()| {
            let lua = Lua::new();
            lua.sandbox(true).expect("it can be sandboxed");
            drop(kept.replace(lua));
        },
    );
    measure(&mut group, ("reset", "a VM", "Lua::new(), sandbox"), make);

    let api = Arc::new(Api::default());
    let config = LuaPoolConfig::default();
    let factory = LuauFactory::new(api, config.pool.memory_limit);
    let mut kept = None;
    let make = after(|| (), |()| drop(kept.replace(factory.create().expect("it can be made"))));
    measure(&mut group, ("reset", "a VM", "a pooled VM, made"), make);

    let limits = RunLimits::from(&config);
    let program = Program::compile_expression("dirt", DIRT).expect("it compiles");
    let vm = RefCell::new(factory.create().expect("it can be made"));
    let run = || {
        let (mut vm, params) = (vm.borrow_mut(), ScriptTable::default());
        let value = vm.evaluate(&program, &params, 0, &mut NoWorld::default(), &limits);
        assert_eq!(value, Ok(1.0.into()), "it is clean");
    };
    measure(
        &mut group,
        ("reset", "a VM", "a pooled VM, cleaned"),
        after(run, |()| {
            clean(&mut vm.borrow_mut());
        }),
    );

    let engine = RefCell::new(LuaEngine::new().expect("it can be made"));
    let run = || {
        let value = engine.borrow_mut().evaluate(DIRT);
        assert_eq!(value, Ok(1.0.into()), "it is clean");
    };
    measure(
        &mut group,
        ("reset", "a VM", "engine.reset()"),
        after(run, |()| {
            engine.borrow_mut().reset().expect("it can be reset");
        }),
    );
    group.finish();
}

/// What a pool does with a VM between two leases.
fn clean(vm: &mut Vm) {
    let resetter = LuauResetter;
    assert!(!resetter.is_spent(vm));
    resetter.reset(vm).expect("it can be reset");
    black_box(resetter.inspect(vm));
    resetter.validate(vm).expect("it is sound");
}

const EXPRESSION: &str = "math.floor(2.5) + #'four' * 3";

const FUNCTION: &str = "
function work(n)
    local sum = 0
    for i = 1, n do sum += i % 7 end
    return sum
end";

fn evaluate(criterion: &mut Criterion) {
    let mut group = group(criterion, "evaluate");
    let mut engine = LuaEngine::new().expect("it can be made");
    let lua = Lua::new();
    lua.sandbox(true).expect("it can be sandboxed");

    measure(
        &mut group,
        ("evaluate", "compile", "engine"),
        repeat(|| {
            assert_eq!(engine.evaluate(EXPRESSION), Ok(14.0.into()));
        }),
    );
    measure(
        &mut group,
        ("evaluate", "compile", "mlua"),
        repeat(|| {
            let value: f64 = lua.load(EXPRESSION).eval().expect("it runs");
            assert_eq!(value, 14.0);
        }),
    );

    engine.run(FUNCTION).expect("it runs");
    lua.load(FUNCTION).exec().expect("it runs");
    for n in [0_u32, 10, 100, 1000] {
        let case = format!("call, {n} rounds");
        let expected = f64::from((1..=n).map(|i| i % 7).sum::<u32>());
        measure(
            &mut group,
            ("evaluate", &case, "engine"),
            repeat(|| {
                assert_eq!(engine.call("work", f64::from(n)), Ok(expected.into()));
            }),
        );
        measure(
            &mut group,
            ("evaluate", &case, "mlua"),
            repeat(|| {
                let work: Function = lua.globals().get("work").expect("it is there");
                assert_eq!(work.call::<f64>(n).expect("it runs"), expected);
            }),
        );
    }

    // Both from the same clean state each time.
    let config = LuaPoolConfig::builder().max_use_count(0).build().expect("it is valid");
    let pool = LuauPool::builder().config(config).build().expect("it can be made");
    measure(
        &mut group,
        ("evaluate", "clean run", "pool.execute"),
        repeat(|| {
            let value = pool.execute(EXPRESSION, ScriptTable::default()).expect("it runs");
            assert_eq!(value, 14.0.into());
        }),
    );
    measure(
        &mut group,
        ("evaluate", "clean run", "mlua, a new VM"),
        repeat(|| {
            let lua = Lua::new();
            lua.sandbox(true).expect("it can be sandboxed");
            let value: f64 = lua.load(EXPRESSION).eval().expect("it runs");
            assert_eq!(value, 14.0);
        }),
    );
    group.finish();
}

fn stats(criterion: &mut Criterion) {
    let mut group = group(criterion, "stats");
    let config = PoolConfig { min_size: 10, max_use_count: 0, ..PoolConfig::default() };
    let pool = VmPool::new(config, || Ok::<_, BoxError>(0_u64), Idle);
    let pool = pool.expect("the configuration is valid");
    pool.warm_up().expect("numbers can be made");
    for _ in 0..10_000 {
        drop(pool.acquire().expect("one is free"));
    }
    measure(
        &mut group,
        ("stats", "10 VMs", "pool.stats()"),
        repeat(|| {
            black_box(pool.stats());
        }),
    );
    measure(&mut group, ("stats", "10 VMs", "pool.vms()"), repeat(|| drop(black_box(pool.vms()))));
    measure(
        &mut group,
        ("stats", "10 VMs", "maintain, nothing due"),
        repeat(|| {
            let _ = black_box(pool.maintain(Instant::now()));
        }),
    );
    group.finish();
}

fn median(of: &'static str, case: &str, way: &'static str) -> Option<f64> {
    RESULTS.with_borrow(|all| {
        let mut samples = all.get(&(of, case.to_owned(), way))?.clone();
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied()
    })
}

fn print_ratios() {
    /// What the others are compared with in each group.
    const OURS: [(&str, &[&str]); 4] = [
        ("lease", &["pool"]),
        ("reset", &["engine.reset()"]),
        ("evaluate", &["engine", "pool.execute"]),
        ("stats", &["pool.stats()"]),
    ];
    println!("\nns each time (median), and how many times as fast the first of each case is");
    println!("{:>10} {:<26} {:<24} {:>12} {:>10}", "", "case", "way", "ns", "ratio");
    let keys: Vec<_> = RESULTS.with_borrow(|all| all.keys().cloned().collect());
    for (of, ours) in OURS {
        for (_, case, way) in keys.iter().filter(|(group, ..)| *group == of) {
            let base = ours.iter().find_map(|ours| median(of, case, ours));
            let (Some(base), Some(ns)) = (base, median(of, case, way)) else { continue };
            println!("{of:>10} {case:<26} {way:<24} {ns:>12.1} {:>9.2}x", ns / base);
        }
    }
}
