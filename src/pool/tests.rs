//! The pool tested with a VM that is a few integers.

mod acquire;
mod background;
mod close;
mod config;
mod failure;
mod foreign;
mod health;
mod maintain;
mod model;
mod overflow;
mod resize;
mod storm;
mod suspend;
mod timeouts;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::pool::{
    BoxError, InterruptFn, Lease, PoolConfig, PoolError, PoolStats, VmFactory, VmPool, VmReport,
    VmResetter,
};

/// Long enough never to pass in a test that works.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// A VM for tests.
#[derive(Debug)]
pub(super) struct Vm {
    /// Tells it from the others.
    pub(super) number: usize,
    /// Dirt of the borrower; 0 after a reset.
    pub(super) dirt: u32,
    /// What the borrower ran.
    pub(super) program: Option<Arc<str>>,
    /// The bytes it says it holds.
    pub(super) memory: usize,
    /// Whether it says that it is used up.
    pub(super) spent: bool,
    /// Whether dropping it panics.
    pub(super) drop_panics: bool,
    /// Says that the drop has begun, and goes on when it is told to.
    pub(super) drop_stops: Option<(Sender<()>, Receiver<()>)>,
    census: Arc<Census>,
}

impl Drop for Vm {
    fn drop(&mut self) {
        if let Some((reached, told)) = self.drop_stops.take() {
            reached.send(()).unwrap();
            told.recv_timeout(LONG).unwrap();
        }
        self.census.alive.fetch_sub(1, Ordering::SeqCst);
        assert!(!self.drop_panics, "the VM panics when dropped");
    }
}

/// Counts the VMs by themselves, apart from the pool's own counts.
#[derive(Debug, Default)]
struct Census {
    alive: AtomicUsize,
    peak: AtomicUsize,
}

/// What user code does the next time it is called.
pub(super) enum Step {
    Succeed,
    Fail,
    Panic,
    /// Says that it was reached, and goes on when it is told to.
    Stop(Sender<()>, Receiver<()>),
    /// An error that panics when it is shown.
    FailUnspeakably,
}

#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("the error can't be shown")
    }
}

impl std::error::Error for Unspeakable {}

/// Steps to come; when none is left, success.
#[derive(Default)]
pub(super) struct Plan(Mutex<VecDeque<Step>>);

impl Plan {
    pub(super) fn then(&self, step: Step) {
        self.0.lock().unwrap().push_back(step);
    }

    /// The next call stops until it is told to go on. Returns (was reached, go on).
    pub(super) fn then_stop(&self) -> (Receiver<()>, Sender<()>) {
        let (reached, was_reached) = bounded(1);
        let (go_on, told) = bounded(1);
        self.then(Step::Stop(reached, told));
        (was_reached, go_on)
    }

    fn take(&self) -> Result<(), BoxError> {
        let step = self.0.lock().unwrap().pop_front();
        match step {
            None | Some(Step::Succeed) => Ok(()),
            Some(Step::Fail) => Err("as planned".into()),
            Some(Step::Panic) => panic!("as planned"),
            Some(Step::Stop(reached, told)) => {
                reached.send(()).unwrap();
                told.recv_timeout(LONG).unwrap();
                Ok(())
            }
            Some(Step::FailUnspeakably) => Err(Unspeakable.into()),
        }
    }
}

/// Factory and resetter of a test, and what they are going to do.
#[derive(Default)]
pub(super) struct Rig {
    pub(super) create: Plan,
    pub(super) configure: Plan,
    pub(super) reset: Plan,
    pub(super) validate: Plan,
    /// At health checks, before `validate`.
    pub(super) check: Plan,
    /// Whether VMs made from now on can be interrupted.
    pub(super) interruptible: AtomicBool,
    pub(super) interrupt: Plan,
    /// What the factory says of another configuration: whether VMs are to be replaced.
    pub(super) reconfigure: Plan,
    pub(super) replaces: AtomicBool,
    /// The sizes that the factory was told.
    pub(super) told: Mutex<Vec<(usize, usize)>>,
    made: AtomicUsize,
    census: Arc<Census>,
}

struct Maker(Arc<Rig>);
struct Cleaner(Arc<Rig>);

impl VmFactory<Vm> for Maker {
    fn create(&self) -> Result<Vm, BoxError> {
        self.0.create.take()?;
        let census = Arc::clone(&self.0.census);
        let alive = census.alive.fetch_add(1, Ordering::SeqCst) + 1;
        census.peak.fetch_max(alive, Ordering::SeqCst);
        Ok(Vm {
            number: self.0.made.fetch_add(1, Ordering::SeqCst),
            dirt: 0,
            program: None,
            memory: 100,
            spent: false,
            drop_panics: false,
            drop_stops: None,
            census,
        })
    }

    fn configure(&self, _: &mut Vm) -> Result<(), BoxError> {
        self.0.configure.take()
    }

    fn interrupter(&self, _: &Vm) -> Option<InterruptFn> {
        let rig = Arc::clone(&self.0);
        let interrupter: InterruptFn = Arc::new(move || rig.interrupt.take().unwrap());
        self.0.interruptible.load(Ordering::SeqCst).then_some(interrupter)
    }

    fn reconfigure(&self, before: &PoolConfig, now: &PoolConfig) -> bool {
        self.0.reconfigure.take().unwrap();
        self.0.told.lock().unwrap().push((before.max_size, now.max_size));
        self.0.replaces.load(Ordering::SeqCst)
    }
}

