//! [`LuaPoolConfig`]: a pool of Luau VMs, what one run may use, when to retry a failing script, and the sandbox.

mod fields;
#[cfg(test)]
mod tests;
mod validate;

pub use self::fields::LuaPoolConfigBuilder;

use std::time::Duration;

use crate::pool::{ConfigError, PoolConfig, read_ron};
use crate::sandbox::SandboxConfig;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The configuration of scripts: the pool of VMs, the limits of one run, retries and the sandbox.
///
/// Written in Rust with struct update syntax or with a [`builder`](Self::builder), which sets the fields of the
/// [`pool`](Self::pool) as well:
///
/// ```
/// use std::time::Duration;
///
/// use bevy_lua_pool::{LuaPoolConfig, PoolConfig};
///
/// let config = LuaPoolConfig {
///     pool: PoolConfig { max_size: 4, ..PoolConfig::default() },
///     frame_budget: Some(Duration::from_millis(4)),
///     ..LuaPoolConfig::default()
/// };
/// let built = LuaPoolConfig::builder()
///     .max_size(4)
///     .frame_budget(Some(Duration::from_millis(4)))
///     .build()?;
/// assert_eq!(built, config);
/// # Ok::<(), bevy_lua_pool::pool::ConfigError>(())
/// ```
///
/// Or in RON, where the fields of the pool stand beside the others, every field is optional, and a duration is a text
/// such as `"50ms"` or `"5min"`:
///
/// ```ron
/// (
///     max_size: 4,
///     acquire_timeout: "20ms",
///     frame_budget: "4ms",
///     sandbox: (libraries: [math, string, table]),
/// )
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LuaPoolConfig {
    /// How many VMs there are, how large they may be, how long they live.
    pub pool: PoolConfig,
    /// CPU time one run may take before it is stopped, the file level of its script included.
    /// Time in which the system ran something else, or a host function waited, is not charged: see
    /// [limits of time](crate#limits-of-time). Where the file level runs once for many runs, it has as much time to
    /// itself.
    ///
    /// Default 2 ms; from 10 µs to 1 min. Single scripts can have another: see
    /// [`SandboxConfig::scripts`]. In a build without optimisation the same script takes many times as
    /// long: give it more there, such as 20 ms where `cfg!(debug_assertions)`.
    pub run_time_limit: Duration,
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
    pub frame_budget: Option<Duration>,
    /// Lines that one run may log. Default 32; at most 1,000,000.
    pub max_log_lines: usize,
    /// Messages that one run may send, to scripts and to the game together. Default 256; at most
    /// 1,000,000.
    ///
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
    /// What scripts find, and which of them may use more or less than the others. Default:
    /// [`SandboxConfig::untrusted`].
    pub sandbox: SandboxConfig,
}

impl Default for LuaPoolConfig {
    fn default() -> Self {
        Self {
            pool: PoolConfig::default(),
            run_time_limit: Duration::from_millis(2),
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

impl LuaPoolConfig {
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

    /// The bytes that a run may hold unless the sandbox says otherwise for its script.
    pub(crate) fn run_memory(&self) -> usize {
        let usual = (self.pool.memory_limit / 2).max(4 * MIB);
        self.run_memory_limit.unwrap_or(usual)
    }
}
