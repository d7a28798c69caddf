//! The counters of the pool and of frames.

use std::fmt::Write as _;

use bevy_egui::egui::{
    Align2, FontId, Grid, Rect, Response, Sense, StrokeKind, Ui, WidgetInfo, WidgetType, vec2,
};

use super::look::{self, GAP, ROW, Tone};
use super::units;
use crate::pool::{DestroyReason, PoolStats};
use crate::snapshot::FrameStats;

/// Gauges per row.
const PER_ROW: usize = 6;

pub(super) fn pool(ui: &mut Ui, stats: &PoolStats) {
    let warn = |value| Tone::unless_zero(value, Tone::Warning);
    let fail = |value| Tone::unless_zero(value, Tone::Error);
    let (leased, idle, waiting) = (stats.leased as u64, stats.idle as u64, stats.waiting as u64);
    let width = (ui.available_width() - GAP * (PER_ROW - 1) as f32) / PER_ROW as f32;
    let width = width.floor().max(60.0);
    let plain = Tone::Normal;
    ui.horizontal(|ui| {
        gauge(ui, width, "created", stats.created, plain, "VMs made.");
        gauge(ui, width, "destroyed", stats.destroyed, plain, &why_destroyed(stats));
        gauge(ui, width, "leased", leased, plain, "VMs at work.");
        gauge(ui, width, "idle", idle, plain, "VMs ready to be leased.");
        gauge(ui, width, "waiting", waiting, warn(waiting), "Threads that wait for a VM.");
        gauge(ui, width, "acquired", stats.acquired, plain, "Leases given out.");
    });
    ui.horizontal(|ui| {
        gauge(ui, width, "resets", stats.resets, plain, "VMs wiped clean.");
        let (value, hint) = (stats.timeouts, "Leases that were not to be had in time.");
        gauge(ui, width, "timeouts", value, warn(value), hint);
        let (value, hint) = (stats.create_errors, "VMs that could not be made.");
        gauge(ui, width, "create errors", value, fail(value), hint);
        let (value, hint) = (stats.reset_errors, "VMs that could not be wiped clean.");
        gauge(ui, width, "reset errors", value, fail(value), hint);
        let (value, hint) = (stats.quarantines, "VMs taken out of use because they misbehaved.");
        gauge(ui, width, "quarantined", value, warn(value), hint);
        let (value, hint) = (stats.overdue, "Leases that lasted longer than they should.");
        gauge(ui, width, "overdue", value, warn(value), hint);
    });
    ui.horizontal(|ui| {
        gauge(ui, width, "building", stats.building as u64, plain, "VMs being made.");
        let (value, hint) = (stats.create_timeouts, "VMs that were not made in time.");
        gauge(ui, width, "create timeouts", value, fail(value), hint);
        let (value, hint) = (stats.reset_timeouts, "VMs that were not wiped clean in time.");
        gauge(ui, width, "reset timeouts", value, fail(value), hint);
        let (value, hint) = (stats.hung_builds as u64, "VMs whose making hangs.");
        gauge(ui, width, "hung", value, fail(value), hint);
        let (value, hint) = (stats.quarantined as u64, "VMs out of use, not destroyed yet.");
        gauge(ui, width, "in quarantine", value, warn(value), hint);
        let (value, hint) = (u64::from(stats.suspended), "Whether the pool gives no leases.");
        gauge(ui, width, "suspended", value, warn(value), hint);
    });
    occupancy(ui, stats);
}

fn why_destroyed(stats: &PoolStats) -> String {
    let mut text = "VMs thrown away:".to_owned();
    for reason in DestroyReason::ALL {
        let count = stats.destroyed_by(reason);
        if count > 0 {
            let _ = write!(text, "\n{} × {}", units::exact(count), reason.name());
        }
    }
    text
}

