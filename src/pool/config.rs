//! [`PoolConfig`]: how many VMs a pool has, how large they may be, and how long they live.

mod builder;
mod error;
mod ron;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::builder::PoolConfigBuilder;
pub use self::error::ConfigError;
pub(crate) use self::error::{HOUR, YEAR, check_duration, invalid};
pub(crate) use self::ron::read_ron;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The size of a pool, the size of its VMs, and how long they live.
///
/// What one run of a script may use up is no concern of the pool: see
/// [`LuaPoolConfig`](crate::LuaPoolConfig), which has a `PoolConfig` as a part.
///
/// Written in Rust with struct update syntax or with a [`builder`](Self::builder), or in RON, where
/// every field is optional and a duration is a text such as `"50ms"` or `"5min"`:
///
/// ```ron
/// (
///     max_size: 4,
///     acquire_timeout: "20ms",
/// )
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// VMs that the pool keeps alive even when nobody uses them. `warm_up` and `maintain` make
    /// the missing ones. Default 2, or `max_size` where that is less; from 0 to `max_size`. With 0
    /// the first lease after a quiet time waits for a VM to be made.
    pub min_size: usize,
    /// VMs that may be alive at once; never exceeded, not even for a moment. Default 10; from 1
    /// to [`PoolConfig::SIZE_LIMIT`]. More VMs than threads that use them are of no use.
    ///
    /// A script that comes near its memory limit runs again on a VM beside the pool, which exists for that run alone.
    /// Each VM of the pool may have one such VM beside it.
    pub max_size: usize,
    /// What `acquire` does when no VM is free: see [`Overflow`]. Default [`Overflow::Wait`].
    pub overflow: Overflow,
    /// How long `acquire` waits for a free VM before it gives up. Default 50 ms: some frames;
    /// from 0 (fail at once) to 1 hour. A longer one makes a crowded frame late, a shorter one
    /// puts more runs off to the next frame. The making of a VM isn't part of it: that is
    /// `create_timeout`.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    /// How long the making of a VM may take. Default 5 s; from 1 ms to 1 hour. After that its
    /// slot is given to the next who waits, and what the factory hands out later is destroyed at
    /// once. Too short, and a busy machine makes no VM at all; too long, and a factory that hangs
    /// holds up a frame for that long.
    #[serde(with = "humantime_serde")]
    pub create_timeout: Duration,
    /// How long the reset of a VM may take. Default 100 ms; from 1 ms to 1 hour. A VM that took
    /// longer is destroyed. One whose reset doesn't return is put into quarantine by
    /// `maintain`, and its slot is free again.
    #[serde(with = "humantime_serde")]
    pub reset_timeout: Duration,
    /// How often `maintain` checks every idle VM: whether it is idle for too long, too old, too
    /// large or changed. Default 30 s; from 1 ms to 1 year. What can't wait (missing VMs, hung
    /// ones, overdue leases) it does each time. A shorter interval finds trouble sooner, at some
    /// microseconds for each idle VM.
    #[serde(with = "humantime_serde")]
    pub health_check_interval: Duration,
    /// After this time without a lease an idle VM is destroyed, down to `min_size`. Default
    /// 5 min; from 1 ms to 1 year. A shorter time gives memory back sooner, and makes VMs anew more
    /// often.
    #[serde(with = "humantime_serde")]
    pub max_idle_time: Duration,
    /// The age at which a VM is replaced, counted from its making. Default 30 min; from 1 ms to
    /// 1 year. A leased VM is replaced when its lease ends. It bounds how long a fault that
    /// nobody notices can live.
    #[serde(with = "humantime_serde")]
    pub max_lifetime: Duration,
    /// The share of `max_lifetime` by which lifetimes differ, so that VMs made together aren't
    /// replaced together: a VM lives between `max_lifetime * (1 - lifetime_jitter)` and
    /// `max_lifetime`. Default 0.1; from 0.0 to 0.5. The spread depends on the VM's id alone.
    pub lifetime_jitter: f64,
    /// Leases after which a VM is replaced. Counts leases, not runs: one lease may serve many
    /// runs. Default 1000; 0 means no limit.
    pub max_use_count: u64,
    /// A lease held for longer than this is reported as a possible leak, with the place in the
    /// source that took it. Default 30 s; `None`, or from 1 ms to 1 year. The lease goes on.
    #[serde(with = "humantime_serde")]
    pub leak_threshold: Option<Duration>,
    /// Bytes that a VM may hold while nobody uses it; one that holds more when its lease ends, or
    /// at a health check, is replaced. Default `None`: seven eighths of `memory_limit`, but at least 4 MiB;
    /// or from 64 KiB to `memory_limit`. Less than what a new VM holds means a new VM for every
    /// lease. Programs stay loaded as long as they fit in there; the least recently used ones go first.
    pub max_resting_memory: Option<usize>,
    /// Bytes that one VM may allocate. Default 16 MiB; at least 1 MiB. The factory enforces it.
    ///
    /// Of a Luau VM, up to three quarters are for programs that stay loaded, with the data of their file levels (see
    /// `max_resting_memory`). If there are more programs than that, some are loaded anew in every frame, which is
    /// reported once. The VM beside the pool on which a run is measured may allocate as many, for as long as that run
    /// takes.
    pub memory_limit: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            min_size: Self::DEFAULT_MIN_SIZE,
            max_size: 10,
            overflow: Overflow::Wait,
            acquire_timeout: Duration::from_millis(50),
            create_timeout: Duration::from_secs(5),
            reset_timeout: Duration::from_millis(100),
            health_check_interval: Duration::from_secs(30),
            max_idle_time: Duration::from_secs(5 * 60),
            max_lifetime: Duration::from_secs(30 * 60),
            lifetime_jitter: 0.1,
            max_use_count: 1000,
            leak_threshold: Some(Duration::from_secs(30)),
            max_resting_memory: None,
            memory_limit: 16 * MIB,
        }
    }
}