impl VmResetter<Vm> for Cleaner {
    fn is_spent(&self, vm: &Vm) -> bool {
        vm.spent
    }

    fn reset(&self, vm: &mut Vm) -> Result<(), BoxError> {
        vm.dirt = 0;
        self.0.reset.take()
    }

    fn validate(&self, _: &mut Vm) -> Result<(), BoxError> {
        self.0.validate.take()
    }

    fn check(&self, vm: &mut Vm) -> Result<(), BoxError> {
        self.0.check.take()?;
        self.validate(vm)
    }

    fn identity(&self, vm: &Vm) -> Option<u64> {
        Some(vm.number as u64)
    }

    fn inspect(&self, vm: &Vm) -> VmReport {
        VmReport { memory_bytes: vm.memory, last_program: vm.program.clone() }
    }
}

impl Rig {
    pub(super) fn alive(&self) -> usize {
        self.census.alive.load(Ordering::SeqCst)
    }

    /// Forgets all steps to come.
    pub(super) fn clear(&self) {
        for plan in [&self.create, &self.configure, &self.reset, &self.validate, &self.check] {
            plan.0.lock().unwrap().clear();
        }
    }

    pub(super) fn peak(&self) -> usize {
        self.census.peak.load(Ordering::SeqCst)
    }
}

/// A pool whose VMs live for ever, and its rig.
pub(super) fn pool(min_size: usize, max_size: usize) -> (VmPool<Vm>, Arc<Rig>) {
    pool_with(PoolConfig {
        min_size,
        max_size,
        lifetime_jitter: 0.0,
        max_use_count: 0,
        ..patient()
    })
}

/// Limits that a loaded machine doesn't reach by accident.
pub(super) fn patient() -> PoolConfig {
    PoolConfig { create_timeout: LONG, reset_timeout: LONG, ..PoolConfig::default() }
}

/// Waits until the VMs that are being made are there.
pub(super) fn built(pool: &VmPool<Vm>) {
    until(|| pool.stats().building == 0);
}

pub(super) fn pool_with(config: PoolConfig) -> (VmPool<Vm>, Arc<Rig>) {
    let rig = Arc::new(Rig::default());
    let (maker, cleaner) = (Maker(Arc::clone(&rig)), Cleaner(Arc::clone(&rig)));
    let pool = VmPool::new(config, maker, cleaner).unwrap();
    (pool, rig)
}

/// Takes the only VM, also where `acquire` would put it off.
pub(super) fn pool_with_one_leased(pool: &VmPool<Vm>) -> Lease<Vm> {
    pool.acquire_timeout(LONG).unwrap()
}

/// The promise about counts. Holds in every snapshot.
pub(super) fn assert_balanced(stats: &PoolStats) {
    let destroyed: u64 = stats.destroyed_by.iter().sum();
    assert_eq!(stats.destroyed, destroyed, "{stats:?}");
    let alive = (stats.idle + stats.leased + stats.quarantined) as u64;
    assert_eq!(stats.created - stats.destroyed, alive, "{stats:?}");
}

/// As above, and the pool counts as many VMs as there are. For quiet moments.
pub(super) fn assert_quiet(pool: &VmPool<Vm>, rig: &Rig) -> PoolStats {
    let stats = pool.stats();
    assert_balanced(&stats);
    assert_eq!(stats.idle + stats.leased + stats.quarantined, rig.alive(), "{stats:?}");
    assert!(rig.peak() <= stats.max_size, "{} VMs: {stats:?}", rig.peak());
    assert_eq!(stats.waiting, 0);
    stats
}

/// Takes everything the pool can give: shows that no slot was lost.
pub(super) fn assert_all_slots_there(pool: &VmPool<Vm>) {
    let size = pool.config().max_size;
    let leases: Vec<_> = (0..size).map(|_| pool.try_acquire().unwrap()).collect();
    let none = pool.try_acquire();
    assert!(matches!(none, Err(PoolError::Exhausted { .. })), "{none:?}");
    drop(leases);
}

/// Lets other threads go on until the condition holds.
pub(super) fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never came true");
        thread::yield_now();
    }
}

/// Waits on another thread for a VM, and reports what came. Returns when it is waiting.
pub(super) fn waiter(pool: &VmPool<Vm>, timeout: Duration) -> thread::JoinHandle<Got> {
    let before = pool.stats().waiting;
    let handle = pool.clone();
    let thread = thread::spawn(move || Got::from(handle.acquire_timeout(timeout).map(drop)));
    until(|| pool.stats().waiting > before);
    thread
}

/// What a waiter got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Lease,
    Exhausted,
    CreateFailed,
    CreateTimedOut,
    FactoryHangs,
    Deferred,
    Suspended,
    Interrupted,
    Closed,
}

impl From<Result<(), PoolError>> for Got {
    fn from(outcome: Result<(), PoolError>) -> Self {
        match outcome {
            Ok(()) => Self::Lease,
            Err(PoolError::Exhausted { .. }) => Self::Exhausted,
            Err(PoolError::Create(_)) => Self::CreateFailed,
            Err(PoolError::CreateTimedOut { .. }) => Self::CreateTimedOut,
            Err(PoolError::FactoryHangs { .. }) => Self::FactoryHangs,
            Err(PoolError::Deferred { .. }) => Self::Deferred,
            Err(PoolError::Suspended { .. }) => Self::Suspended,
            Err(PoolError::Interrupted { .. }) => Self::Interrupted,
            Err(PoolError::Closed) => Self::Closed,
        }
    }
}
