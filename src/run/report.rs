//! What the frame did, gathered for the snapshot.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bevy::asset::AssetLoadFailedEvent;
use bevy::log::{error, warn};
use bevy::prelude::{AssetEvent, Assets, Entity, MessageReader, Res, ResMut, Resource};

use super::frame::Programs;
use crate::error::{Failure, ScriptError};
use crate::pool::TimingHistogram;
use crate::script::LuaScript;
use crate::snapshot::{ERROR_ROWS, ErrorRow, FrameStats, ScriptRow};
use crate::vm::Callback;

/// Counters and timings since the app started.
#[derive(Resource, Default)]
pub(crate) struct Report {
    /// Of the current frame: of its fixed steps and of its update.
    pub(crate) frame: FrameStats,
    pub(crate) total: FrameStats,
    pub(crate) longest_run: Duration,
    pub(crate) leased: usize,
    pub(crate) run_time: TimingHistogram,
    /// By path.
    pub(crate) scripts: BTreeMap<Arc<str>, usize>,
    pub(crate) figures: Vec<ScriptFigures>,
    pub(crate) errors: VecDeque<ErrorRow>,
    pub(crate) frames: u64,
}

#[derive(Default)]
pub(crate) struct ScriptFigures {
    pub(crate) runs: u64,
    pub(crate) errors: u64,
    pub(crate) time: TimingHistogram,
    pub(crate) broken: Option<Arc<str>>,
    /// That it was put aside somewhere was logged already.
    pub(crate) told_put_aside: bool,
}

impl Report {
    /// Counts the runs of a unit, by the number of its script's figures.
    pub(crate) fn runs(&mut self, figures: usize, times: &[u32]) {
        self.frame.runs += times.len() as u64;
        let script = &mut self.figures[figures];
        script.runs += times.len() as u64;
        for nanos in times {
            let time = Duration::from_nanos((*nanos).into());
            script.time.record(time);
            self.run_time.record(time);
            self.longest_run = self.longest_run.max(time);
        }
    }

    /// Counts failed runs of a unit.
    pub(crate) fn failed(&mut self, figures: usize, count: u64) {
        self.frame.failed += count;
        self.figures[figures].errors += count;
    }

    /// The numbers of the programs' figures.
    pub(crate) fn numbers_of(&mut self, programs: &Programs) -> Vec<usize> {
        programs.list.iter().map(|carried| self.number_of(carried.program.name())).collect()
    }

    fn number_of(&mut self, script: &Arc<str>) -> usize {
        if let Some(number) = self.scripts.get(script) {
            return *number;
        }
        self.scripts.insert(script.clone(), self.figures.len());
        self.figures.push(ScriptFigures::default());
        self.figures.len() - 1
    }

    fn figures_of(&mut self, script: &Arc<str>) -> &mut ScriptFigures {
        let number = self.number_of(script);
        &mut self.figures[number]
    }

    /// Logs a failure when it is seen first, and counts it after that.
    pub(crate) fn failure(&mut self, entity: Entity, callback: Callback, failure: &Failure) {
        let row = ErrorRow {
            script: failure.script.clone(),
            line: failure.line,
            callback: Some(callback.name()),
            entity: Some(entity),
            message: failure.error.to_string().into(),
            traceback: failure.traceback.as_str().into(),
            count: 1,
            last_frame: self.frames,
        };
        // Where a limit is met is an accident.
        let anywhere =
            matches!(failure.error, ScriptError::TimedOut { .. } | ScriptError::OutOfMemory { .. });
        if self.note(row, anywhere) {
            error!("{failure}\n    in {} of {entity}", callback.name());
        }
    }

    /// Adds an error to the list; gives whether it is a new one. Errors that happen `anywhere` are the
    /// same whatever their lines.
    fn note(&mut self, mut row: ErrorRow, anywhere: bool) -> bool {
        let same = |known: &ErrorRow| {
            (anywhere || known.line == row.line)
                && (&known.script, known.callback, &known.message)
                    == (&row.script, row.callback, &row.message)
        };
        let known = self.errors.iter().position(same).and_then(|index| self.errors.remove(index));
        let new = known.is_none();
        row.count += known.map_or(0, |known| known.count);
        self.errors.push_front(row);
        self.errors.truncate(ERROR_ROWS);
        new
    }

