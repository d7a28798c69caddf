//! A bounded pool of virtual machines, or of anything else that is costly to make.
//!
//! [`VmPool<V>`] knows neither Lua nor Bevy. It makes VMs with a [`VmFactory`], lends them out as
//! [`Lease`]s, cleans them with a [`VmResetter`] when a lease ends, replaces those that are old or
//! much used, and keeps count of everything.
//!
//! # What it promises
//!
//! - Never more than `max_size` VMs are in service, not for a moment: idle, leased, and being made.
//! - `created - destroyed == idle + leased + quarantined` in every [`PoolStats`].
//! - Whatever fails, panics or hangs (factory, resetter, borrower, the `drop` of a VM), its slot is
//!   free again and the next waiter wakes. Only a `validate`, a `check` or a `drop` that never comes
//!   back keeps its slot.
//! - Waiters are served in the order of their arrival: nobody overtakes.
//! - The VM that comes back is the one that was leased, where the resetter tells VMs apart
//!   ([`VmResetter::identity`]): another one is destroyed, and reported.
//! - Each timeout is enforced. Resets run on the thread that ends the lease, and nothing can stop
//!   one from outside: a VM whose reset hangs goes into *quarantine*, where it has no slot.
//! - No thread of its own but one for each VM that is being made: somebody calls
//!   [`VmPool::maintain`] now and then, or lets [`VmPool::maintain_in_background`] do it.
//!
//! # The life of a VM
//!
//! ```text
//! create, configure ──► idle ──► validate ──► leased ──► reset ──► idle
//!         │              │           │           │          │
//!         │              │       quarantine   discarded   failed, too slow, spent, foreign
//!     failed, late   idle too long,  │           │          │
//!         │          old, changed    │           │          │
//!         ▼              ▼           ▼           ▼          ▼
//!                 destroyed, for a DestroyReason that is counted
//! ```
//!
//! # Example
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use bevy_lua_pool::pool::{BoxError, PoolConfig, VmPool, VmResetter};
//!
//! struct Clear;
//!
//! impl VmResetter<Vec<u8>> for Clear {
//!     fn reset(&self, buffer: &mut Vec<u8>) -> Result<(), BoxError> {
//!         buffer.clear();
//!         Ok(())
//!     }
//! }
//!
//! let factory = || Ok::<_, BoxError>(Vec::new());
//! let pool = VmPool::new(PoolConfig::default(), factory, Clear)?;
//! assert_eq!(pool.warm_up()?, 2);
//! {
//!     let mut buffer = pool.acquire()?;
//!     buffer.extend_from_slice(b"secret");
//! } // cleaned and given back here
//! assert!(pool.acquire()?.is_empty());
//! let _ = pool.maintain(Instant::now());
//! assert!(pool.close(Duration::from_secs(1)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is checked
//!
//! Besides its tests there is a model: these very sources on a scheduler that tries thousands of orders
//! in which threads may come to the pool's locks, and on a clock that stands still until a scenario
//! moves it. It finds lost wake-ups, deadlocks, and counts that don't add up.
//!
//! ```text
//! cargo test --manifest-path models/pool/Cargo.toml
//! ```
//!
//! What it costs beside other pools is measured by `cargo bench --no-default-features --bench pool`: about 0.2 µs for a lease
//! from beginning to end on a 2-core x86-64 machine. Three looks at the clock are 0.08 µs of that: when the
//! lease begins, when it ends, and when the reset is done.

mod background;
mod builder_thread;
mod builds;
mod config;
mod error;
mod factory;
mod incident;
mod lease;
mod maintenance;
mod oneshot;
mod queue;
mod record;
mod records;
mod refill;
mod registry;
mod slot;
mod slots;
mod stats;
#[cfg(not(pool_model))]
mod sync;
#[cfg(test)]
mod tests;
mod timing;

use std::fmt;
use std::panic::Location;
use std::time::Duration;

#[cfg(pool_model)]
use crate::model_sync as sync;

pub use self::background::MaintenanceThread;
pub use self::config::{ConfigError, Overflow, PoolConfig, PoolConfigBuilder};
pub(crate) use self::config::{invalid, read_ron};
pub use self::error::{BoxError, PoolError};
pub use self::factory::{InterruptFn, VmFactory, VmReport, VmResetter};
pub use self::incident::{Incident, IncidentKind};
pub use self::lease::Lease;
pub use self::stats::{DestroyReason, Maintained, PoolStats, VmInfo};
pub use self::timing::Timing;
pub(crate) use self::timing::TimingHistogram;

