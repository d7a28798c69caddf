//! The table of scripts.

use std::cmp::Ordering;

use bevy_egui::egui::{Response, TextEdit, Ui};

use super::look::{self, Tone};
use super::state::{PanelState, ScriptColumn, Sort};
use super::table::{self, TableColumn};
use super::units;
use crate::snapshot::ScriptRow;

/// Rows in sight at a time.
const MAX_ROWS: usize = 12;

const COLUMNS: [TableColumn<ScriptColumn>; 8] = [
    column(
        ScriptColumn::State,
        "state",
        "Whether the text compiles, and no VM was found changed after it ran. A broken script goes on \
         with its last good version. The file level of one that is “afresh” runs anew for each run, \
         which takes longer.",
        Some(66.0),
        false,
    ),
    column(ScriptColumn::Path, "path", "The asset path.", None, false),
    column(ScriptColumn::Entities, "entities", "Entities that carry it.", Some(54.0), true),
    column(ScriptColumn::Runs, "runs", "Runs of any callback.", Some(54.0), true),
    column(ScriptColumn::Mean, "mean", "The mean time of a run.", Some(54.0), true),
    column(ScriptColumn::P99, "p99", "99 of 100 runs took no longer.", Some(54.0), true),
    column(ScriptColumn::Errors, "errors", "Runs that failed.", Some(50.0), true),
    column(
        ScriptColumn::PutAside,
        "aside",
        "Entities for which it was put aside after too many failures in a row. It is tried again in \
         growing intervals.",
        Some(44.0),
        true,
    ),
];

const fn column(
    key: ScriptColumn,
    title: &'static str,
    hint: &'static str,
    width: Option<f32>,
    numeric: bool,
) -> TableColumn<ScriptColumn> {
    TableColumn { key, title, hint, width, numeric }
}

pub(super) fn show(ui: &mut Ui, scripts: &[ScriptRow], state: &mut PanelState) {
    if scripts.is_empty() {
        ui.label("No entity carries a script yet. Spawn one with the LuaScripts component.");
        return;
    }
    ui.horizontal(|ui| {
        let label = ui.label("Filter");
        let field = TextEdit::singleline(&mut state.filter)
            .hint_text("part of a path")
            .desired_width(200.0);
        ui.add(field).labelled_by(label.id);
    });
    let rows = ordered(scripts, &state.filter, state.scripts);
    let widths = table::widths(ui, &COLUMNS);
    table::headers(ui, &COLUMNS, &widths, &mut state.scripts);
    if rows.is_empty() {
        ui.label(format!("No path contains “{}”.", state.filter.trim()));
        return;
    }
    table::rows(ui, "scripts", rows.len(), MAX_ROWS, |ui, row| {
        for (column, width) in COLUMNS.iter().zip(&widths) {
            cell(ui, rows[row], column.key, *width);
        }
    });
}

/// The rows that the filter lets through, sorted; among equals by path.
fn ordered<'a>(
    scripts: &'a [ScriptRow],
    filter: &str,
    sort: Sort<ScriptColumn>,
) -> Vec<&'a ScriptRow> {
    let needle = filter.trim().to_lowercase();
    let fits = |row: &&ScriptRow| needle.is_empty() || row.path.to_lowercase().contains(&needle);
    let mut rows: Vec<&ScriptRow> = scripts.iter().filter(fits).collect();
    rows.sort_by(|a, b| {
        let ordering = compare(a, b, sort.column);
        let ordering = if sort.descending { ordering.reverse() } else { ordering };
        ordering.then_with(|| a.path.cmp(&b.path))
    });
    rows
}

fn compare(a: &ScriptRow, b: &ScriptRow, column: ScriptColumn) -> Ordering {
    match column {
        ScriptColumn::State => trouble(b).cmp(&trouble(a)),
        ScriptColumn::Path => a.path.cmp(&b.path),
        ScriptColumn::Entities => a.entities.cmp(&b.entities),
        ScriptColumn::Runs => a.runs.cmp(&b.runs),
        ScriptColumn::Mean => a.time.mean.cmp(&b.time.mean),
        ScriptColumn::P99 => a.time.p99.cmp(&b.time.p99),
        ScriptColumn::Errors => a.errors.cmp(&b.errors),
        ScriptColumn::PutAside => a.put_aside.cmp(&b.put_aside),
    }
}

fn cell(ui: &mut Ui, script: &ScriptRow, column: ScriptColumn, width: f32) {
    let timed = script.time.count > 0;
    match column {
        ScriptColumn::State => {
            badge(ui, script, width);
        }
        ScriptColumn::Path => {
            look::path(ui, width, &script.path, Tone::Normal);
        }
        ScriptColumn::Entities => counter(ui, width, script.entities as u64, Tone::Normal),
        ScriptColumn::Runs => counter(ui, width, script.runs, Tone::Normal),
        ScriptColumn::Mean if timed => {
            look::number(ui, width, &units::duration(script.time.mean), Tone::Normal);
        }
        ScriptColumn::P99 if timed => {
            look::number(ui, width, &units::duration(script.time.p99), Tone::Normal);
        }
        ScriptColumn::Mean | ScriptColumn::P99 => {
            look::number(ui, width, units::NONE, Tone::Weak);
        }
        ScriptColumn::Errors => counter(ui, width, script.errors, Tone::Error),
        ScriptColumn::PutAside => aside(ui, script, width),
    }
}

/// How bad its state is: a broken one is the worst.
fn trouble(script: &ScriptRow) -> (bool, u64, bool) {
    (script.broken.is_some(), script.quarantines, script.afresh.is_some())
}

fn badge(ui: &mut Ui, script: &ScriptRow, width: f32) -> Response {
    match (&script.broken, script.quarantines) {
        (Some(why), _) => look::text(ui, width, "⚠ broken", Tone::Error).on_hover_text(&**why),
        (None, 0) => match script.afresh {
            None => look::text(ui, width, "ok", Tone::Ok),
            Some(why) => look::text(ui, width, "afresh", Tone::Weak).on_hover_text(format!(
                "Its file level runs anew for each run, which takes longer: {why}."
            )),
        },
        (None, vms) => look::text(ui, width, "⚠ suspect", Tone::Warning).on_hover_text(format!(
            "VMs that were found changed after it ran on them, and were put into quarantine: {}. \
             See the incidents.",
            units::exact(vms)
        )),
    }
}

/// On how many entities, and when the next of them is tried again.
fn aside(ui: &mut Ui, script: &ScriptRow, width: f32) {
    let count = script.put_aside as u64;
    let tone = Tone::unless_zero(count, Tone::Warning);
    let tried = units::exact(script.retries);
    let next = match script.next_retry {
        _ if count == 0 => return look::count(ui, width, count, tone),
        Some(frames) => format!("the next try comes in {} frames", units::exact(frames)),
        None => "there is no further try".to_owned(),
    };
    look::number(ui, width, &units::count(count), tone).on_hover_text(format!(
        "Tried again {tried} times; {next}. “Wake scripts” or a reload makes it run at once."
    ));
}

/// A number that has a tone if it is not zero.
fn counter(ui: &mut Ui, width: f32, value: u64, tone: Tone) {
    let tone = Tone::unless_zero(value, tone);
    look::count(ui, width, value, tone);
}
