//! [`Report`]: counts, timings and errors, gathered for the snapshot and the log.

pub(super) mod figures;
mod log_budget;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bevy::log::{error, warn};
use bevy::prelude::{Entity, Resource};

use crate::error::Failure;
use crate::escape::{escaped, log_text};
use crate::pool::{Incident, IncidentKind, TimingHistogram};
use crate::run::messages::Outbox;
use crate::run::program_table::ProgramTable;
use crate::run::report::figures::Figures;
use crate::run::report::log_budget::{LogLineBudget, WarningBudget};
use crate::run::worker_tally::WorkerTally;
use crate::snapshot::{ERROR_ROWS, ErrorRow, FrameStats, INCIDENT_ROWS, IncidentRow};
use crate::vm::Callback;

pub(super) use self::log_budget::LogLineRate;

/// Counts, timings and errors since the app started.
#[derive(Resource, Default)]
pub(crate) struct Report {
    /// Of the current frame: of its fixed steps and of its update.
    pub(crate) frame: FrameStats,
    /// Of all frames before it.
    pub(crate) total: FrameStats,
    /// The longest run of the frame.
    pub(crate) longest_run: Duration,
    /// The most VMs that were leased at a time in the frame.
    pub(crate) leased: usize,
    pub(crate) run_time: TimingHistogram,
    pub(crate) figures: Figures,
    /// The latest first.
    pub(crate) errors: VecDeque<ErrorRow>,
    /// The latest first.
    pub(crate) incidents: VecDeque<IncidentRow>,
    /// How many frames there were.
    pub(crate) frames: u64,
    /// How many errors and warnings may be logged.
    pub(crate) warnings: WarningBudget,
    /// How much all scripts together may log.
    pub(crate) log_lines: LogLineBudget,
    pub(crate) outbox: Outbox,
    /// It was logged that a VM is too small for what a frame needs.
    pub(crate) logged_crowded_out: bool,
}

impl Report {
    /// Adds what the workers counted, and empties it. `figures` are the numbers of the programs' figures.
    pub(crate) fn count_runs(&mut self, figures: &[usize], tallies: &mut [WorkerTally]) {
        for tally in &mut *tallies {
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
        // One worker may have taken back what another one counted.
        for (program, runs) in tallies.iter_mut().flat_map(|tally| tally.undone.drain(..)) {
            self.frame.runs -= u64::from(runs);
            self.figures.at(figures[program as usize]).runs -= u64::from(runs);
        }
    }

    /// Counts failed runs of a script, whose figures have this number.
    pub(crate) fn count_failures(&mut self, figures: usize, count: u64) {
        self.frame.failed += count;
        self.figures.at(figures).errors += count;
    }

    /// Counts that a script was tried again after it had been put aside.
    pub(crate) fn count_retry(&mut self, figures: usize) {
        self.frame.retries += 1;
        self.figures.at(figures).retries += 1;
    }

    /// The numbers of the programs' figures, by the numbers of the programs.
    pub(crate) fn figure_numbers(&mut self, programs: &ProgramTable) -> Vec<usize> {
        programs.list.iter().map(|carried| self.figures.number(carried.program.name())).collect()
    }

    /// Adds a failed run to the errors. Logs it if it is a new one.
    pub(crate) fn log_failure(&mut self, entity: Entity, callback: Callback, failure: &Failure) {
        let row = ErrorRow {
            line: failure.line,
            callback: Some(callback.name()),
            entity: Some(entity),
            limit: failure.error.reached_limit(),
            traceback: escaped(&failure.traceback).into(),
            ..self.row(&failure.script, &failure.error.to_string())
        };
        if self.add_error(row) {
            error!("{failure}\n    in {} of {entity}", callback.name());
        }
    }

    /// Adds something to the errors that a run asked for and that was refused when its outcome was applied. Logs it if
    /// it is a new one.
    pub(crate) fn log_refusal(
        &mut self,
        (script, line): (&Arc<str>, Option<u32>),
        entity: Entity,
        message: &str,
    ) {
        let row = ErrorRow { line, entity: Some(entity), ..self.row(script, message) };
        if self.add_error(row) {
            let place = line.map_or_else(String::new, |line| format!(":{line}"));
            let (script, message) = (escaped(script), log_text(message));
            error!("{script}{place}: {message}\n    asked for by {entity}");
        }
    }

    /// Adds a script that doesn't load to the errors. Logs it if it is a new one.
    pub(crate) fn log_load_failure(&mut self, script: &Arc<str>, line: Option<u32>, message: &str) {
        let place = line.map_or_else(String::new, |line| format!(":{line}"));
        let broken = format!("{}{place}: {}", log_text(script), escaped(message));
        self.figures.of(script).broken = Some(broken.into());
        let row = ErrorRow { line, ..self.row(script, message) };
        if self.add_error(row) {
            error!("{}{place}: {}", log_text(script), log_text(message));
        }
    }

    /// An error that was seen once.
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

    /// Adds an error, or counts it if it is known; gives whether it is to be logged.
    fn add_error(&mut self, mut row: ErrorRow) -> bool {
        let same = |known: &ErrorRow| known.is_same(&row);
        let known = self.errors.iter().position(same).and_then(|index| self.errors.remove(index));
        let new = known.is_none();
        row.count += known.map_or(0, |known| known.count);
        self.errors.push_front(row);
        self.errors.truncate(ERROR_ROWS);
        new && self.warnings.take()
    }

    /// Adds an incident of the pool, or counts it if it is known. Logs it if it is a new one.
    pub(crate) fn log_incident(&mut self, incident: Incident) {
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
        if known.is_none() && self.warnings.take() {
            warn!("the script pool: {}", log_text(&incident.to_string()));
        }
        let count = known.map_or(0, |known| known.count) + 1;
        self.incidents.push_front(IncidentRow { incident, count, last_frame: self.frames });
        self.incidents.truncate(INCIDENT_ROWS);
    }

    /// Logs that a script is put aside, once for each script: many entities may carry it. It is tried again after
    /// `interval` frames.
    pub(crate) fn log_put_aside(
        &mut self,
        script: &Arc<str>,
        entity: Entity,
        (failures, only_messages): (u32, bool),
        interval: Option<u64>,
    ) {
        let figures = self.figures.of(script);
        if !std::mem::replace(&mut figures.logged_put_aside, true) && self.warnings.take() {
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

    /// Adds the frame to the totals, and begins the next one. Gives the one that ended.
    pub(crate) fn end_of_frame(&mut self) -> FrameStats {
        let frame = std::mem::take(&mut self.frame);
        self.frames += 1;
        self.figures.end_of_frame();
        self.warnings.end_of_frame();
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
}