fn gauge(ui: &mut Ui, width: f32, name: &str, value: u64, tone: Tone, hint: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(width, 32.0), Sense::hover());
    let text = units::count(value);
    response
        .widget_info(|| WidgetInfo::labeled(WidgetType::Label, true, format!("{name}: {text}")));
    let weak = Tone::Weak.color(ui.visuals());
    let color = tone.color(ui.visuals());
    look::draw(ui, rect, name, look::caption(), weak, Align2::RIGHT_TOP);
    look::draw(ui, rect, &text, FontId::monospace(14.0), color, Align2::RIGHT_BOTTOM);
    response.on_hover_text(format!("{hint}\n{}", units::exact(value)))
}

/// A bar whose length is the maximum size of the pool, filled by the existing VMs.
fn occupancy(ui: &mut Ui, stats: &PoolStats) {
    const TEXT_WIDTH: f32 = 200.0;
    let &PoolStats { leased, idle, min_size, max_size, .. } = stats;
    ui.horizontal(|ui| {
        let width = (ui.available_width() - TEXT_WIDTH - GAP).max(40.0);
        let (rect, _) = ui.allocate_exact_size(vec2(width, ROW), Sense::hover());
        let bar = rect.shrink2(vec2(0.0, 4.0));
        let part = |count: usize| {
            let whole = max_size.max(leased + idle).max(1);
            bar.width() * (count as f32 / whole as f32)
        };
        let visuals = ui.visuals();
        let full = Tone::Normal.color(visuals);
        let half = full.gamma_multiply(0.35);
        let edge = visuals.widgets.noninteractive.bg_stroke;
        let busy = Rect::from_min_size(bar.min, vec2(part(leased), bar.height()));
        let ready = Rect::from_min_size(busy.right_top(), vec2(part(idle), bar.height()));
        ui.painter().rect_filled(busy, 0.0, full);
        ui.painter().rect_filled(ready, 0.0, half);
        ui.painter().rect_stroke(bar, 0.0, edge, StrokeKind::Inside);
        let text = format!("{leased} leased + {idle} idle of {max_size}");
        look::number(ui, TEXT_WIDTH, &text, Tone::Normal);
    })
    .response
    .on_hover_text(format!(
        "Bright: VMs at work. Dim: VMs ready. Empty: room for more.\n\
         The pool keeps {min_size} VMs at least, {max_size} at most."
    ));
}

/// The figures of the last frame beside those of all frames.
pub(super) fn frames(ui: &mut Ui, last: &FrameStats, total: &FrameStats) {
    const NAME: f32 = 120.0;
    const VALUE: f32 = 90.0;
    let rows: [(&str, u64, u64, Tone); 11] = [
        ("runs", last.runs, total.runs, Tone::Normal),
        ("failed", last.failed, total.failed, Tone::Error),
        ("deferred", last.deferred, total.deferred, Tone::Warning),
        ("tried again", last.retries, total.retries, Tone::Normal),
        ("writes", last.writes, total.writes, Tone::Normal),
        ("conflicts", last.conflicts, total.conflicts, Tone::Warning),
        ("messages", last.messages, total.messages, Tone::Normal),
        ("undelivered", last.undelivered, total.undelivered, Tone::Warning),
        ("spawned", last.spawned, total.spawned, Tone::Normal),
        ("despawned", last.despawned, total.despawned, Tone::Normal),
        ("log lines", last.log_lines, total.log_lines, Tone::Normal),
    ];
    Grid::new("frames")
        .striped(true)
        .min_col_width(0.0)
        .min_row_height(ROW)
        .spacing([GAP, 2.0])
        .show(ui, |ui| {
            look::text(ui, NAME, "", Tone::Weak);
            look::title(ui, VALUE, "last frame");
            look::title(ui, VALUE, "all frames");
            ui.end_row();
            for (name, last, total, bad) in rows {
                look::text(ui, NAME, name, Tone::Normal);
                for value in [last, total] {
                    let tone = Tone::unless_zero(value, bad);
                    look::count(ui, VALUE, value, tone);
                }
                ui.end_row();
            }
            look::text(ui, NAME, "time", Tone::Normal);
            for frames in [last, total] {
                look::number(ui, VALUE, &units::duration(frames.time), Tone::Normal);
            }
            ui.end_row();
        });
}
