//! The whole panel.

use bevy_egui::egui::{Align, CollapsingHeader, RichText, ScrollArea, Ui, vec2};

use super::look::GAP;
use super::state::{PanelState, Section};
use super::table::SCROLL_BAR;
use super::{errors, gauges, header, incidents, plots, scripts, timings, vms};
use crate::control::LuaControl;
use crate::snapshot::LuaSnapshot;

/// Draws the panel into any egui area and returns the requests of its buttons.
///
/// The drawing depends on the arguments alone. Write the returned requests as messages, as the
/// [`LuaOverlayPlugin`](super::LuaOverlayPlugin) does. The panel needs a width of about 500 points; it fills the available
/// height and scrolls.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_egui::egui;
/// # use bevy_lua_pool::{LuaControl, LuaSnapshot, PanelState, show_panel};
/// fn my_tools(
///     ui: &mut egui::Ui,
///     snapshot: &LuaSnapshot,
///     panel: &mut PanelState,
///     control: &mut MessageWriter<LuaControl>,
/// ) {
///     control.write_batch(show_panel(ui, snapshot, panel));
/// }
/// ```
pub fn show_panel(ui: &mut Ui, snapshot: &LuaSnapshot, state: &mut PanelState) -> Vec<LuaControl> {
    let mut requests = Vec::new();
    ui.push_id("bevy_lua_pool_panel", |ui| {
        ui.style_mut().interaction.selectable_labels = false;
        ui.spacing_mut().item_spacing = vec2(GAP, 4.0);
        header::show(ui, snapshot, state, &mut requests);
        ui.separator();
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            ui.set_max_width(ui.available_width() - SCROLL_BAR);
            sections(ui, snapshot, state, &mut requests);
        });
    });
    requests
}

fn sections(
    ui: &mut Ui,
    snapshot: &LuaSnapshot,
    state: &mut PanelState,
    requests: &mut Vec<LuaControl>,
) {
    section(ui, state, Section::Pool, "Pool", |ui, _| {
        gauges::pool(ui, &snapshot.pool);
    });
    section(ui, state, Section::Timings, "Timings", |ui, _| {
        timings::show(ui, snapshot);
    });
    section(ui, state, Section::History, "Last 10 seconds", |ui, _| {
        plots::show(ui, snapshot);
    });
    let title = format!("VMs ({})", snapshot.vms.len());
    section(ui, state, Section::Vms, &title, |ui, state| {
        vms::show(ui, &snapshot.vms, &mut state.vms);
    });
    let title = format!("Incidents ({})", snapshot.incidents.len());
    section(ui, state, Section::Incidents, &title, |ui, _| {
        incidents::show(ui, &snapshot.incidents);
    });
    let title = format!("Scripts ({})", snapshot.scripts.len());
    section(ui, state, Section::Scripts, &title, |ui, state| {
        scripts::show(ui, &snapshot.scripts, state);
    });
    let title = format!("Errors ({})", snapshot.errors.len());
    section(ui, state, Section::Errors, &title, |ui, state| {
        errors::show(ui, &snapshot.errors, state, requests);
    });
    section(ui, state, Section::Frames, "Frames", |ui, _| {
        gauges::frames(ui, &snapshot.frame, &snapshot.total);
    });
}

fn section(
    ui: &mut Ui,
    state: &mut PanelState,
    section: Section,
    title: &str,
    add_body: impl FnOnce(&mut Ui, &mut PanelState),
) {
    let open = state.is_open(section);
    let arrived = state.arrive(section);
    let shown = CollapsingHeader::new(RichText::new(title).strong())
        .id_salt(section)
        .open(Some(open))
        .show_unindented(ui, |ui| {
            add_body(ui, state);
            ui.add_space(GAP);
        });
    if arrived {
        shown.header_response.scroll_to_me(Some(Align::TOP));
    }
    if shown.header_response.clicked() {
        state.set_open(section, !open);
    }
}
