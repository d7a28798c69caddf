//! Calls on a pool: `execute` and its variants, and [`Execution`] with every option.

use std::fmt;
use std::time::Duration;

use bevy::log::{error, info, warn};
use serde::de::DeserializeOwned;

use super::LuauPool;
use super::error::ExecuteError;
use super::programs::UNNAMED;
use super::run::PoolSource;
use crate::engine::output::OutputLine;
use crate::error::Failure;
use crate::escape::log_text;
use crate::value::{ScriptTable, ScriptValue, ScriptValues, from_value};
use crate::vm::{LogLevel, Results, WallDeadline};

impl LuauPool {
    /// Runs an expression, or a source with `return`, and returns its first value. `params` is a global of that name;
    /// `()` is an empty table. What the run prints goes to `tracing`; use [`LuauPool::execution`] to get the output and
    /// all values.
    ///
    /// Runs leave nothing behind: each starts in the same pristine state, with random numbers from the pool's seed, so
    /// the same source with the same `params` returns the same value. Up to 1024 compiled sources are cached, with
    /// 8 MiB of text and bytecode.
    ///
    /// The source is compiled on the calling thread, which can't be interrupted, and the time counts towards
    /// `run_time_limit`. So the first call of a source that takes long to compile may fail with
    /// [`ScriptError::TimedOut`](crate::ScriptError::TimedOut) before any of it has run, and the second one, which
    /// finds it compiled, succeed. See [limits of time](crate#limits-of-time).
    ///
    /// A run that comes near its memory limit is [retried](crate#what-is-not-the-same-everywhere), where memory can be
    /// measured. Host functions are not called again: the retry gets the recorded results. Up to 1 MiB of arguments and
    /// results is recorded; a run with more, or one that makes other calls the second time, fails at half of the limit.
    /// Live values are read again.
    ///
    /// # Errors
    /// If no VM is available in time, or the script fails.
    #[track_caller]
    pub fn execute(
        &self,
        source: &str,
        params: impl Into<ScriptTable>,
    ) -> Result<ScriptValue, ExecuteError> {
        self.first_value(&self.execution(source).params(params))
    }

    /// As [`LuauPool::execute`], into any type that serde can deserialize.
    ///
    /// ```
    /// use bevy_lua_pool::LuauPool;
    ///
    /// let pool = LuauPool::builder().build()?;
    /// let squares = pool.execute_as::<Vec<u32>>("local t = {} for i = 1, 3 do t[i] = i * i end return t", ())?;
    /// assert_eq!(squares, [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`LuauPool::execute`]; also if the value doesn't fit the type.
    #[track_caller]
    pub fn execute_as<T: DeserializeOwned>(
        &self,
        source: &str,
        params: impl Into<ScriptTable>,
    ) -> Result<T, ExecuteError> {
        let value = self.execute(source, params)?;
        from_value(value).map_err(|error| Failure::new(&UNNAMED.into(), error).into())
    }

    /// As [`LuauPool::execute`]; `name` is the name of the source in errors, log lines and [`VmInfo`](crate::VmInfo),
    /// such as `rules/tax.luau`. A rule for it in [`SandboxConfig::scripts`](crate::SandboxConfig::scripts) applies.
    ///
    /// # Errors
    /// As [`LuauPool::execute`].
    #[track_caller]
    pub fn execute_named(
        &self,
        name: &str,
        source: &str,
        params: impl Into<ScriptTable>,
    ) -> Result<ScriptValue, ExecuteError> {
        self.first_value(&self.execution(source).named(name).params(params))
    }

    /// As [`LuauPool::execute`], with a wall-clock time limit: fails with
    /// [`ScriptError::Overdue`](crate::ScriptError::Overdue) when it has passed. The wait for a VM, or for one to be
    /// built, counts. A host function isn't interrupted: the clock is checked when it returns.
    ///
    /// # Errors
    /// As [`LuauPool::execute`].
    #[track_caller]
    pub fn execute_within(
        &self,
        timeout: Duration,
        source: &str,
        params: impl Into<ScriptTable>,
    ) -> Result<ScriptValue, ExecuteError> {
        self.first_value(&self.execution(source).within(timeout).params(params))
    }

    /// A source to run, for all values that it returns and all that it prints: see [`Execution`].
    pub fn execution<'e>(&'e self, source: &'e str) -> Execution<'e> {
        let timeout = self.call_timeout;
        Execution { pool: self, source, name: None, params: ScriptTable::default(), timeout }
    }

    /// Runs a source and returns its first value; sends its output to `tracing`.
    #[track_caller]
    fn first_value(&self, execution: &Execution<'_>) -> Result<ScriptValue, ExecuteError> {
        let mut output = Vec::new();
        let result = execution.perform(Results::First, &mut output);
        let name = execution.name.unwrap_or(UNNAMED);
        for OutputLine { level, text, line } in output {
            let line = line.unwrap_or_default();
            match level {
                LogLevel::Info => info!("{name}:{line}: {}", log_text(&text)),
                LogLevel::Warn => warn!("{name}:{line}: {}", log_text(&text)),
                LogLevel::Error => error!("{name}:{line}: {}", log_text(&text)),
            }
        }
        result.map(ScriptValues::into_first)
    }
}

/// A source to run on a [`LuauPool`]; made by [`LuauPool::execution`].
///
/// ```
/// use bevy_lua_pool::LuauPool;
///
/// let pool = LuauPool::builder().build()?;
/// let done = pool
///     .execution("print('dividing') return params.a // params.b, params.a % params.b")
///     .named("rules/divide.luau")
///     .params([("a", 17.0), ("b", 5.0)])
///     .run();
/// assert_eq!(done.values?[..], [3.0.into(), 2.0.into()]);
/// assert_eq!(&*done.output[0].text, "dividing");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing runs until `run` is called"]
pub struct Execution<'e> {
    pool: &'e LuauPool,
    source: &'e str,
    name: Option<&'e str>,
    params: ScriptTable,
    timeout: Option<Duration>,
}

/// The result of an [`Execution`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Executed {
    /// All values that the source returned, or why there are none.
    pub values: Result<ScriptValues, ExecuteError>,
    /// What it printed and logged, the oldest line first, also if it failed. Not sent to `tracing`.
    pub output: Vec<OutputLine>,
}

impl<'e> Execution<'e> {
    /// The name of the source in errors, log lines and [`VmInfo`](crate::VmInfo): see [`LuauPool::execute_named`].
    pub fn named(mut self, name: &'e str) -> Self {
        self.name = Some(name);
        self
    }

    /// The global `params`. Default: an empty table.
    pub fn params(mut self, params: impl Into<ScriptTable>) -> Self {
        self.params = params.into();
        self
    }

    /// The wall-clock time limit: see [`LuauPool::execute_within`]. Default: that of the pool.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Runs the source, as [`LuauPool::execute`] does.
    #[track_caller]
    pub fn run(self) -> Executed {
        let mut output = Vec::new();
        let values = self.perform(Results::All, &mut output);
        Executed { values, output }
    }

    /// Runs the source for some of its values; appends what it prints to `output`.
    #[track_caller]
    fn perform(
        &self,
        results: Results,
        output: &mut Vec<OutputLine>,
    ) -> Result<ScriptValues, ExecuteError> {
        let wall = self.timeout.and_then(WallDeadline::within);
        let source = PoolSource { name: self.name, text: self.source, params: &self.params };
        self.pool.run(source, results, wall, output)
    }
}

impl fmt::Debug for Execution<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution").field("name", &self.name).finish_non_exhaustive()
    }
}
