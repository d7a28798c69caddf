//! All combinations of ok, fail, slow and hang over create and reset, while many threads lease, give up
//! and maintain: the size holds at every step, and in the end nothing is lost.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{LONG, assert_balanced, patient, until};
use crate::pool::{
    BoxError, Lease, PoolConfig, PoolError, PoolStats, VmFactory, VmPool, VmResetter,
};

const SIZE: usize = 3;
const THREADS: u64 = 6;
const ROUNDS: usize = 40;
/// Short, so that what is slow is late; what works is late too on a busy machine, and that's one more
/// combination.
const TIMEOUT: Duration = Duration::from_millis(1);

/// What goes wrong in one call of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    Fails,
    /// Takes longer than its timeout.
    Slow,
    /// Comes back long after it was given up.
    Hangs,
}

const TROUBLES: [Trouble; 4] = [Trouble::None, Trouble::Fails, Trouble::Slow, Trouble::Hangs];

/// Numbers that look random (the finalizer of splitmix64).
struct Dice(AtomicU64);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

struct World {
    create: Trouble,
    reset: Trouble,
    dice: Dice,
    /// How often those that hang were let go.
    released: Mutex<u64>,
    release: Condvar,
    alive: AtomicUsize,
}

impl World {
    fn act(&self, trouble: Trouble) -> Result<(), BoxError> {
        if self.dice.roll(4) > 0 {
            return Ok(());
        }
        match trouble {
            Trouble::None => {}
            Trouble::Fails => return Err("as planned".into()),
            Trouble::Slow => {
                let began = Instant::now();
                until(|| began.elapsed() > 2 * TIMEOUT);
            }
            Trouble::Hangs => {
                let released = self.released.lock().unwrap();
                let before = *released;
                drop(self.release.wait_while(released, |now| *now == before).unwrap());
            }
        }
        Ok(())
    }

    /// Lets go what hangs at this moment.
    fn let_go(&self) {
        *self.released.lock().unwrap() += 1;
        self.release.notify_all();
    }
}

/// Nobody else has it: the flag is set while it is lent out.
struct Vm {
    world: Arc<World>,
    lent: bool,
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.world.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Maker(Arc<World>);
struct Cleaner(Arc<World>);

impl VmFactory<Vm> for Maker {
    fn create(&self) -> Result<Vm, BoxError> {
        self.0.act(self.0.create)?;
        self.0.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Vm { world: Arc::clone(&self.0), lent: false })
    }
}

impl VmResetter<Vm> for Cleaner {
    fn reset(&self, vm: &mut Vm) -> Result<(), BoxError> {
        vm.lent = false;
        self.0.act(self.0.reset)
    }
}

/// The promise, at any moment: what hangs has no slot, everything else has one.
fn check(pool: &VmPool<Vm>) -> PoolStats {
    let stats = pool.stats();
    assert_balanced(&stats);
    assert!(stats.idle + stats.leased + stats.building <= SIZE, "{stats:?}");
    assert!(stats.quarantined <= 2 * SIZE, "hung resets have an end: {stats:?}");
    assert!(stats.hung_builds <= 2 * SIZE, "hung builds have an end: {stats:?}");
    stats
}

fn borrow(pool: &VmPool<Vm>, world: &World) {
    for _ in 0..ROUNDS {
        // From giving up at once to waiting for what hangs to be given up.
        let patience = TIMEOUT * u32::try_from(world.dice.roll(4)).unwrap();
        match pool.acquire_timeout(patience) {
            Ok(mut lease) => {
                assert!(!lease.lent, "two have the same VM, or it isn't clean");
                lease.lent = true;
                check(pool);
                match world.dice.roll(8) {
                    0 => Lease::discard(lease, crate::pool::DestroyReason::Discarded),
                    _ => drop(lease),
                }
            }
            Err(PoolError::Exhausted { .. } | PoolError::Create(_)) => {}
            Err(PoolError::CreateTimedOut { .. } | PoolError::FactoryHangs { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        check(pool);
    }
}

fn storm(create: Trouble, reset: Trouble, seed: u64) {
    let world = Arc::new(World {
        create,
        reset,
        dice: Dice(AtomicU64::new(seed)),
        released: Mutex::default(),
        release: Condvar::new(),
        alive: AtomicUsize::new(0),
    });
    let config = PoolConfig {
        min_size: 1,
        max_size: SIZE,
        create_timeout: TIMEOUT,
        reset_timeout: TIMEOUT,
        max_use_count: 5,
        ..patient()
    };
    let cleaner = Cleaner(Arc::clone(&world));
    let pool = VmPool::new(config, Maker(Arc::clone(&world)), cleaner).unwrap();
    let calm = Arc::new(AtomicBool::new(false));
    let keeper = {
        let (pool, calm, world) = (pool.clone(), Arc::clone(&calm), Arc::clone(&world));
        thread::spawn(move || {
            while !calm.load(Ordering::SeqCst) {
                let _ = pool.maintain(Instant::now());
                let stats = check(&pool);
                // Only what was given up comes back, now and then.
                if stats.quarantined + stats.hung_builds > 0 && world.dice.roll(20) == 0 {
                    world.let_go();
                }
                thread::yield_now();
            }
        })
    };
    let borrowers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (pool, world) = (pool.clone(), Arc::clone(&world));
            thread::spawn(move || borrow(&pool, &world))
        })
        .collect();
    borrowers.into_iter().for_each(|thread| thread.join().unwrap());
    until(|| pool.stats().building == 0 && pool.stats().hung_builds == 0);
    calm.store(true, Ordering::SeqCst);
    keeper.join().unwrap();

    // What hung has come back. Nothing is lost, neither a slot nor a VM.
    assert!(pool.close(LONG), "{:?}", pool.stats());
    until(|| world.alive.load(Ordering::SeqCst) == 0);
    let stats = check(&pool);
    assert_eq!((stats.idle, stats.leased, stats.quarantined), (0, 0, 0), "{stats:?}");
    assert_eq!((stats.building, stats.waiting), (0, 0), "{stats:?}");
    until(|| pool.stats().created == pool.stats().destroyed);
}

#[test]
fn all_combinations_of_trouble_with_random_cancellation_keep_the_size() {
    let mut seed = 1;
    for create in TROUBLES {
        for reset in TROUBLES {
            storm(create, reset, seed);
            seed += 1;
        }
    }
}
