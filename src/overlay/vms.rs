//! The table of VMs.

use std::cmp::Ordering;

use bevy_egui::egui::Ui;

use super::look::{self, Tone};
use super::state::{Sort, VmColumn};
use super::table::{self, TableColumn};
use super::units;
use crate::pool::VmInfo;

/// Rows in sight at a time.
const MAX_ROWS: usize = 8;

const COLUMNS: [TableColumn<VmColumn>; 6] = [
    column(VmColumn::Id, "id", "The VM's number.", Some(44.0), true),
    column(
        VmColumn::State,
        "state",
        "Leased (at work), idle (ready), overdue (leased for too long), or in quarantine.",
        Some(72.0),
        false,
    ),
    column(VmColumn::Age, "age", "Time since it was made.", Some(62.0), true),
    column(VmColumn::Uses, "uses", "How often it was leased.", Some(58.0), true),
    column(VmColumn::Memory, "memory", "The memory it holds.", Some(64.0), true),
    column(VmColumn::LastScript, "last script", "The script that it ran last.", None, false),
];

const fn column(
    key: VmColumn,
    title: &'static str,
    hint: &'static str,
    width: Option<f32>,
    numeric: bool,
) -> TableColumn<VmColumn> {
    TableColumn { key, title, hint, width, numeric }
}

pub(super) fn show(ui: &mut Ui, vms: &[VmInfo], sort: &mut Sort<VmColumn>) {
    if vms.is_empty() {
        ui.label("There is no VM yet. The first run makes one.");
        return;
    }
    let widths = table::widths(ui, &COLUMNS);
    table::headers(ui, &COLUMNS, &widths, sort);
    let mut order: Vec<&VmInfo> = vms.iter().collect();
    order.sort_by(|a, b| {
        let ordering = compare(a, b, sort.column);
        let ordering = if sort.descending { ordering.reverse() } else { ordering };
        ordering.then(a.id.cmp(&b.id))
    });
    table::rows(ui, "vms", order.len(), MAX_ROWS, |ui, row| {
        for (column, width) in COLUMNS.iter().zip(&widths) {
            cell(ui, order[row], column.key, *width);
        }
    });
}

fn cell(ui: &mut Ui, vm: &VmInfo, column: VmColumn, width: f32) {
    match column {
        VmColumn::Id => look::number(ui, width, &vm.id.to_string(), Tone::Normal),
        VmColumn::State => {
            let (text, tone) = state(vm);
            look::text(ui, width, text, tone).on_hover_text(since(vm))
        }
        VmColumn::Age => look::number(ui, width, &units::age(vm.age), Tone::Normal),
        VmColumn::Uses => look::number(ui, width, &units::count(vm.uses), Tone::Normal)
            .on_hover_text(units::exact(vm.uses)),
        VmColumn::Memory => look::number(ui, width, &units::bytes(vm.memory_bytes), Tone::Normal),
        VmColumn::LastScript => match &vm.last_program {
            Some(program) => look::path(ui, width, program, Tone::Normal),
            None => look::text(ui, width, "none yet", Tone::Weak),
        },
    };
}

/// Since when it is in its state, and where its lease was taken.
fn since(vm: &VmInfo) -> String {
    let (state, time) = (state(vm).0, units::duration(vm.since));
    match vm.leased_at {
        Some(place) => format!("{state} for {time}\nleased at {place}"),
        None => format!("{state} for {time}"),
    }
}

fn state(vm: &VmInfo) -> (&'static str, Tone) {
    if vm.overdue {
        ("overdue", Tone::Warning)
    } else if vm.quarantined {
        ("quarantined", Tone::Warning)
    } else if vm.leased {
        ("leased", Tone::Normal)
    } else {
        ("idle", Tone::Weak)
    }
}

fn compare(a: &VmInfo, b: &VmInfo, column: VmColumn) -> Ordering {
    match column {
        VmColumn::Id => a.id.cmp(&b.id),
        VmColumn::State => state(a).0.cmp(state(b).0),
        VmColumn::Age => a.age.cmp(&b.age),
        VmColumn::Uses => a.uses.cmp(&b.uses),
        VmColumn::Memory => a.memory_bytes.cmp(&b.memory_bytes),
        VmColumn::LastScript => a.last_program.cmp(&b.last_program),
    }
}
