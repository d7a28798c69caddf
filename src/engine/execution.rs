//! [`Execution`]: one call of a [`LuauPool`], with all that can be said about it.

use std::fmt;
use std::time::Duration;

use super::pool::ExecuteError;
use super::{LuauPool, OutputLine};
use crate::value::{ScriptTable, ScriptValues};
use crate::vm::{Results, WallDeadline};

/// A source that is to run on a [`LuauPool`]; made by [`LuauPool::execution`].
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
    pub(super) pool: &'e LuauPool,
    pub(super) source: &'e str,
    pub(super) name: Option<&'e str>,
    pub(super) params: ScriptTable,
    pub(super) timeout: Option<Duration>,
}

/// What an [`Execution`] came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Executed {
    /// All values that the source returned, or why there are none.
    pub values: Result<ScriptValues, ExecuteError>,
    /// What it printed and logged, the oldest first, also if it failed then. It didn't go to `tracing`.
    pub output: Vec<OutputLine>,
}

impl<'e> Execution<'e> {
    /// What errors, log lines and [`VmInfo`](crate::VmInfo) call the source: see [`LuauPool::execute_named`].
    pub fn named(mut self, name: &'e str) -> Self {
        self.name = Some(name);
        self
    }

    /// What the source finds as the global `params`. Default: an empty table.
    pub fn params(mut self, params: impl Into<ScriptTable>) -> Self {
        self.params = params.into();
        self
    }

    /// Time by the clock on the wall after which it fails: see [`LuauPool::execute_within`]. Default: that of the pool.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Runs it, as [`LuauPool::execute`] does.
    #[track_caller]
    pub fn run(self) -> Executed {
        let mut output = Vec::new();
        let values = self.perform(Results::All, &mut output);
        Executed { values, output }
    }

    /// Runs it for some of its values; `output` gets its lines.
    #[track_caller]
    pub(super) fn perform(
        &self,
        results: Results,
        output: &mut Vec<OutputLine>,
    ) -> Result<ScriptValues, ExecuteError> {
        let wall = self.timeout.and_then(WallDeadline::within);
        self.pool.perform(self, results, wall, output)
    }
}

impl fmt::Debug for Execution<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution").field("name", &self.name).finish_non_exhaustive()
    }
}