impl PoolConfig {
    /// The largest `max_size` there is: 1024 VMs.
    pub const SIZE_LIMIT: usize = 1024;

    /// The default of `min_size`. It stands for `max_size` where that is less, so that `max_size: 1` alone is enough
    /// for a pool of one VM.
    const DEFAULT_MIN_SIZE: usize = 2;

    /// Reads a configuration from RON text and validates it. Fields that the text leaves out
    /// have their defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Syntax`] with line and column where the text isn't RON or a field is
    /// unknown or of a wrong type; [`ConfigError::Invalid`] where a value isn't allowed.
    pub fn from_ron(text: &str) -> Result<Self, ConfigError> {
        let config: Self = read_ron(text)?;
        config.validate()?;
        Ok(config)
    }

    /// VMs that are kept alive: `min_size`, as far as there is room.
    pub(crate) fn kept_size(&self) -> usize {
        self.min_size.min(self.max_size)
    }

    /// The most bytes that a VM at rest may hold.
    pub(crate) fn resting_memory(&self) -> usize {
        let usual = (self.memory_limit / 8 * 7).max(4 * MIB);
        self.max_resting_memory.unwrap_or(usual)
    }

    /// Checks every field and how the fields fit together.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] for the first field, in the order of declaration, whose value
    /// isn't allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        // `max_size` bounds `min_size`, so when both are wrong, `max_size` is the cause.
        let largest_min = self.max_size.max(Self::DEFAULT_MIN_SIZE);
        if self.min_size > largest_min && (1..=Self::SIZE_LIMIT).contains(&self.max_size) {
            let allowed = format!("0 to `max_size`, which is {}", self.max_size);
            return Err(invalid("min_size", &self.min_size, allowed));
        }
        if !(1..=Self::SIZE_LIMIT).contains(&self.max_size) {
            let allowed = format!("1 to {}", Self::SIZE_LIMIT);
            return Err(invalid("max_size", &self.max_size, allowed));
        }
        check_duration("acquire_timeout", self.acquire_timeout, Duration::ZERO..=HOUR, "0s to 1h")?;
        check_step("create_timeout", self.create_timeout)?;
        check_step("reset_timeout", self.reset_timeout)?;
        check_life("health_check_interval", self.health_check_interval)?;
        check_life("max_idle_time", self.max_idle_time)?;
        check_life("max_lifetime", self.max_lifetime)?;
        if !(0.0..=0.5).contains(&self.lifetime_jitter) {
            return Err(invalid("lifetime_jitter", &self.lifetime_jitter, "0.0 to 0.5"));
        }
        if let Some(threshold) = self.leak_threshold {
            check_life("leak_threshold", threshold)?;
        }
        if let Some(bytes) = self.max_resting_memory
            && !(64 * KIB..=self.memory_limit.max(MIB)).contains(&bytes)
        {
            let allowed =
                format!("65536 (64 KiB) to `memory_limit`, which is {}", self.memory_limit);
            return Err(invalid("max_resting_memory", &bytes, allowed));
        }
        if self.memory_limit < MIB {
            let allowed = "1048576 (1 MiB) or more";
            return Err(invalid("memory_limit", &self.memory_limit, allowed));
        }
        Ok(())
    }
}

fn check_step(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    check_duration(field, value, Duration::from_millis(1)..=HOUR, "1ms to 1h")
}

fn check_life(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    check_duration(field, value, Duration::from_millis(1)..=YEAR, "1ms to 365days")
}

/// What `acquire` does when no VM is free. `try_acquire` and `acquire_timeout` don't use it: they state
/// themselves how long to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Overflow {
    /// Make a VM if there may be one more; else wait for at most `acquire_timeout`, in the order
    /// of arrival. In a frame: what has no VM by then runs in the next frame. The frame may be
    /// late by the timeout.
    #[default]
    Wait,
    /// Make a VM if there may be one more; else fail at once. In a frame: the VMs that were leased do all the
    /// work, and what is left when the frame's budget is spent runs in the next.
    Fail,
    /// Never wait, not even for a VM to be made: that happens in the background, and the caller
    /// gets [`PoolError::Deferred`](crate::pool::PoolError::Deferred) and asks again later. In a
    /// frame: what has no VM runs in the next frame, and which that is depends on how long VMs take to be made.
    /// No frame is late on the pool's account.
    Defer,
}
