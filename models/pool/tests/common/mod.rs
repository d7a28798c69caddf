//! What the scenarios share: VMs that count themselves, user code that goes wrong, and the promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pool_model::clock::{self, NEVER};
use pool_model::model_sync::run_out_of_threads;
use pool_model::pool::{
    BoxError, InterruptFn, PoolConfig, PoolStats, VmFactory, VmPool, VmResetter,
};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{Config, Runner, thread};

/// Where the choice of orders starts, so that each run tries the same ones.
const SEED: u64 = 20_260_701;

/// Runs a scenario in many orders: half of them random, half with few but well-placed switches.
pub fn explore(scenario: fn()) {
    let orders = std::env::var("POOL_MODEL_ORDERS").ok().and_then(|text| text.parse().ok());
    let half = orders.unwrap_or(6000_usize).div_ceil(2);
    run(RandomScheduler::new_from_seed(SEED, half), scenario);
    run(PctScheduler::new_from_seed(SEED, 3, half), scenario);
}

fn run(scheduler: impl Scheduler + 'static, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || {
        clock::reset();
        run_out_of_threads(false);
        scenario();
    });
}

/// What a call of user code does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    #[default]
    Works,
    /// Fails every other time, by chance.
    FailsSometimes,
    /// Doesn't come back before the gate is opened, the first time.
    HangsOnce,
}

/// The habits of a factory and a resetter.
#[derive(Clone, Copy, Default)]
pub struct Habits {
    pub create: Habit,
    pub reset: Habit,
    pub validate: Habit,
}

/// Factory and resetter, and the count of the VMs by themselves.
#[derive(Default)]
pub struct Rig {
    habits: Habits,
    pub gate: Gate,
    hangs: AtomicUsize,
    alive: AtomicUsize,
    peak: AtomicUsize,
    making: AtomicUsize,
    pub interrupted: Gate,
}

/// Closed until somebody opens it, for good.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub fn pass(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
    }
}

pub struct Vm {
    rig: Arc<Rig>,
    /// Set by its borrower; a second borrower at the same time would see it.
    pub taken: bool,
}

impl Drop for Vm {
    fn drop(&mut self) {
        thread::yield_now();
        self.rig.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Rig {
    /// Does what is its habit.
    fn act(&self, habit: Habit) -> Result<(), BoxError> {
        thread::yield_now();
        match habit {
            Habit::Works => Ok(()),
            Habit::FailsSometimes if thread_rng().gen_bool(0.5) => Err("by chance".into()),
            Habit::FailsSometimes => Ok(()),
            Habit::HangsOnce => {
                if self.hangs.fetch_add(1, Ordering::SeqCst) == 0 {
                    self.gate.pass();
                }
                Ok(())
            }
        }
    }

    pub fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }

    /// Calls of the factory that haven't come back.
    pub fn making(&self) -> usize {
        self.making.load(Ordering::SeqCst)
    }

    /// Calls of the factory and the resetter that have hung, and that would have if it were not for
    /// the first.
    pub fn hangs(&self) -> usize {
        self.hangs.load(Ordering::SeqCst)
    }
}

struct Maker(Arc<Rig>);
struct Cleaner(Arc<Rig>);

impl VmFactory<Vm> for Maker {
    fn create(&self) -> Result<Vm, BoxError> {
        let rig = &self.0;
        rig.making.fetch_add(1, Ordering::SeqCst);
        let made = rig.act(rig.habits.create).map(|()| {
            let alive = rig.alive.fetch_add(1, Ordering::SeqCst) + 1;
            rig.peak.fetch_max(alive, Ordering::SeqCst);
            Vm { rig: Arc::clone(rig), taken: false }
        });
        rig.making.fetch_sub(1, Ordering::SeqCst);
        made
    }

    fn interrupter(&self, _: &Vm) -> Option<InterruptFn> {
        let rig = Arc::clone(&self.0);
        Some(Arc::new(move || rig.interrupted.open()))
    }
}

impl VmResetter<Vm> for Cleaner {
    fn reset(&self, vm: &mut Vm) -> Result<(), BoxError> {
        vm.taken = false;
        self.0.act(self.0.habits.reset)
    }

    fn validate(&self, vm: &mut Vm) -> Result<(), BoxError> {
        assert!(!vm.taken, "an idle VM is nobody's");
        self.0.act(self.0.habits.validate)
    }
}

/// A configuration in which nothing ends by itself.
pub fn endless(min_size: usize, max_size: usize) -> PoolConfig {
    PoolConfig {
        min_size,
        max_size,
        acquire_timeout: NEVER,
        create_timeout: NEVER,
        reset_timeout: NEVER,
        max_use_count: 0,
        leak_threshold: None,
        ..PoolConfig::default()
    }
}

pub fn pool(config: PoolConfig, habits: Habits) -> (VmPool<Vm>, Arc<Rig>) {
    let rig = Arc::new(Rig { habits, ..Rig::default() });
    let pool = VmPool::new(config, Maker(Arc::clone(&rig)), Cleaner(Arc::clone(&rig)));
    (pool.expect("the configuration is valid"), rig)
}

/// What holds at every moment.
pub fn check(pool: &VmPool<Vm>) -> PoolStats {
    let stats = pool.stats();
    let there = (stats.idle + stats.leased + stats.quarantined) as u64;
    assert_eq!(stats.created - stats.destroyed, there, "{stats:?}");
    let by_reason: u64 = stats.destroyed_by.iter().sum();
    assert_eq!(by_reason, stats.destroyed, "{stats:?}");
    stats
}

/// As [`check`]; and no more VMs are in service than there may be, if there never could be more.
pub fn check_size(pool: &VmPool<Vm>) -> PoolStats {
    let stats = check(pool);
    assert!(stats.idle + stats.leased + stats.building <= stats.max_size, "{stats:?}");
    stats
}

/// Uses a VM as its only borrower.
pub fn use_alone(vm: &mut Vm) {
    assert!(!vm.taken, "two have the same VM, or it isn't clean");
    vm.taken = true;
    thread::yield_now();
    assert!(vm.taken);
}

/// Closes the pool: nothing is left, and everything that was made was destroyed.
pub fn finish(pool: &VmPool<Vm>, rig: &Rig) -> PoolStats {
    assert!(pool.close(Duration::MAX), "closing without a time limit ends with an empty pool");
    // What comes out of the factory late is nobody's, and gone soon.
    until(|| rig.making() == 0 && rig.alive() == 0);
    let stats = check(pool);
    assert_eq!((stats.idle, stats.leased, stats.quarantined), (0, 0, 0), "{stats:?}");
    assert_eq!((stats.building, stats.waiting), (0, 0), "{stats:?}");
    assert_eq!(stats.created, stats.destroyed, "{stats:?}");
    stats
}

/// Takes all that the pool can give: no slot was lost.
pub fn assert_all_slots_there(pool: &VmPool<Vm>) {
    let leases: Vec<_> = (0..pool.config().max_size).map(|_| pool.try_acquire()).collect();
    assert!(leases.iter().all(Result::is_ok), "a slot is lost: {:?}", pool.stats());
    assert!(pool.try_acquire().is_err(), "there is a slot too many: {:?}", pool.stats());
}

/// Lets others go on until the condition holds.
pub fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// Starts threads with numbers and waits for all of them.
pub fn together(threads: usize, body: impl Fn(usize) + Clone + Send + 'static) {
    let threads: Vec<_> = (0..threads)
        .map(|number| {
            let body = body.clone();
            thread::spawn(move || body(number))
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}
