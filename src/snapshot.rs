//! [`LuaSnapshot`]: what the pool and the scripts did, as plain data.
//!
//! It is updated at the end of each frame. The overlay and the diagnostics read nothing else, so observing the pool
//! can't disturb it, and tests can draw a panel from a snapshot made by hand.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use bevy::prelude::{Entity, Resource};

use crate::error::ReachedLimit;
use crate::pool::{Incident, PoolStats, Timing, VmInfo};
use crate::vm::Mutable;

/// The most [`Sample`]s in [`LuaSnapshot::history`]: ten seconds at 60 frames per second.
pub const HISTORY_FRAMES: usize = 600;

/// The most distinct errors in [`LuaSnapshot::errors`]. The least recently seen one is dropped first.
pub const ERROR_ROWS: usize = 64;

/// The most distinct incidents in [`LuaSnapshot::incidents`]. The least recently seen one is dropped first.
pub const INCIDENT_ROWS: usize = 32;

/// The state of the script pool at the end of the last frame.
#[derive(Resource, Clone, Debug, Default)]
pub struct LuaSnapshot {
    /// Counters, gauges and timings of the VM pool.
    pub pool: PoolStats,
    /// All existing VMs, ordered by id.
    pub vms: Vec<VmInfo>,
    /// Incidents inside the pool, the most recent first; at most [`INCIDENT_ROWS`]. Each was logged as a warning when it
    /// was first seen.
    pub incidents: Vec<IncidentRow>,
    /// All script assets that entities use, ordered by path.
    pub scripts: Vec<ScriptRow>,
    /// Distinct errors, the most recent first; at most [`ERROR_ROWS`].
    pub errors: Vec<ErrorRow>,
    /// What the last frame did.
    pub frame: FrameStats,
    /// What all frames did, summed up.
    pub total: FrameStats,
    /// Which ways scripts took through the last frame.
    pub frame_paths: PathCounts,
    /// Which ways they took through all frames together.
    pub total_paths: PathCounts,
    /// How long runs took since the pool was made. Sampled: one run in eight, and every long one.
    pub run_time: Timing,
    /// One sample for each of the last [`HISTORY_FRAMES`] frames, the oldest first.
    pub history: VecDeque<Sample>,
    /// Whether scripts are paused ([`LuaScripting::enabled`](crate::LuaScripting) is `false`).
    pub paused: bool,
    /// Why no script runs, if the configuration file can't be used
    /// ([`LuaPool::stopped`](crate::LuaPool::stopped)).
    pub stopped: Option<Arc<str>>,
}

/// What one script asset costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScriptRow {
    /// The asset path, such as `scripts/orbit.luau`.
    pub path: Arc<str>,
    /// Entities with this script.
    pub entities: usize,
    /// Runs of any callback, failed ones included.
    pub runs: u64,
    /// Runs that failed.
    pub errors: u64,
    /// How long its runs took. Sampled: one run in eight, and every long one.
    pub time: Timing,
    /// Entities on which the script, or its `on_message` alone, is put aside after too many consecutive failures.
    pub put_aside: usize,
    /// VMs that were found changed, and quarantined, with this script as the last one that ran on them.
    /// [`LuaSnapshot::incidents`] names the other scripts that may be the cause.
    pub quarantines: u64,
    /// How often it was retried after it was put aside, on any entity.
    pub retries: u64,
    /// Frames until the next retry on an entity for which it is put aside; `None` if there is none.
    pub next_retry: Option<u64>,
    /// Why its file level is executed for every run, which is slower, and the line that causes it. `None` if the file
    /// level is shared by runs, or has not run yet.
    pub afresh: Option<Mutable>,
    /// The compile error of the asset, if it has one. The last good version stays in use.
    pub broken: Option<Arc<str>>,
}

/// An incident inside the pool, and how often it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentRow {
    /// The most recent one.
    pub incident: Incident,
    /// How often it happened to VMs on which the same script ran last.
    pub count: u64,
    /// The last frame in which it was seen, counted from the start of the app.
    pub last_frame: u64,
}

/// A distinct error, and how often it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRow {
    /// The asset path of the script.
    pub script: Arc<str>,
    /// The line, if the error has one.
    pub line: Option<u32>,
    /// The callback that failed; `None` if the asset could not be loaded, or an effect of the run was refused when it was
    /// applied.
    pub callback: Option<&'static str>,
    /// The entity of the most recent failure.
    pub entity: Option<Entity>,
    /// The message, without script and line.
    pub message: Arc<str>,
    /// The limit that the most recent run reached, if the error is about a limit.
    pub limit: Option<ReachedLimit>,
    /// The Lua call stack, the innermost call first; empty if there is none.
    pub traceback: Arc<str>,
    /// How often it was seen.
    pub count: u64,
    /// The last frame in which it was seen, counted from the start of the app.
    pub last_frame: u64,
}

