//! [`ProgramLimits`]: what the runs of one program may use up.

use crate::bindings::max_bytes_handed_over;
use crate::config::LuaPoolConfig;
use crate::vm::{Program, RunLimits, STEP_NANOS, Used};

/// The work of a run that takes all the time that it may.
pub(crate) const FULL_RUN: u64 = 1 << 20;

/// The weight of all invocations of one descent in one stage, at most. Games consist of many short runs.
pub(super) const MAX_DESCENT_WEIGHT: u64 = 32 * FULL_RUN;

/// A run that works this much counts as long.
const LONG_RUN: u64 = FULL_RUN / 64;

/// How much more the work of a long run weighs.
const LONG_RUN_FACTOR: u64 = 4;

/// A run that hands over all the bytes that it may weighs as much as this many full runs.
const FULL_BYTES_FACTOR: u64 = 2;

/// The steps that a run takes which does nothing.
pub(super) const STEPS_OF_EMPTY_RUN: u64 = 100;

/// What one run of a program may use up, and how the usage of its invocations is weighed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramLimits {
    pub(crate) run: RunLimits,
    /// Commands of one run.
    pub(crate) commands: usize,
    /// Whether it may write numbers that are not finite.
    pub(crate) allow_non_finite: bool,
    /// Entities that all invocations of one descent have spawned in a stage, at most, when one of this program
    /// spawns.
    pub(super) spawned: u64,
    /// The steps that fill the time of one run.
    pub(super) steps: u64,
    /// Bytes that one run may hand over.
    pub(super) bytes: u64,
    /// Whether its file level runs for every run, as known when the stage began.
    pub(super) runs_file_level: bool,
}

impl ProgramLimits {
    pub(crate) fn of(program: &Program, config: &LuaPoolConfig) -> Self {
        let of_script = config.sandbox.limits_of(program.name());
        let run = RunLimits::new(config, &of_script);
        let commands = of_script.max_commands.unwrap_or(config.max_commands);
        let steps = run.time.as_nanos() / u128::from(STEP_NANOS);
        Self {
            run,
            commands,
            allow_non_finite: of_script.allow_non_finite.unwrap_or(false),
            spawned: of_script.max_spawned_together.unwrap_or(commands) as u64,
            steps: u64::try_from(steps).unwrap_or(u64::MAX).max(1),
            bytes: max_bytes_handed_over(config).max(1) as u64,
            runs_file_level: program.mutable().is_some(),
        }
    }

    /// The work of one run, as a part of [`FULL_RUN`]. A run that met a hard limit counts as a full one.
    pub(crate) fn work(&self, used: Used, met_limit: bool) -> u64 {
        let file_level = if self.runs_file_level { used.file_steps } else { 0 };
        let steps = STEPS_OF_EMPTY_RUN.saturating_add(used.steps).saturating_add(file_level);
        let work = full_runs(steps, self.steps);
        if met_limit { work.max(FULL_RUN) } else { work }
    }

    /// How much an invocation takes of [`MAX_DESCENT_WEIGHT`].
    pub(super) fn weight(&self, work: u64, bytes: u64) -> u64 {
        let work = if work < LONG_RUN { work } else { work.saturating_mul(LONG_RUN_FACTOR) };
        work.saturating_add(full_runs(bytes, self.bytes).saturating_mul(FULL_BYTES_FACTOR))
    }
}

/// The ratio of `part` to `whole`, in units of 1 / [`FULL_RUN`].
fn full_runs(part: u64, whole: u64) -> u64 {
    let ratio = u128::from(part) * u128::from(FULL_RUN) / u128::from(whole);
    u64::try_from(ratio).unwrap_or(u64::MAX)
}
