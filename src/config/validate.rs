//! Which values a [`LuaPoolConfig`] may have.

use std::fmt::{self, Debug};
use std::time::Duration;

use super::LuaPoolConfig;
use crate::pool::{ConfigError, invalid};
use crate::sandbox::is_rule;

const KIB: usize = 1024;
/// The largest number of log lines, messages or commands that one run may be allowed.
const MAX_COUNT: usize = 1_000_000;

impl LuaPoolConfig {
    /// Checks every field and how the fields fit together.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] for the first field whose value isn't allowed: those of the pool first, then the
    /// others in the order of declaration.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.pool.validate()?;
        let memory_limit = self.pool.memory_limit;
        check_time("run_time_limit", self.run_time_limit, &self.run_time_limit)?;
        if let Some(bytes) = self.run_memory_limit {
            self.check_run_memory(bytes, &bytes)?;
        }
        if let Some(budget) = self.frame_budget {
            check_time("frame_budget", budget, &budget)?;
        }
        for (field, count) in [
            ("max_log_lines", self.max_log_lines),
            ("max_messages", self.max_messages),
            ("max_commands", self.max_commands),
        ] {
            check_count(field, count, &count)?;
        }
        if !(KIB..=memory_limit).contains(&self.max_value_size) {
            let allowed = format!("1024 (1 KiB) to `memory_limit`, which is {memory_limit}");
            return Err(invalid("max_value_size", &self.max_value_size, allowed));
        }
        self.check_retries()?;
        self.check_sandbox()
    }

    fn check_retries(&self) -> Result<(), ConfigError> {
        let longest = 1..=1_000_000_000;
        if !longest.contains(&self.max_retry_interval) {
            let allowed = "1 to 1000000000";
            return Err(invalid("max_retry_interval", &self.max_retry_interval, allowed));
        }
        if self.retry_interval > self.max_retry_interval {
            let allowed =
                format!("0 to `max_retry_interval`, which is {}", self.max_retry_interval);
            return Err(invalid("retry_interval", &self.retry_interval, allowed));
        }
        Ok(())
    }

    fn check_sandbox(&self) -> Result<(), ConfigError> {
        if let Some(rule) = self.sandbox.scripts.keys().find(|rule| !is_rule(rule)) {
            let allowed = "the path of an asset such as \"scripts/boss.luau\", or a folder such as \
                           \"scripts/\"";
            return Err(invalid("sandbox.scripts", &RuleKey(rule), allowed));
        }
        for (rule, limits) in self.sandbox.all_limits() {
            if let Some(time) = limits.run_time_limit {
                check_time("run_time_limit", time, &LimitOfRule(&time, rule))?;
            }
            if let Some(bytes) = limits.run_memory_limit {
                self.check_run_memory(bytes, &LimitOfRule(&bytes, rule))?;
            }
            for (field, count) in [
                ("max_commands", limits.max_commands),
                ("max_spawned_together", limits.max_spawned_together),
            ] {
                if let Some(count) = count {
                    check_count(field, count, &LimitOfRule(&count, rule))?;
                }
            }
        }
        Ok(())
    }

    fn check_run_memory(&self, bytes: usize, shown: &dyn Debug) -> Result<(), ConfigError> {
        let memory_limit = self.pool.memory_limit;
        if (256 * KIB..=memory_limit).contains(&bytes) {
            return Ok(());
        }
        let allowed = format!("262144 (256 KiB) to `memory_limit`, which is {memory_limit}");
        Err(invalid("run_memory_limit", shown, allowed))
    }
}

fn check_time(field: &'static str, value: Duration, shown: &dyn Debug) -> Result<(), ConfigError> {
    if (Duration::from_micros(10)..=Duration::from_secs(60)).contains(&value) {
        return Ok(());
    }
    Err(invalid(field, shown, "10us to 1min"))
}

fn check_count(field: &'static str, value: usize, shown: &dyn Debug) -> Result<(), ConfigError> {
    if value <= MAX_COUNT {
        return Ok(());
    }
    Err(invalid(field, shown, "0 to 1000000"))
}

/// A key of [`SandboxConfig::scripts`](crate::SandboxConfig::scripts) as messages show it.
struct RuleKey<'r>(&'r str);

impl Debug for RuleKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{:?}: …}}", self.0)
    }
}

/// A limit in the sandbox as messages show it, with the rule that has it.
struct LimitOfRule<'r>(&'r dyn Debug, Option<&'r str>);

impl Debug for LimitOfRule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(rule) => write!(f, "{:?} for {rule:?} in `sandbox.scripts`", self.0),
            None => write!(f, "{:?} in `sandbox.limits`", self.0),
        }
    }
}
