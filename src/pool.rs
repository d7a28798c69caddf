//! A bounded pool of virtual machines, or of anything else that is costly to make.
//!
//! [`VmPool<V>`] knows neither Lua nor Bevy. It makes VMs with a [`VmFactory`], lends them out as
//! [`Lease`]s, cleans them with a [`VmResetter`] when a lease ends, replaces those that are old or
//! much used, and keeps count of everything.
//!
//! # What it promises
//!
//! - Never more than `max_size` VMs are alive, not for a moment.
//! - `created - destroyed == idle + leased` in every [`PoolStats`].
//! - Whatever fails or panics (factory, resetter, borrower, the `drop` of a VM), its slot is free
//!   again and the next waiter wakes.
//! - Waiters are served in the order in which they came; who comes later doesn't overtake.
//! - No thread of its own: somebody calls [`VmPool::maintain`] now and then.
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

mod config;
mod error;
mod factory;
mod incident;
mod lease;
mod queue;
mod record;
mod registry;
mod slots;
mod stats;
#[cfg(test)]
mod tests;
mod timing;
mod tokens;
mod upkeep;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::config::{ConfigError, PoolConfig};
pub use self::error::{BoxError, PoolError};
pub use self::factory::{VmFactory, VmReport, VmResetter};
pub use self::incident::{Incident, IncidentKind};
pub use self::lease::Lease;
pub use self::stats::{DestroyReason, Maintained, PoolStats, VmInfo};
pub use self::timing::Timing;
pub(crate) use self::timing::TimingHistogram;

use self::slots::Slots;

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
        let slots = Slots::new(config, Box::new(factory), Box::new(resetter));
        Ok(Self { slots: Arc::new(slots) })
    }

    /// Makes VMs until `min_size` are alive. Returns how many it made.
    ///
    /// # Errors
    ///
    /// [`PoolError::Create`] for the first VM that can't be made (those made before stay), and
    /// [`PoolError::Closed`].
    pub fn warm_up(&self) -> Result<usize, PoolError> {
        if self.is_closed() {
            return Err(PoolError::Closed);
        }
        let (made, outcome) = self.slots.fill();
        outcome.map(|()| made)
    }

    /// Leases a VM without waiting: an idle one, or else a new one, which takes as long as the
    /// factory does. Doesn't overtake those who wait in [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`PoolError::Exhausted`] when all VMs are leased, [`PoolError::Create`] when a new one
    /// can't be made, [`PoolError::Closed`].
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Lease<V>, PoolError> {
        self.lease(Duration::ZERO, None)
    }

    /// Leases a VM; waits for at most the configured `acquire_timeout`.
    ///
    /// # Errors
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout).
    #[track_caller]
    pub fn acquire(&self) -> Result<Lease<V>, PoolError> {
        let timeout = self.slots.registry().config.acquire_timeout;
        self.lease(timeout, None)
    }

    /// Leases a VM; waits for at most this long. `Duration::MAX` waits for ever. The timeout
    /// bounds the waiting, not the factory.
    ///
    /// # Errors
    ///
    /// [`PoolError::Exhausted`] when no VM became free in time, [`PoolError::Create`] when a new
    /// one can't be made, [`PoolError::Closed`] when the pool is closed or becomes so meanwhile.
    #[track_caller]
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Lease<V>, PoolError> {
        self.lease(timeout, None)
    }

    /// As [`acquire`](Self::acquire), but prefers an idle VM that ran this program last, as its
    /// [`VmReport`] says. When there is none, any VM will do.
    ///
    /// # Errors
    ///
    /// As [`acquire_timeout`](Self::acquire_timeout).
    #[track_caller]
    pub fn acquire_for(&self, program: &str) -> Result<Lease<V>, PoolError> {
        let timeout = self.slots.registry().config.acquire_timeout;
        self.lease(timeout, Some(program))
    }

    /// Does what time demands: destroys VMs that are too long idle, too old or too much used,
    /// makes VMs up to `min_size`, and finds leases that are overdue. Nearly free when nothing is
    /// due, so it may be called every frame.
    ///
    /// The clock is the caller's: `now` is compared with the real time at which VMs were made and
    /// used. A `now` before those is as if no time had passed.
    pub fn maintain(&self, now: Instant) -> Maintained {
        self.slots.maintain(now)
    }

    /// Replaces all VMs: the idle ones are destroyed now, the leased ones when their lease ends.
    /// A VM that is being made at this moment counts as one of the old ones. Returns how many
    /// were destroyed now.
    pub fn evict_all(&self) -> usize {
        self.slots.evict_all()
    }

    /// Closes the pool: no new leases, all who wait get [`PoolError::Closed`] at once, idle VMs
    /// are destroyed. Then waits for at most this long until the leases have ended. Returns
    /// whether no VM is left; if not, each of the rest is destroyed when its lease ends.
    ///
    /// May be called any number of times, on any thread; to be called again is how to wait
    /// longer. A thread that holds a lease itself waits for itself.
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
    /// `maintain`; VMs made under other run limits stay until [`evict_all`](Self::evict_all).
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
        self.slots.registry().config.clone()
    }

    /// The figures at this moment. Takes some microseconds, allocates nothing.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let mut stats = {
            let registry = self.slots.registry();
            PoolStats {
                created: registry.created,
                destroyed: registry.destroyed_by.iter().sum(),
                destroyed_by: registry.destroyed_by,
                idle: registry.idle(),
                leased: registry.leased(),
                timeouts: registry.timeouts,
                create_errors: registry.create_errors,
                reset_errors: registry.reset_errors,
                quarantined: registry.quarantined,
                overdue: registry.overdue,
                min_size: registry.config.min_size,
                max_size: registry.config.max_size,
                ..PoolStats::default()
            }
        };
        stats.waiting = self.slots.tokens.queue.len();
        let timings = self.slots.timings();
        stats.acquired = timings.acquire.count();
        stats.resets = timings.reset.count();
        stats.acquire = timings.acquire.timing();
        stats.create = timings.create.timing();
        stats.reset = timings.reset.timing();
        stats.use_time = timings.use_time.timing();
        stats
    }

    /// The living VMs, oldest first.
    #[must_use]
    pub fn vms(&self) -> Vec<VmInfo> {
        self.slots.registry().vms(Instant::now())
    }

    #[track_caller]
    fn lease(&self, wait: Duration, program: Option<&str>) -> Result<Lease<V>, PoolError> {
        Lease::take(&self.slots, wait, program, Location::caller())
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
