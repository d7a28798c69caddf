//! The first lines: the state of the scripts, the figures of the last frame, and the buttons.

use bevy_egui::egui::{Align2, Button, RichText, Sense, Ui, WidgetInfo, WidgetType, vec2};

use super::look::{self, GAP, Tone};
use super::state::{PanelState, Section};
use super::units;
use crate::control::LuaControl;
use crate::snapshot::{FrameStats, LuaSnapshot};

pub(super) fn show(
    ui: &mut Ui,
    snapshot: &LuaSnapshot,
    state: &mut PanelState,
    requests: &mut Vec<LuaControl>,
) {
    ui.horizontal(|ui| {
        badge(ui, snapshot);
        figures(ui, &snapshot.frame);
    });
    if let Some(stopped) = &snapshot.stopped {
        ui.label(RichText::new(&**stopped).color(Tone::Error.color(ui.visuals())));
    }
    ui.horizontal(|ui| {
        buttons(ui, snapshot.paused, requests);
        if !snapshot.errors.is_empty() {
            let tone = Tone::Error.color(ui.visuals());
            let text = format!("⚠ Errors: {}", snapshot.errors.len());
            let button = Button::new(RichText::new(text).color(tone));
            if ui.add(button).on_hover_text("Go to the errors.").clicked() {
                state.go_to(Section::Errors);
            }
        }
    });
}

fn badge(ui: &mut Ui, snapshot: &LuaSnapshot) {
    let (text, tone) = match (snapshot.paused, &snapshot.stopped) {
        (true, _) => ("⏸ paused", Tone::Warning),
        (false, Some(_)) => ("⏹ stopped", Tone::Error),
        (false, None) => ("▶ running", Tone::Ok),
    };
    let (rect, response) = ui.allocate_exact_size(vec2(84.0, 20.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(WidgetType::Label, true, text));
    let color = tone.color(ui.visuals());
    let fill = color.gamma_multiply(0.15);
    ui.painter().rect_filled(rect, 4.0, fill);
    look::draw(ui, rect, text, look::prose(), color, Align2::CENTER_CENTER);
}

fn figures(ui: &mut Ui, frame: &FrameStats) {
    let failed = Tone::unless_zero(frame.failed, Tone::Error);
    let figures = [
        (
            format!("{} runs", units::count(frame.runs)),
            Tone::Normal,
            "Callbacks that ran in the last frame.",
        ),
        (
            format!("{} failed", units::count(frame.failed)),
            failed,
            "Runs of the last frame that failed and changed nothing.",
        ),
        (
            format!("{} a frame", units::duration(frame.time)),
            Tone::Normal,
            "Time the last frame spent on scripts, from collecting to applying.",
        ),
    ];
    let third = (ui.available_width() - 2.0 * GAP) / 3.0;
    for (text, tone, hint) in figures {
        look::number(ui, third.floor().max(100.0), &text, tone).on_hover_text(hint);
    }
}

fn buttons(ui: &mut Ui, paused: bool, requests: &mut Vec<LuaControl>) {
    let pause = if paused {
        ("Resume", LuaControl::Resume, "Run callbacks again.")
    } else {
        ("Pause", LuaControl::Pause, "Run no callback. Messages to scripts are kept.")
    };
    let buttons = [
        pause,
        (
            "Reload scripts",
            LuaControl::ReloadScripts,
            "Load every script in use anew from its source.",
        ),
        ("Evict all VMs", LuaControl::EvictVms, "Replace every VM by a fresh one."),
        (
            "Wake scripts",
            LuaControl::WakeScripts,
            "Try the scripts again that were put aside after too many failures in a row.",
        ),
    ];
    for (title, request, hint) in buttons {
        // Wide enough for both titles of the first button, so that the others don't move.
        let button = Button::new(title).min_size(vec2(72.0, 0.0));
        if ui.add(button).on_hover_text(hint).clicked() {
            requests.push(request);
        }
    }
}
