//! The pool and its VMs without any Bevy app: four threads share two Luau VMs.
//!
//! ```sh
//! cargo run --release --example pool_only
//! ```
//!
//! For tools, tests and servers that want scripts but no engine. A script's `self` goes in as plain
//! data and comes out as plain data, so that any VM on any thread can run it next.

use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bevy_lua_pool::pool::{DestroyReason, PoolConfig, VmPool};
use bevy_lua_pool::vm::{
    Api, Call, Callback, LuauFactory, LuauResetter, NoWorld, Outcome, Program, RunLimits, Vm,
    with_native_stack,
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
    let config = PoolConfig {
        min_size: 1,
        max_size: 2,
        acquire_timeout: Duration::from_secs(10),
        run_time_limit: Duration::from_millis(100),
        ..PoolConfig::default()
    };
    let limits = RunLimits::from(&config);
    let factory = LuauFactory::new(Arc::new(Api::default()), config.memory_limit);
    let pool = VmPool::new(config, factory, LuauResetter)?;
    println!("warmed up: {} VM", pool.warm_up()?);

    // Compiled once; any VM on any thread runs it.
    let account = Program::compile("account.luau", ACCOUNT)?;

    let began = Instant::now();
    let accounts: Vec<ScriptTable> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| scope.spawn(|| with_native_stack(|| work(&pool, &account, &limits))))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let runs = accounts.len() as u64 * (YEARS + 1);
    let took = began.elapsed();
    println!("{runs} runs on {THREADS} threads in {took:.1?}");

    // Every account grew alike, and none met another one's global.
    let expected = 100.0 * 1.05_f64.powi(10);
    for account in &accounts {
        let ScriptValue::Number(balance) = *account.get("balance") else {
            return Err("an account without balance".into());
        };
        assert!((balance - expected).abs() < 1e-9, "{balance} instead of {expected}");
        assert_eq!(account.get("most_visitors"), &ScriptValue::Number(1.0));
    }
    println!("{} accounts, each with {}", accounts.len(), accounts[0]);

    // A script that never comes back costs its time limit, and the VM it ran on.
    let endless = Program::compile("endless.luau", ENDLESS)?;
    let call =
        Call { callback: Callback::Update, state: &ScriptTable::default(), args: &[], seed: 0 };
    let outcome = {
        let mut vm = pool.acquire()?;
        with_native_stack(|| vm.run(&endless, call, &mut NoWorld::default(), &limits))
    }; // the lease ends: the VM is spent, so the pool destroys it
    match outcome {
        Outcome::Failed(failure) => println!("as it should: {failure}"),
        other => return Err(format!("an endless script came back: {other:?}").into()),
    }

    let stats = pool.stats();
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

    let closed = pool.close(Duration::from_secs(1));
    println!("\nclosed    {closed}");
    Ok(())
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
