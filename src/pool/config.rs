//! [`PoolConfig`]: how large a pool is, how long its VMs live, and what one run may use.

use std::fmt::{self, Debug};
use std::panic::catch_unwind;
use std::time::Duration;

use ron::extensions::Extensions;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::sandbox::{SandboxConfig, is_rule};

mod builder;

pub use self::builder::PoolConfigBuilder;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// The most that a count of what one run may make can be.
const MAX_COUNT: usize = 1_000_000;
const HOUR: Duration = Duration::from_secs(60 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The size of a pool, the life of its VMs, and the limits of one run.
///
/// The pool enforces the size, the waiting time and the life of the VMs. The limits of a run
/// (from [`run_time_limit`](Self::run_time_limit) down) are checked and carried by the pool, and
/// enforced by the layers that run scripts.
///
/// Written in Rust with struct update syntax or with a [`builder`](Self::builder), or in RON, where
/// every field is optional and a duration is a text such as `"50ms"` or `"5min"`:
///
/// ```ron
/// (
///     max_size: 4,
///     acquire_timeout: "20ms",
///     frame_budget: "4ms",
/// )
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// VMs that the pool keeps alive even when nobody uses them. `warm_up` and `maintain` make
    /// the missing ones. Default 2, or `max_size` where that is less; from 0 to `max_size`. With 0
    /// the first lease after a quiet time waits for a VM to be made.
    pub min_size: usize,
    /// VMs that may be alive at once; never exceeded, not even for a moment. Default 10; from 1
    /// to [`PoolConfig::SIZE_LIMIT`]. A run that comes near its memory limit is measured on another VM, which isn't
    /// the pool's and is gone when the run is over: each VM can have one beside it for so long. More VMs than threads that run scripts are of no use.
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
    /// longer is destroyed. One whose reset doesn't come back is put into quarantine by
    /// `maintain`, and its slot is free again.
    #[serde(with = "humantime_serde")]
    pub reset_timeout: Duration,
    /// How often `maintain` looks at every idle VM: whether it is idle for too long, too old, too
    /// large or changed. Default 30 s; from 1 ms to 1 year. What can't wait (missing VMs, hung
    /// ones, overdue leases) it does each time. Shorter finds trouble sooner, at some
    /// microseconds for each idle VM.
    #[serde(with = "humantime_serde")]
    pub health_check_interval: Duration,
    /// After this time without a lease an idle VM is destroyed, down to `min_size`. Default
    /// 5 min; from 1 ms to 1 year. Shorter gives memory back sooner, and makes VMs anew more
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
    /// lease. Programs stay loaded as long as they fit in there: those that are used least recently go.
    pub max_resting_memory: Option<usize>,
    /// CPU time one run may take before it is stopped, the file level of its script included.
    /// Time in which the system ran something else, or a host function waited, is not charged: see
    /// [limits of time](crate#limits-of-time). Where the file level runs once for many runs, it has as much time to
    /// itself.
    /// Default 2 ms; from 10 µs to 1 min. Single scripts can have another: see
    /// [`SandboxConfig::scripts`]. In a build without optimisation the same script takes many times as
    /// long: give it more there, such as 20 ms where `cfg!(debug_assertions)`.
    #[serde(with = "humantime_serde")]
    pub run_time_limit: Duration,
    /// Bytes that one VM may allocate. Default 16 MiB; at least 1 MiB. Up to three quarters are for programs that stay
    /// loaded, with the data of their file levels (see `max_resting_memory`). Of more than that, some are
    /// loaded anew in every frame, which is told once. The VM on which a run is measured may allocate as many besides,
    /// for as long as that run takes (see `run_memory_limit`).
    pub memory_limit: usize,
    /// Bytes that one run may hold at a time: the strings, tables and other objects that it reaches, on top of
    /// those that its file level made, which may be as many. Garbage doesn't count, nor does what earlier runs
    /// left. A run that allocates more than half of it, or than a quarter of `memory_limit`, garbage included,
    /// takes longer: it runs again on a VM of its own, where what it holds is measured. Default `None`: half of
    /// `memory_limit`, but at least 4 MiB, as far as `memory_limit` allows; or from 256 KiB to `memory_limit`.
    /// Single scripts can have another: see [`SandboxConfig::scripts`].
    pub run_memory_limit: Option<usize>,
    /// Wall time that all runs of one frame may take together, those of its fixed steps included; what is
    /// left over runs in the next frame, those first that have waited longest. Which runs wait depends on
    /// the clock then, and no two machines come to the same world: not for lockstep, rollback and replays.
    /// Default `None` (no limit); or from 10 µs to 1 min.
    #[serde(with = "humantime_serde")]
    pub frame_budget: Option<Duration>,
    /// Lines that one run may log. Default 32; at most 1,000,000.
    pub max_log_lines: usize,
    /// Messages that one run may send, to scripts and to the game together. Default 256; at most
    /// 1,000,000.
    /// All messages of one run, and all components, texts and tables that it writes to components, may have 16
    /// times `max_value_size` bytes together.
    pub max_messages: usize,
    /// Commands that one run may queue: spawn, despawn, insert, remove, and those of host
    /// functions. A spawn is one, whatever the new entity comes with. Default 256; at most 1,000,000.
    /// As many entities may be spawned together, in one stage, on all entities that descend from one
    /// because scripts spawned them; who would spawn more waits for the next frame. Single scripts can
    /// have more or less of both: see [`SandboxConfig::scripts`].
    pub max_commands: usize,
    /// Bytes of one payload, or of one entity's `self`. Default 64 KiB; from 1 KiB to
    /// `memory_limit`.
    pub max_value_size: usize,
    /// Failures in a row after which a script of an entity is put aside. Default 5; 0 means
    /// never.
    pub max_failures: u32,
    /// Frames after which a script that was put aside is tried again. Each time that it fails then, the
    /// interval doubles, until it is `max_retry_interval`. So that the scripts of many entities don't
    /// come back in one frame, an interval is longer by up to a quarter, which depends on the entity.
    /// Default 60: a second in many games; from 0 to `max_retry_interval`. With 0 it stays put aside
    /// until it is reloaded or woken.
    pub retry_interval: u32,
    /// The longest interval of frames after which a script that was put aside is tried again. Default
    /// 3600: a minute in many games; from 1 to 1,000,000,000.
    pub max_retry_interval: u32,
    /// What scripts find, and which of them may use more or less than the others. The pool carries it
    /// for the VMs. Default: [`SandboxConfig::untrusted`].
    pub sandbox: SandboxConfig,
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
            run_time_limit: Duration::from_millis(2),
            memory_limit: 16 * MIB,
            run_memory_limit: None,
            frame_budget: None,
            max_log_lines: 32,
            max_messages: 256,
            max_commands: 256,
            max_value_size: 64 * KIB,
            max_failures: 5,
            retry_interval: 60,
            max_retry_interval: 3600,
            sandbox: SandboxConfig::untrusted(),
        }
    }
}

