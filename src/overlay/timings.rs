//! The table of timings.

use bevy_egui::egui::{Grid, Ui};

use super::look::{self, GAP, ROW, Tone};
use super::units;
use crate::pool::Timing;
use crate::snapshot::LuaSnapshot;

pub(super) fn show(ui: &mut Ui, snapshot: &LuaSnapshot) {
    const NAME: f32 = 50.0;
    const VALUE: f32 = 56.0;
    let pool = &snapshot.pool;
    let rows: [(&str, &Timing, &str); 5] = [
        ("run", &snapshot.run_time, "One callback of one script for one entity."),
        ("wait", &pool.wait, "The wait for a VM."),
        ("reset", &pool.reset, "Wiping a VM clean."),
        ("create", &pool.create, "Making a VM."),
        ("lease", &pool.use_time, "From taking a VM to giving it back."),
    ];
    Grid::new("timings")
        .striped(true)
        .min_col_width(0.0)
        .min_row_height(ROW)
        .spacing([GAP, 2.0])
        .show(ui, |ui| {
            look::text(ui, NAME, "", Tone::Weak);
            for title in ["count", "last", "mean", "p50", "p90", "p99", "max"] {
                look::title(ui, VALUE, title);
            }
            ui.end_row();
            for (name, timing, hint) in rows {
                look::text(ui, NAME, name, Tone::Normal).on_hover_text(hint);
                look::count(ui, VALUE, timing.count, Tone::Normal);
                for value in
                    [timing.last, timing.mean, timing.p50, timing.p90, timing.p99, timing.max]
                {
                    if timing.count == 0 {
                        look::number(ui, VALUE, units::NONE, Tone::Weak);
                    } else {
                        look::number(ui, VALUE, &units::duration(value), Tone::Normal);
                    }
                }
                ui.end_row();
            }
        });
}
