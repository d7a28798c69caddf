//! The pool and its VMs without any Bevy app: four threads share two Luau VMs.
//!
//! ```sh
//! cargo run --release --no-default-features --example pool_only
//! ```
//!
//! For tools, tests and servers that want scripts but no engine. A script's `self` goes in as plain
//! data and comes out as plain data, so that any VM on any thread can run it next.

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bevy_lua_pool::LuaPoolConfig;
use bevy_lua_pool::pool::{DestroyReason, PoolConfig, PoolError, PoolStats, VmPool};
use bevy_lua_pool::vm::{
    Api, Call, Callback, LuauFactory, LuauResetter, NoWorld, Outcome, Program, RunLimits, Vm,
};
use bevy_lua_pool::{ScriptTable, ScriptValue};

/// Saves money, with interest. Each account has a `self` of its own.
const ACCOUNT: &str = r#"
local RATE = 0.05

function on_start(self)
    self.balance = 100
    self.years = 0
end

function on_update(self, years)
    -- A stray global. It is gone after this run: no other account ever sees it.
    visitors = (visitors or 0) + 1
    self.most_visitors = math.max(self.most_visitors or 0, visitors)

    self.balance *= (1 + RATE) ^ years
    self.years += years
    if self.years == 10 then
        log.info(string.format("ten years: %.2f", self.balance))
    end
end
"#;

/// Never comes back.
const ENDLESS: &str = "function on_update(self) while true do end end";

const THREADS: usize = 4;
const ACCOUNTS: usize = 250;
const YEARS: u64 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    // Two VMs for four threads: a thread that finds none free waits for its turn.
    let config = LuaPoolConfig::builder()
        .min_size(1)
        .max_size(2)
        .acquire_timeout(Duration::from_secs(10))
        .run_time_limit(Duration::from_millis(100))
        .build()?;
    // A factory makes VMs, a resetter sees that they are clean. This pair is for Luau; a pool can hold
    // anything that somebody makes and cleans.
    let factory = LuauFactory::new(Arc::new(Api::default()), config.pool.memory_limit);
    let pool = VmPool::new(config.pool, factory, LuauResetter)?;
    println!("warmed up: {} VM", pool.warm_up()?);

    // Somebody has to look after the VMs: evict those that are old, idle or unsound, make those that are
    // missing. In an app a system does; here it's a thread, until this handle is dropped.
    let maintenance = pool.maintain_in_background(|done| {
        for incident in done.incidents {
            println!("incident: {incident}");
        }
    })?;

    // The pool knows sizes and times; who runs a script says what it may use.
    let limits = RunLimits::from(&config);
    share_two_vms(&pool, &limits)?;
    meet_a_limit(&pool, &limits)?;
    change_the_pool(&pool)?;
    print_figures(&pool.stats());

    // No more leases. Those that are out have half a second to come back; then they are interrupted, and
    // have the other half.
    assert!(pool.close(Duration::from_secs(1)), "nobody holds a VM any more");
    drop(maintenance);
    let stats = pool.stats();
    println!("\nclosed: {} VMs made, {} destroyed", stats.created, stats.destroyed);
    Ok(())
}

/// Four threads, a thousand accounts, two VMs: each run starts clean, and what an account keeps is data.
fn share_two_vms(pool: &VmPool<Vm>, limits: &RunLimits) -> Result<(), Box<dyn Error>> {
    // Compiled once; any VM on any thread runs it.
    let account = Program::compile("account.luau", ACCOUNT)?;

    let began = Instant::now();
    let accounts: Vec<ScriptTable> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| work(pool, &account, limits))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let runs = accounts.len() as u64 * (YEARS + 1);
    let took = began.elapsed();
    println!("{runs} runs on {THREADS} threads in {took:.1?}");

    // Every account grew alike, and none met another one's global.
    let expected = 100.0 * 1.05_f64.powi(10);
    for account in &accounts {
        let balance = account.get("balance").as_f64().ok_or("an account without balance")?;
        assert!((balance - expected).abs() < 1e-9, "{balance} instead of {expected}");
        assert_eq!(account.get("most_visitors").as_i64(), Some(1));
    }
    println!("{} accounts, each with {}", accounts.len(), accounts[0]);
    Ok(())
}