impl PoolConfig {
    /// The largest `max_size` there is: 1024 VMs.
    pub const SIZE_LIMIT: usize = 1024;

    /// The default of `min_size`. It stands for `max_size` where that is less, so that a pool of one
    /// VM is asked for by `max_size: 1` alone.
    const DEFAULT_MIN_SIZE: usize = 2;

    /// Reads a configuration from RON text and validates it. Fields that the text leaves out
    /// have their defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Syntax`] with line and column where the text isn't RON or a field is
    /// unknown or of a wrong type; [`ConfigError::Invalid`] where a value isn't allowed.
    pub fn from_ron(text: &str) -> Result<Self, ConfigError> {
        // Some editors begin each file with a mark of its encoding.
        let text = text.trim_start_matches('\u{feff}');
        let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
        // `humantime` panics at a duration whose parts come to more than there can be.
        let read = catch_unwind(|| options.from_str::<Self>(text)).map_err(|_| {
            let message = "a duration is too long".to_owned();
            ConfigError::Syntax { line: 1, column: 1, message }
        })?;
        let config = read.map_err(|error| ConfigError::Syntax {
            line: error.span.start.line,
            column: error.span.start.col,
            message: error.code.to_string(),
        })?;
        config.validate()?;
        Ok(config)
    }

    /// A configuration to be set field by field, which is checked as a whole at the end.
    pub fn builder() -> PoolConfigBuilder {
        PoolConfigBuilder::default()
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

    /// The bytes that a run may have where nothing else is said.
    pub(crate) fn run_memory(&self) -> usize {
        let usual = (self.memory_limit / 2).max(4 * MIB);
        self.run_memory_limit.unwrap_or(usual)
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
        if self.acquire_timeout > HOUR {
            return Err(invalid("acquire_timeout", &self.acquire_timeout, "0s to 1h"));
        }
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
        check_budget("run_time_limit", self.run_time_limit)?;
        if self.memory_limit < MIB {
            let allowed = "1048576 (1 MiB) or more";
            return Err(invalid("memory_limit", &self.memory_limit, allowed));
        }
        if let Some(bytes) = self.run_memory_limit {
            self.check_run_memory(bytes, &bytes)?;
        }
        if let Some(budget) = self.frame_budget {
            check_budget("frame_budget", budget)?;
        }
        check_count("max_log_lines", self.max_log_lines)?;
        check_count("max_messages", self.max_messages)?;
        check_count("max_commands", self.max_commands)?;
        if !(KIB..=self.memory_limit).contains(&self.max_value_size) {
            let allowed = format!("1024 (1 KiB) to `memory_limit`, which is {}", self.memory_limit);
            return Err(invalid("max_value_size", &self.max_value_size, allowed));
        }
        // As above: the upper bound is the cause.
        let longest = 1..=1_000_000_000;
        if self.retry_interval > self.max_retry_interval
            && longest.contains(&self.max_retry_interval)
        {
            let allowed =
                format!("0 to `max_retry_interval`, which is {}", self.max_retry_interval);
            return Err(invalid("retry_interval", &self.retry_interval, allowed));
        }
        if !longest.contains(&self.max_retry_interval) {
            let allowed = "1 to 1000000000";
            return Err(invalid("max_retry_interval", &self.max_retry_interval, allowed));
        }
        self.check_sandbox()
    }

    fn check_sandbox(&self) -> Result<(), ConfigError> {
        if let Some(rule) = self.sandbox.scripts.keys().find(|rule| !is_rule(rule)) {
            let allowed = "the path of an asset such as \"scripts/boss.luau\", or a folder such as \
                           \"scripts/\"";
            return Err(invalid("sandbox.scripts", &Rule(rule), allowed));
        }
        for (rule, limits) in self.sandbox.all_limits() {
            if let Some(time) = limits.run_time_limit {
                check_budget_of("run_time_limit", time, &Of(&time, rule))?;
            }
            if let Some(bytes) = limits.run_memory_limit {
                self.check_run_memory(bytes, &Of(&bytes, rule))?;
            }
            for (field, count) in [
                ("max_commands", limits.max_commands),
                ("max_spawned_together", limits.max_spawned_together),
            ] {
                if let Some(count) = count.filter(|count| *count > MAX_COUNT) {
                    return Err(invalid(field, &Of(&count, rule), "0 to 1000000"));
                }
            }
        }
        Ok(())
    }

    fn check_run_memory(&self, bytes: usize, shown: &dyn Debug) -> Result<(), ConfigError> {
        if (256 * KIB..=self.memory_limit).contains(&bytes) {
            return Ok(());
        }
        let allowed = format!("262144 (256 KiB) to `memory_limit`, which is {}", self.memory_limit);
        Err(invalid("run_memory_limit", shown, allowed))
    }
}

/// A key of [`SandboxConfig::scripts`] as messages show it.
struct Rule<'r>(&'r str);