use self::factory::VmHooks;
use self::registry::WaitPolicy;
use self::slots::{Slots, StopFn};
use self::sync::{Arc, Instant};

/// A bounded pool of VMs. A handle: clones share one pool.
///
/// When the last handle and the last lease are gone, the idle VMs are destroyed. To wait for the
/// leases as well, [`close`](Self::close) it.
pub struct VmPool<V: 'static> {
    slots: Arc<Slots<V>>,
}

impl<V: Send + 'static> VmPool<V> {
    /// A pool without VMs; [`warm_up`](Self::warm_up) makes the first ones, or the first lease
    /// does.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] when the configuration isn't valid.
    pub fn new(
        config: PoolConfig,
        factory: impl VmFactory<V>,
        resetter: impl VmResetter<V>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let hooks = VmHooks { factory: Box::new(factory), resetter: Box::new(resetter) };
        let slots = Slots::new(config, hooks);
        Ok(Self { slots: Arc::new(slots) })
    }

    /// Makes VMs until `min_size` are alive, and waits for each, for at most `create_timeout`.
    /// Returns how many it made.
    ///
    /// # Errors
    ///
    /// [`PoolError::Create`] or [`PoolError::CreateTimedOut`] for the first VM that can't be made
    /// (those made before stay), and [`PoolError::Closed`].
    pub fn warm_up(&self) -> Result<usize, PoolError> {
        let (made, outcome) = self.slots.fill();
        outcome.map(|()| made)
    }

    /// Leases a VM without waiting for others: an idle one, or else a new one, which takes as long
    /// as the factory does, but at most `create_timeout`. Doesn't overtake those who wait in
    /// [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`PoolError::Exhausted`] when all VMs are leased; [`PoolError::Create`],
    /// [`PoolError::CreateTimedOut`] or [`PoolError::FactoryHangs`] when a new one can't be made;
    /// [`PoolError::Suspended`], [`PoolError::Closed`].
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Lease<V>, PoolError> {
        self.lease(WaitPolicy::AtMost(Duration::ZERO), None, None)
    }

    /// Leases a VM; when none is free, does what the configured [`Overflow`] says: wait for at most
    /// `acquire_timeout`, fail, or defer.
    ///
    /// # Errors
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout); and [`PoolError::Deferred`] when no VM is
    /// idle and the configuration says not to wait for one.
    #[track_caller]
    pub fn acquire(&self) -> Result<Lease<V>, PoolError> {
        self.lease(WaitPolicy::Configured, None, None)
    }

    /// As [`acquire`](Self::acquire), but stops waiting when `stop` returns `true`. It is called every 5 ms while the
    /// caller waits, and should return at once; the caller keeps its place in the queue meanwhile. If a VM is being
    /// made for the caller, it becomes idle when it is done.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); and [`PoolError::Interrupted`].
    #[track_caller]
    pub fn acquire_unless(&self, stop: impl Fn() -> bool) -> Result<Lease<V>, PoolError> {
        self.lease(WaitPolicy::Configured, None, Some(&stop))
    }

    /// Leases a VM; waits for at most this long, whatever the configured [`Overflow`] says.
    /// `Duration::MAX` waits for ever. The timeout bounds the waiting for others; the making of a
    /// VM is bounded by `create_timeout`.
    ///
    /// # Errors
    ///
    /// [`PoolError::Exhausted`] when no VM became free in time; [`PoolError::Create`],
    /// [`PoolError::CreateTimedOut`] or [`PoolError::FactoryHangs`] when a new one can't be made;
    /// [`PoolError::Suspended`] when the pool wasn't resumed in time; [`PoolError::Closed`] when it
    /// is closed or becomes so meanwhile.
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Lease<V>, PoolError> {
        self.lease(WaitPolicy::AtMost(timeout), None, None)
    }

    /// As [`acquire`](Self::acquire), but prefers an idle VM that ran this program last, as its
    /// [`VmReport`] says. When there is none, any VM will do.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_for(&self, program: &str) -> Result<Lease<V>, PoolError> {
        self.lease(WaitPolicy::Configured, Some(program), None)
    }

    /// Does the maintenance that is due. Each time: gives up the VMs whose making or reset hangs, finds leases
    /// that are overdue, and begins to make VMs up to `min_size`, without waiting for them. Once in
    /// a `health_check_interval`: looks at every idle VM, one at a time, and destroys those that are
    /// too long idle, too old, too much used, too large, or changed. Nearly free when nothing is
    /// due, so it may be called every frame.
    ///
    /// The clock is the caller's: `now` is compared with the real time at which VMs were made and
    /// used. A `now` before those is as if no time had passed.
    pub fn maintain(&self, now: Instant) -> Maintained {
        self.slots.maintain(now)
    }

    /// Calls [`maintain`](Self::maintain) on a thread of its own until the [`MaintenanceThread`] is dropped,
    /// or the pool is, or closed. For programs without a frame. `report` gets what was done,
    /// incidents included, whenever there is anything.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn maintain_in_background(
        &self,
        report: impl FnMut(Maintained) + Send + 'static,
    ) -> std::io::Result<MaintenanceThread> {
        MaintenanceThread::start(&self.slots, report)
    }

    /// Replaces all VMs: the idle ones are destroyed now, the leased ones when their lease ends.
    /// A VM that is being made at this moment counts as one of the old ones. Returns how many
    /// were destroyed now.
    pub fn evict_all(&self) -> usize {
        self.slots.evict_all()
    }

    /// Gives no more leases until [`resume`](Self::resume). A caller that asks for one waits as long as
    /// it would wait for a free VM, and then gets [`PoolError::Suspended`]. Leases that are out go
    /// on, VMs that come back become idle, and no missing ones are made.
    pub fn suspend(&self) {
        self.slots.suspend();
    }

    /// Gives leases again after [`suspend`](Self::suspend) or [`drain`](Self::drain). The callers that
    /// wait come first.
    pub fn resume(&self) {
        self.slots.resume();
    }

    /// Empties the pool without closing it: suspends it, destroys the idle VMs, and waits for at
    /// most this long until the leased ones have come back and are destroyed too. Returns whether
    /// no VM is left. [`resume`](Self::resume) goes on with new VMs.
    #[must_use = "`false` says that VMs are left, which are still in use"]
    pub fn drain(&self, timeout: Duration) -> bool {
        self.slots.drain(timeout)
    }

    /// Closes the pool: no new leases, all waiting callers get [`PoolError::Closed`] at once, idle VMs
    /// are destroyed. Then waits for at most this long until the leases have ended. VMs that are
    /// still leased one second before the time is over are interrupted (see
    /// [`VmFactory::interrupter`]); if it is less than two seconds, when half of it is over: with
    /// [`Duration::ZERO`] at once. Returns whether no VM is left; if not, each of the rest is
    /// destroyed when its lease ends.
    ///
    /// May be called any number of times, on any thread; to be called again is how to wait
    /// longer. A thread that holds a lease itself waits for itself.
    #[must_use = "`false` says that VMs are left, which are still in use"]
    pub fn close(&self, timeout: Duration) -> bool {
        self.slots.close(timeout)
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.slots.registry().is_closed()
    }

    /// Changes the configuration of the living pool. A larger `max_size` is there at once. With a
    /// smaller one, idle VMs are destroyed at once and leased ones when their lease ends, until
    /// the size fits. All other limits of the pool hold from the next lease, release or
    /// `maintain`. The factory is told, and where it says that the VMs there are don't fit any more,
    /// they are replaced (see [`VmFactory::reconfigure`]): no lease that is asked for after this call
    /// gets one of them.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] when the configuration isn't valid; the old one stays.
    pub fn set_config(&self, config: PoolConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.slots.reconfigure(config);
        Ok(())
    }

    /// A copy of the configuration.
    #[must_use]
    pub fn config(&self) -> PoolConfig {
        self.slots.registry().config
    }

    /// The figures at this moment. Takes some microseconds, allocates nothing.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.slots.registry().stats()
    }

    /// The living VMs, oldest first.
    #[must_use]
    pub fn vms(&self) -> Vec<VmInfo> {
        self.slots.registry().vms(Instant::now())
    }

    #[track_caller]
    fn lease(
        &self,
        patience: WaitPolicy,
        program: Option<&str>,
        stop: StopFn<'_>,
    ) -> Result<Lease<V>, PoolError> {
        let leased = self.slots.acquire(patience, program, Some(Location::caller()), stop)?;
        Ok(Lease::new(Arc::clone(&self.slots), leased))
    }
}

impl<V> Clone for VmPool<V> {
    fn clone(&self) -> Self {
        Self { slots: Arc::clone(&self.slots) }
    }
}

impl<V> fmt::Debug for VmPool<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = self.slots.registry();
        f.debug_struct("VmPool")
            .field("idle", &registry.idle())
            .field("leased", &registry.leased())
            .field("max_size", &registry.config.max_size)
            .field("closed", &registry.is_closed())
            .finish_non_exhaustive()
    }
}