/// A script that never comes back costs its time limit, and the VM it ran on.
fn meet_a_limit(pool: &VmPool<Vm>, limits: &RunLimits) -> Result<(), Box<dyn Error>> {
    let endless = Program::compile("endless.luau", ENDLESS)?;
    let call =
        Call { callback: Callback::Update, state: &ScriptTable::default(), args: &[], seed: 0 };
    let outcome = {
        let mut vm = pool.acquire()?;
        vm.run(&endless, call, &mut NoWorld::default(), limits)
    }; // the lease ends: the VM is spent, so the pool destroys it
    match outcome {
        Outcome::Failed(failure) => println!("as it should: {failure}"),
        other => return Err(format!("an endless script came back: {other:?}").into()),
    }
    assert_eq!(pool.stats().destroyed_by(DestroyReason::Spent), 1);
    Ok(())
}

/// A living pool takes another configuration, and other VMs, while leases are out.
fn change_the_pool(pool: &VmPool<Vm>) -> Result<(), Box<dyn Error>> {
    let before = [pool.acquire()?, pool.acquire()?];
    assert!(matches!(pool.try_acquire(), Err(PoolError::Exhausted { .. })), "both are leased");

    pool.set_config(PoolConfig { max_size: 3, ..pool.config() })?;
    let third = pool.try_acquire()?;
    println!("\nroom for {} VMs: {} leased", pool.config().max_size, pool.stats().leased);

    // From now on no lease gets a VM of before: these are destroyed as they come back.
    pool.evict_all();
    drop((before, third));
    let evicted = pool.stats().destroyed_by(DestroyReason::Evicted);
    println!("evicted, to make room for new ones: {evicted}");
    Ok(())
}

fn print_figures(stats: &PoolStats) {
    println!("\nVMs       {} made, {} destroyed", stats.created, stats.destroyed);
    for reason in DestroyReason::ALL {
        if stats.destroyed_by(reason) > 0 {
            println!("            {} x {}", stats.destroyed_by(reason), reason.name());
        }
    }
    println!("alive     {} idle, {} leased", stats.idle, stats.leased);
    println!("leases    {}, {} not had in time", stats.acquired, stats.timeouts);
    println!("wait      p50 {:.1?}, p99 {:.1?}", stats.wait.p50, stats.wait.p99);
    println!("reset     p50 {:.1?}, p99 {:.1?}", stats.reset.p50, stats.reset.p99);
    println!("create    mean {:.1?}", stats.create.mean);
}

/// One thread's share: some accounts, year by year.
fn work(pool: &VmPool<Vm>, account: &Program, limits: &RunLimits) -> Vec<ScriptTable> {
    // Log lines come here. Anything else that a script would reach for is an error without a world.
    let mut host = NoWorld::default();
    let mut accounts = vec![ScriptTable::default(); ACCOUNTS];
    let mut run = |state: &mut ScriptTable, callback, args: &[ScriptValue]| {
        let mut vm = pool.acquire().expect("ten seconds are enough for a VM to become free");
        let call = Call { callback, state, args, seed: 0 };
        match vm.run(account, call, &mut host, limits) {
            Outcome::Done(new) => *state = new,
            Outcome::Missing => {}
            // A failed run changed nothing; here it means a mistake in this example.
            Outcome::Failed(failure) => panic!("{failure}"),
        }
    };
    for state in &mut accounts {
        run(state, Callback::Start, &[]);
    }
    for _ in 0..YEARS {
        for state in &mut accounts {
            run(state, Callback::Update, &[1.0.into()]);
        }
    }
    assert_eq!(host.lines.len(), ACCOUNTS, "each account says once that ten years are over");
    accounts
}