impl ErrorRow {
    /// Whether both rows are about the same error. For a reached limit, the line and the amount used don't matter: they
    /// vary from run to run.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = match (&self.limit, &other.limit) {
            (Some(limit), Some(other)) => limit.setting == other.setting,
            (None, None) => (self.line, &self.message) == (other.line, &other.message),
            _ => false,
        };
        same && (&self.script, self.callback) == (&other.script, other.callback)
    }
}

/// What happened in one frame, or in all frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameStats {
    /// Callbacks that ran, failed ones included.
    pub runs: u64,
    /// Runs that failed and changed nothing.
    pub failed: u64,
    /// Scripts of entities that were due and wait for the next frame: no VM was available, or the budget of the frame, or
    /// of a lineage of entities, was spent.
    pub deferred: u64,
    /// Retries of scripts that were put aside on an entity after too many consecutive failures.
    pub retries: u64,
    /// Component fields that got a new value.
    pub writes: u64,
    /// Fields that two runs of one frame wrote; the later one in the stable order won.
    pub conflicts: u64,
    /// Messages that scripts sent to entities.
    pub messages: u64,
    /// Messages that were dropped: the receiver was gone, had no script with `on_message` or one that is put aside, or
    /// there was no room.
    pub undelivered: u64,
    /// Entities that scripts spawned.
    pub spawned: u64,
    /// Entities that scripts despawned.
    pub despawned: u64,
    /// Log lines that scripts wrote.
    pub log_lines: u64,
    /// Time from the start of collecting to the end of applying.
    pub time: Duration,
}

/// How often scripts took each of the ways through a frame.
///
/// The result is the same on every way; the time is not. Where each script does the same as in the frame before and
/// changes its own entity alone, entities are [collected unchanged](Self::collected_unchanged), run
/// [in batches](Self::run_in_batches) and are applied [in parallel](Self::applied_in_parallel). Large counts of the
/// others are a place to look when scripts take long. They also depend on how many VMs there are and on timing, unlike
/// [`FrameStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounts {
    /// Entities to which nothing had happened since the stage before. They are found on all threads.
    pub collected_unchanged: u64,
    /// Entities that were examined one by one: they are new, get a message, or were spawned by a script; their list
    /// of scripts changed; or a script of theirs is loading, reloaded or put aside.
    pub collected_one_by_one: u64,
    /// Runs in a batch: of one script for one entity after another.
    pub run_in_batches: u64,
    /// Runs that were called one by one: the first of a script on a VM, all that are not the only callback that is
    /// due for their script and entity, and all on a [fresh file level](Self::run_on_fresh_file_level).
    pub run_one_by_one: u64,
    /// Runs for which the script's file level was executed afresh, because the script changes it. All others
    /// share what it defines.
    pub run_on_fresh_file_level: u64,
    /// Scripts of entities whose changes were applied on all threads: they changed nothing but their own entity.
    pub applied_in_parallel: u64,
    /// Scripts of entities that changed nothing but their own entity, and were so few that each was looked up.
    pub applied_by_lookup: u64,
    /// Scripts of entities whose changes were applied one by one, in the stable order.
    pub applied_one_by_one: u64,
}

impl AddAssign for PathCounts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            collected_unchanged,
            collected_one_by_one,
            run_in_batches,
            run_one_by_one,
            run_on_fresh_file_level,
            applied_in_parallel,
            applied_by_lookup,
            applied_one_by_one,
        } = other;
        self.collected_unchanged += collected_unchanged;
        self.collected_one_by_one += collected_one_by_one;
        self.run_in_batches += run_in_batches;
        self.run_one_by_one += run_one_by_one;
        self.run_on_fresh_file_level += run_on_fresh_file_level;
        self.applied_in_parallel += applied_in_parallel;
        self.applied_by_lookup += applied_by_lookup;
        self.applied_one_by_one += applied_one_by_one;
    }
}

/// The figures of one frame, for the plots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Seconds since the app started.
    pub at: f64,
    /// Runs in this frame.
    pub runs: u32,
    /// Time that the frame spent on scripts, from collecting to applying.
    pub frame: Duration,
    /// The longest run of this frame.
    pub longest_run: Duration,
    /// The most VMs leased at the same time in this frame.
    pub leased: usize,
}