    /// Logs that a script is put aside: once for each script, since often many entities carry it.
    pub(crate) fn put_aside(&mut self, script: &Arc<str>, entity: Entity, failures: u32) {
        let figures = self.figures_of(script);
        if !std::mem::replace(&mut figures.told_put_aside, true) {
            warn!(
                "{script} failed {failures} times in a row on {entity} and is put aside there; reload \
                 the script or call `ScriptStates::wake` (this is told once for each script)"
            );
        }
    }

    pub(crate) fn end_of_stage(&mut self, took: Duration, leased: usize) {
        self.frame.time += took;
        self.leased = self.leased.max(leased);
    }

    /// Adds the frame to the totals and begins another; gives the one that ended.
    pub(crate) fn end_of_frame(&mut self) -> FrameStats {
        let frame = std::mem::take(&mut self.frame);
        self.frames += 1;
        let total = &mut self.total;
        for (total, count) in [
            (&mut total.runs, frame.runs),
            (&mut total.failed, frame.failed),
            (&mut total.deferred, frame.deferred),
            (&mut total.writes, frame.writes),
            (&mut total.conflicts, frame.conflicts),
            (&mut total.messages, frame.messages),
            (&mut total.undelivered, frame.undelivered),
            (&mut total.spawned, frame.spawned),
            (&mut total.despawned, frame.despawned),
            (&mut total.log_lines, frame.log_lines),
        ] {
            *total += count;
        }
        total.time += frame.time;
        frame
    }

    pub(crate) fn script_rows(
        &self,
        carried: &HashMap<Arc<str>, (usize, usize)>,
    ) -> Vec<ScriptRow> {
        self.scripts
            .iter()
            .map(|(path, number)| (path, &self.figures[*number]))
            .filter(|(path, script)| carried.contains_key(*path) || script.broken.is_some())
            .map(|(path, script)| {
                let (entities, put_aside) = carried.get(path).copied().unwrap_or_default();
                ScriptRow {
                    path: path.clone(),
                    entities,
                    runs: script.runs,
                    errors: script.errors,
                    time: script.time.timing(),
                    put_aside,
                    broken: script.broken.clone(),
                }
            })
            .collect()
    }
}

/// Scripts that didn't load are remembered as long as there are fewer scripts than that.
const MAX_BROKEN: usize = 4096;

/// Shows scripts that don't load, and takes that back when they do.
pub(crate) fn report_load_failures(
    mut failed: MessageReader<AssetLoadFailedEvent<LuaScript>>,
    mut loaded: MessageReader<AssetEvent<LuaScript>>,
    scripts: Res<Assets<LuaScript>>,
    mut report: ResMut<Report>,
) {
    for event in loaded.read() {
        if let AssetEvent::Added { id } | AssetEvent::Modified { id } = event
            && let Some(script) = scripts.get(*id)
        {
            let name = script.program().name().clone();
            let figures = report.figures_of(&name);
            figures.broken = None;
            figures.told_put_aside = false;
        }
    }
    for event in failed.read() {
        let script: Arc<str> = event.path.to_string().into();
        let (line, message) = match &event.error {
            bevy::asset::AssetLoadError::AssetLoaderError(error) => {
                match error.error().downcast_ref::<Failure>() {
                    Some(failure) => (failure.line, failure.error.to_string()),
                    None => (None, error.to_string()),
                }
            }
            other => (None, other.to_string()),
        };
        let place = line.map_or_else(String::new, |line| format!(":{line}"));
        let message: Arc<str> = message.into();
        // Scripts can ask for scripts that there are not, under ever new names.
        if report.scripts.contains_key(&script) || report.scripts.len() < MAX_BROKEN {
            report.figures_of(&script).broken = Some(format!("{script}{place}: {message}").into());
        }
        let last_frame = report.frames;
        let row = ErrorRow {
            script: script.clone(),
            line,
            callback: None,
            entity: None,
            message: message.clone(),
            traceback: "".into(),
            count: 1,
            last_frame,
        };
        if report.note(row, false) {
            error!(%script, "{script}{place}: {message}");
        }
    }
}
