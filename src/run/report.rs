//! What the frame did, gathered for the snapshot.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bevy::asset::AssetLoadFailedEvent;
use bevy::log::{error, warn};
use bevy::prelude::{AssetEvent, Assets, Entity, MessageReader, Res, ResMut, Resource};

use crate::bindings::NamedScripts;
use crate::error::Failure;
use crate::escape::{escaped, log_text};
use crate::pool::{Incident, IncidentKind, TimingHistogram};
use crate::run::figures::Figures;
use crate::run::invocation::Tally;
use crate::run::log::{LineBudget, LogBudget};
use crate::run::messages::Outbox;
use crate::run::program_table::ProgramTable;
use crate::script::LuaScript;
use crate::snapshot::{ERROR_ROWS, ErrorRow, FrameStats, INCIDENT_ROWS, IncidentRow, ScriptRow};
use crate::vm::{Callback, Mutable};

/// Counters and timings since the app started.
#[derive(Resource, Default)]
pub(crate) struct Report {
    /// Of the current frame: of its fixed steps and of its update.
    pub(crate) frame: FrameStats,
    pub(crate) total: FrameStats,
    pub(crate) longest_run: Duration,
    pub(crate) leased: usize,
    pub(crate) run_time: TimingHistogram,
    pub(crate) figures: Figures,
    pub(crate) errors: VecDeque<ErrorRow>,
    pub(crate) incidents: VecDeque<IncidentRow>,
    pub(crate) frames: u64,
    pub(crate) log: LogBudget,
    /// What all scripts together logged themselves.
    pub(crate) lines: LineBudget,
    pub(crate) outbox: Outbox,
    /// That a VM is too small for what a frame needs was logged already.
    pub(crate) told_crowded_out: bool,
}

/// The entities that carry a script.
#[derive(Clone, Copy, Default)]
pub(crate) struct Carried {
    pub(crate) entities: usize,
    /// Those for which it is put aside.
    pub(crate) put_aside: usize,
    /// The frame in which it is tried again on the first of these.
    pub(crate) next_retry: Option<u64>,
    /// Why its file level runs afresh for every run.
    pub(crate) afresh: Option<Mutable>,
}

impl Report {
    /// Counts what a worker counted, by the numbers of the programs' figures, and empties it.
    pub(crate) fn runs(&mut self, figures: &[usize], tally: &mut Tally) {
        for (runs, number) in tally.runs.drain(..).zip(figures) {
            self.frame.runs += runs;
            self.figures.at(*number).runs += runs;
        }
        for (program, time) in tally.times.drain(..) {
            self.figures.at(figures[program as usize]).record(time);
            self.run_time.record(time);
            self.longest_run = self.longest_run.max(time);
        }
    }

    /// Takes back what a worker counted of runs that are to be as if they had not been. All were counted before.
    pub(crate) fn undone(&mut self, figures: &[usize], tally: &mut Tally) {
        for (program, runs) in tally.undone.drain(..) {
            self.frame.runs -= u64::from(runs);
            self.figures.at(figures[program as usize]).runs -= u64::from(runs);
        }
    }

    /// Counts failed runs of an invocation.
    pub(crate) fn failed(&mut self, figures: usize, count: u64) {
        self.frame.failed += count;
        self.figures.at(figures).errors += count;
    }

    /// Counts that a script was tried again after it had been put aside.
    pub(crate) fn retried(&mut self, figures: usize) {
        self.frame.retries += 1;
        self.figures.at(figures).retries += 1;
    }

    /// The numbers of the programs' figures.
    pub(crate) fn numbers_of(&mut self, programs: &ProgramTable) -> Vec<usize> {
        programs.list.iter().map(|carried| self.figures.number(carried.program.name())).collect()
    }

    /// Logs a failure when it is seen first, and counts it after that.
    pub(crate) fn failure(&mut self, entity: Entity, callback: Callback, failure: &Failure) {
        let row = ErrorRow {
            line: failure.line,
            callback: Some(callback.name()),
            entity: Some(entity),
            limit: failure.error.reached_limit(),
            traceback: escaped(&failure.traceback).into(),
            ..self.row(&failure.script, &failure.error.to_string())
        };
        if self.note(row) {
            error!("{failure}\n    in {} of {entity}", callback.name());
        }
    }

    /// As [`Report::failure`], for what the run of a script asked for and was refused when it was applied.
    pub(crate) fn refused(
        &mut self,
        (script, line): (&Arc<str>, Option<u32>),
        entity: Entity,
        message: &str,
    ) {
        let row = ErrorRow { line, entity: Some(entity), ..self.row(script, message) };
        if self.note(row) {
            let place = line.map_or_else(String::new, |line| format!(":{line}"));
            let (script, message) = (escaped(script), log_text(message));
            error!("{script}{place}: {message}\n    asked for by {entity}");
        }
    }

