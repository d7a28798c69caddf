//! [`RunLimits`]: what one run may use up.

use std::time::Duration;

use crate::config::LuaPoolConfig;
use crate::sandbox::ScriptLimits;

/// What one run may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// CPU time: what the system spent on other threads, and what host functions waited, is not charged.
    pub time: Duration,
    /// Bytes that it may hold, on top of what its file level made: its strings, tables and other objects, without
    /// garbage. Never beyond the limit of the VM.
    pub memory: usize,
    /// The most bytes that `self`, an argument or a result may have.
    pub value_size: usize,
}

impl From<&LuaPoolConfig> for RunLimits {
    /// For scripts that no rule of the sandbox names.
    fn from(config: &LuaPoolConfig) -> Self {
        Self::new(config, &config.sandbox.limits)
    }
}

impl RunLimits {
    /// For the script with this asset path.
    #[must_use]
    pub fn of_script(config: &LuaPoolConfig, path: &str) -> Self {
        Self::new(config, &config.sandbox.limits_of(path))
    }

    pub(crate) fn new(config: &LuaPoolConfig, limits: &ScriptLimits) -> Self {
        Self {
            time: limits.run_time_limit.unwrap_or(config.run_time_limit),
            memory: limits.run_memory_limit.unwrap_or_else(|| config.run_memory()),
            value_size: config.max_value_size,
        }
    }
}
