//! Writes what scripts logged into the app's log.

use std::sync::Arc;

use bevy::log::{error, info, tracing, warn};
use bevy::prelude::Entity;

use crate::escape::{escaped, log_text};
use crate::run::apply::stage::ApplyingStage;
use crate::run::program_table::CarriedProgram;
use crate::run::report::LogLineRate;
use crate::vm::{LogLevel, LogLine};

/// Stray globals that are named each time that some were found in a script.
const MAX_STRAYS: usize = 8;

impl ApplyingStage<'_> {
    /// Writes what the file levels of programs logged when they were first loaded.
    pub(super) fn log_file_levels(&mut self) {
        for number in 0..self.programs.list.len() {
            let lines = self.programs.list[number].program.take_file_lines();
            if !lines.is_empty() {
                self.log(number, None, &lines);
            }
        }
    }

    /// Writes the lines that the program of this number logged, within the limits of the log. A file level has no
    /// entity.
    pub(super) fn log(&mut self, program: usize, entity: Option<Entity>, lines: &[LogLine]) {
        let frame = self.frame;
        let script = self.programs.list[program].program.name();
        let report = &mut *self.report;
        report.frame.log_lines += lines.len() as u64;
        let of_script = &mut report.figures.at(self.figures[program]).log_lines;
        for line in lines {
            let text = log_text(&line.text);
            if of_script.take(&LogLineRate::OF_A_SCRIPT, frame, text.len())
                && report.log_lines.take(&LogLineRate::OF_ALL, frame, text.len())
            {
                write_line(entity, script, line, &text);
            }
        }
        if let Some(count) = of_script.take_left_out(frame)
            && report.warnings.take()
        {
            warn!(%script, "{script}: it logs too much: {count} lines are left out");
        }
    }

    /// Warns if lines were left out because all scripts together log too much.
    pub(super) fn warn_of_lines_left_out(&mut self) {
        if let Some(count) = self.report.log_lines.take_left_out(self.frame)
            && self.report.warnings.take()
        {
            warn!("scripts log too much together: {count} lines are left out");
        }
    }

    /// Warns of globals that callbacks assign.
    pub(super) fn warn_of_stray_globals(&mut self) {
        for CarriedProgram { program, .. } in &self.programs.list {
            let (script, strays) = (program.name(), program.take_strays());
            for (callback, global) in strays.iter().take(MAX_STRAYS) {
                if self.report.warnings.take() {
                    let (callback, global) = (callback.name(), escaped(global));
                    warn!(
                        %script,
                        "{script}: {callback} assigns the global `{global}`, which is gone after the run; \
                         make it `local`, or keep it as `self.{global}`",
                    );
                }
            }
            let more = strays.len().saturating_sub(MAX_STRAYS);
            if more > 0 && self.report.warnings.take() {
                warn!(%script, "{script}: its callbacks assign {more} more globals, or many more");
            }
        }
    }
}

fn write_line(entity: Option<Entity>, script: &Arc<str>, line: &LogLine, text: &str) {
    let (entity, at) = (entity.map(tracing::field::display), line.line.unwrap_or(0));
    match line.level {
        LogLevel::Info => info!(%script, line = at, entity, "{text}"),
        LogLevel::Warn => warn!(%script, line = at, entity, "{text}"),
        LogLevel::Error => error!(%script, line = at, entity, "{text}"),
    }
}