impl Debug for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{:?}: …}}", self.0)
    }
}

/// A value in the sandbox as messages show it, with the rule that has it.
struct Of<'r>(&'r dyn Debug, Option<&'r str>);

impl Debug for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(rule) => write!(f, "{:?} for {rule:?} in `sandbox.scripts`", self.0),
            None => write!(f, "{:?} in `sandbox.limits`", self.0),
        }
    }
}

/// What `acquire` does when no VM is free. `try_acquire` and `acquire_timeout` say it themselves and
/// don't ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Overflow {
    /// Make a VM if there may be one more; else wait for at most `acquire_timeout`, in the order
    /// of arrival. In a frame: what has no VM by then runs in the next frame. The frame may be
    /// late by the timeout.
    #[default]
    Wait,
    /// Make a VM if there may be one more; else fail at once. In a frame: the others' VMs do the
    /// work, and what is left when the frame's budget is spent runs in the next.
    Fail,
    /// Never wait, not even for a VM to be made: that goes on in the background, and who asked
    /// gets [`PoolError::Deferred`](crate::pool::PoolError::Deferred) and asks again later. In a
    /// frame: what has no VM runs in the next frame, and which that is depends on how long VMs take to be made.
    /// No frame is late on the pool's account.
    Defer,
}

/// Why a [`PoolConfig`] can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field has a value that isn't allowed.
    #[error(
        "`{field}` is {value}: allowed is {allowed}; change it, or leave it out to have the default"
    )]
    Invalid {
        /// The name of the field.
        field: &'static str,
        /// The value it has.
        value: String,
        /// The values it may have.
        allowed: String,
    },
    /// The RON text can't be read as a configuration.
    #[error(
        "the pool configuration can't be read at line {line}, column {column}: {message}; write \
         it as `(max_size: 4, acquire_timeout: \"50ms\")`"
    )]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// What is wrong there; for an unknown field, its name and the names there are.
        message: String,
    },
}

fn check_life(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    if (Duration::from_millis(1)..=YEAR).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, &value, "1ms to 365days"))
}

fn check_step(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    if (Duration::from_millis(1)..=HOUR).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, &value, "1ms to 1h"))
}

fn check_budget(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    check_budget_of(field, value, &value)
}

fn check_budget_of(
    field: &'static str,
    value: Duration,
    shown: &dyn Debug,
) -> Result<(), ConfigError> {
    if (Duration::from_micros(10)..=Duration::from_secs(60)).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, shown, "10us to 1min"))
}

fn check_count(field: &'static str, value: usize) -> Result<(), ConfigError> {
    if value <= MAX_COUNT {
        return Ok(());
    }
    Err(invalid(field, &value, "0 to 1000000"))
}

fn invalid(field: &'static str, value: &dyn Debug, allowed: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { field, value: format!("{value:?}"), allowed: allowed.into() }
}
