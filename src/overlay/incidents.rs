//! The list of incidents inside the pool.

use bevy_egui::egui::{Label, RichText, Ui};

use super::look::Tone;
use super::units;
use crate::pool::IncidentKind;
use crate::snapshot::IncidentRow;

pub(super) fn show(ui: &mut Ui, incidents: &[IncidentRow]) {
    if incidents.is_empty() {
        ui.label("Nothing went wrong inside the pool.");
        return;
    }
    ui.label("The most recent first. All of a text is shown on hover.");
    ui.spacing_mut().item_spacing.y = 2.0;
    for row in incidents {
        let text = format!("{}× {}", units::count(row.count), row.incident);
        let tone = match row.incident.kind {
            IncidentKind::LeaseOverdue => Tone::Warning,
            _ => Tone::Error,
        };
        let color = tone.color(ui.visuals());
        let hint = format!("{}\n(last in frame {})", row.incident, row.last_frame);
        ui.add(Label::new(RichText::new(text).color(color)).truncate()).on_hover_text(hint);
    }
}