    /// An error that was seen once, with what the place of every error is.
    fn row(&self, script: &Arc<str>, message: &str) -> ErrorRow {
        ErrorRow {
            script: Arc::clone(script),
            line: None,
            callback: None,
            entity: None,
            message: escaped(message).into(),
            limit: None,
            traceback: "".into(),
            count: 1,
            last_frame: self.frames,
        }
    }

    /// Adds an error to the list; gives whether it is a new one that is to be logged.
    fn note(&mut self, mut row: ErrorRow) -> bool {
        let same = |known: &ErrorRow| known.is_same(&row);
        let known = self.errors.iter().position(same).and_then(|index| self.errors.remove(index));
        let new = known.is_none();
        row.count += known.map_or(0, |known| known.count);
        self.errors.push_front(row);
        self.errors.truncate(ERROR_ROWS);
        new && self.log.take()
    }

    /// Logs an incident of the pool when it is seen first, and counts it after that.
    pub(crate) fn incident(&mut self, incident: Incident) {
        if let (IncidentKind::ValidationFailed, Some(program)) = (incident.kind, &incident.program)
        {
            self.figures.of(program).quarantines += 1;
        }
        let same = |known: &IncidentRow| {
            let Incident { kind, vm: _, program, message } = &known.incident;
            (*kind, program, message) == (incident.kind, &incident.program, &incident.message)
        };
        let known = self.incidents.iter().position(same);
        let known = known.and_then(|index| self.incidents.remove(index));
        if known.is_none() && self.log.take() {
            warn!("the script pool: {}", log_text(&incident.to_string()));
        }
        let count = known.map_or(0, |known| known.count) + 1;
        self.incidents.push_front(IncidentRow { incident, count, last_frame: self.frames });
        self.incidents.truncate(INCIDENT_ROWS);
    }

    /// Logs that a script is put aside: once for each script, since often many entities carry it.
    pub(crate) fn put_aside(
        &mut self,
        script: &Arc<str>,
        entity: Entity,
        (failures, only_messages): (u32, bool),
        interval: Option<u64>,
    ) {
        let figures = self.figures.of(script);
        if !std::mem::replace(&mut figures.told_put_aside, true) && self.log.take() {
            let next = match interval {
                Some(frames) => {
                    format!("is tried again after {frames} frames, then ever more rarely")
                }
                None => "is not tried again".to_owned(),
            };
            let of_messages = if only_messages { "the `on_message` of " } else { "" };
            warn!(
                "{of_messages}{script} failed {failures} times in a row on {entity}, is put aside there and {next}; \
                 reload the script or call `ScriptStates::wake` (this is told once for each script)"
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
        self.figures.end_of_frame();
        self.log.end_of_frame();
        let total = &mut self.total;
        for (total, count) in [
            (&mut total.runs, frame.runs),
            (&mut total.failed, frame.failed),
            (&mut total.deferred, frame.deferred),
            (&mut total.retries, frame.retries),
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

    pub(crate) fn script_rows(&self, carried: &HashMap<Arc<str>, Carried>) -> Vec<ScriptRow> {
        self.figures
            .iter()
            .filter(|(path, script)| carried.contains_key(*path) || script.broken.is_some())
            .map(|(path, script)| {
                let Carried { entities, put_aside, next_retry, afresh } =
                    carried.get(path).copied().unwrap_or_default();
                ScriptRow {
                    path: path.clone(),
                    entities,
                    runs: script.runs,
                    errors: script.errors,
                    time: script.timing(),
                    put_aside,
                    quarantines: script.quarantines,
                    retries: script.retries,
                    next_retry: next_retry.map(|frame| frame.saturating_sub(self.frames)),
                    afresh,
                    broken: script.broken.clone(),
                }
            })
            .collect()
    }
}

/// Shows scripts that don't load, and takes that back when they do.
pub(crate) fn report_load_failures(
    mut failed: MessageReader<AssetLoadFailedEvent<LuaScript>>,
    mut loaded: MessageReader<AssetEvent<LuaScript>>,
    scripts: Res<Assets<LuaScript>>,
    mut report: ResMut<Report>,
    mut named: ResMut<NamedScripts>,
) {
    named.tidy(report.frames, &scripts);
    for event in loaded.read() {
        if let AssetEvent::Added { id } | AssetEvent::Modified { id } = event
            && let Some(script) = scripts.get(*id)
        {
            let name = script.program().name().clone();
            named.loaded(&name);
            let figures = report.figures.of(&name);
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
        let told = format!("{}{place}: {}", log_text(&script), escaped(&message));
        report.figures.of(&script).broken = Some(told.into());
        let row = ErrorRow { line, ..report.row(&script, &message) };
        if report.note(row) {
            error!("{}{place}: {}", log_text(&script), log_text(&message));
        }
    }
}
