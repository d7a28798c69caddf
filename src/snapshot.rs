//! What the pool and the scripts did, as plain data.
//!
//! The frame publishes one [`LuaSnapshot`] at its end. The overlay and the diagnostics read that and
//! nothing else, so looking at the pool can't disturb it, and a panel can be drawn from a snapshot
//! that a test made by hand.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bevy::prelude::{Entity, Resource};

use crate::error::ReachedLimit;
use crate::pool::{Incident, PoolStats, Timing, VmInfo};
use crate::vm::Mutable;

/// How many [`Sample`]s [`LuaSnapshot::history`] keeps: ten seconds at 60 frames a second.
pub const HISTORY_FRAMES: usize = 600;

/// How many distinct errors [`LuaSnapshot::errors`] keeps. The one that was seen longest ago goes
/// first.
pub const ERROR_ROWS: usize = 64;

/// How many distinct incidents [`LuaSnapshot::incidents`] keeps. The one that was seen longest ago goes
/// first.
pub const INCIDENT_ROWS: usize = 32;

/// The state of the script pool at the end of the last frame.
#[derive(Resource, Clone, Debug, Default)]
pub struct LuaSnapshot {
    /// Counters, gauges and timings of the VM pool.
    pub pool: PoolStats,
    /// One entry for each living VM, ordered by id.
    pub vms: Vec<VmInfo>,
    /// What went wrong inside the pool, the most recent first; at most [`INCIDENT_ROWS`]. Each was
    /// logged as a warning when it was seen first.
    pub incidents: Vec<IncidentRow>,
    /// One entry for each script asset that an entity uses, ordered by path.
    pub scripts: Vec<ScriptRow>,
    /// The distinct errors seen, the most recent first; at most [`ERROR_ROWS`].
    pub errors: Vec<ErrorRow>,
    /// What the last frame did.
    pub frame: FrameStats,
    /// What all frames did together.
    pub total: FrameStats,
    /// How long single runs took, since the pool was made: of one run in eight, and of each that took long.
    pub run_time: Timing,
    /// One sample for each of the last [`HISTORY_FRAMES`] frames, the oldest first.
    pub history: VecDeque<Sample>,
    /// Scripts are paused ([`LuaScripting::enabled`](crate::LuaScripting) is `false`).
    pub paused: bool,
}

/// What one script asset costs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScriptRow {
    /// The asset path, such as `scripts/orbit.luau`.
    pub path: Arc<str>,
    /// Entities that carry this script.
    pub entities: usize,
    /// Runs of any callback, failed ones included.
    pub runs: u64,
    /// Runs that failed.
    pub errors: u64,
    /// How long its runs took: of one in eight, and of each that took long.
    pub time: Timing,
    /// Entities for which the script was put aside after too many failures in a row.
    pub put_aside: usize,
    /// VMs that were found changed and put into quarantine after this script had run on them last.
    /// Which other scripts may have done it is told by [`LuaSnapshot::incidents`].
    pub quarantines: u64,
    /// How often it was tried again after it had been put aside, on any entity.
    pub retries: u64,
    /// Frames until it is tried again on the first of the entities for which it is put aside. `None`: on
    /// none of them.
    pub next_retry: Option<u64>,
    /// Why its file level runs afresh for every run, which takes longer; with the line that is the reason.
    /// `None`: it ran once in a VM and is shared, or it has not run yet.
    pub afresh: Option<Mutable>,
    /// What is wrong with the asset's text, if it does not compile. The last good version goes on
    /// running.
    pub broken: Option<Arc<str>>,
}

/// Something that went wrong inside the pool, and how often it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentRow {
    /// The most recent one.
    pub incident: Incident,
    /// How often the same befell any VM that had run the same script last.
    pub count: u64,
    /// The frame in which it was last seen, counted from the start of the app.
    pub last_frame: u64,
}

/// One distinct error and how often it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRow {
    /// The asset path of the script.
    pub script: Arc<str>,
    /// The line, where the error has one.
    pub line: Option<u32>,
    /// The callback that failed, or `None` if the asset could not be loaded.
    pub callback: Option<&'static str>,
    /// The entity of the most recent failure.
    pub entity: Option<Entity>,
    /// The message, without the place.
    pub message: Arc<str>,
    /// The limit that the most recent run reached, if that is the error.
    pub limit: Option<ReachedLimit>,
    /// The Lua call stack, the innermost call first; empty if there is none.
    pub traceback: Arc<str>,
    /// How often it was seen.
    pub count: u64,
    /// The frame in which it was last seen, counted from the start of the app.
    pub last_frame: u64,
}

impl ErrorRow {
    /// Whether both tell of the same error. Where a script meets a limit, and what it used by then, is an
    /// accident.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let same = match (&self.limit, &other.limit) {
            (Some(limit), Some(other)) => limit.setting == other.setting,
            (None, None) => (self.line, &self.message) == (other.line, &other.message),
            _ => false,
        };
        same && (&self.script, self.callback) == (&other.script, other.callback)
    }
}

/// What happened in one frame, or in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameStats {
    /// Callbacks that ran, failed ones included.
    pub runs: u64,
    /// Runs that failed and changed nothing.
    pub failed: u64,
    /// Runs that were due and wait for the next frame, because no VM was to be had or the frame's
    /// budget was spent.
    pub deferred: u64,
    /// Scripts of entities that were put aside after too many failures in a row, and were tried again.
    pub retries: u64,
    /// Component fields that got a new value.
    pub writes: u64,
    /// Fields that two runs of one frame wrote; the later run in the stable order won.
    pub conflicts: u64,
    /// Messages that scripts sent to entities.
    pub messages: u64,
    /// Messages whose receiver was gone or has no script to take them.
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

/// One frame's figures for the plot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Seconds since the app started.
    pub at: f64,
    /// Runs in this frame.
    pub runs: u32,
    /// Time the frame spent on scripts, from collecting to applying.
    pub frame: Duration,
    /// The longest run of this frame.
    pub longest_run: Duration,
    /// VMs leased at the same time, at most, in this frame.
    pub leased: usize,
}
