//! The list of errors.

use std::fmt::Write as _;

use bevy_egui::egui::{
    Align2, CursorIcon, FontId, Frame, Label, Rect, Response, RichText, Sense, Ui, WidgetInfo,
    WidgetType, vec2,
};

use super::look::{self, GAP, ROW, Tone};
use super::state::PanelState;
use super::units;
use crate::control::LuaControl;
use crate::snapshot::ErrorRow;

pub(super) fn show(
    ui: &mut Ui,
    errors: &[ErrorRow],
    state: &mut PanelState,
    requests: &mut Vec<LuaControl>,
) {
    if errors.is_empty() {
        ui.label("No script has failed.");
        return;
    }
    ui.horizontal(|ui| {
        if ui.button("Clear").on_hover_text("Forget these errors. Counters are kept.").clicked() {
            requests.push(LuaControl::ClearErrors);
        }
        ui.label("The most recent first. A click shows the full text.");
    });
    ui.spacing_mut().item_spacing.y = 2.0;
    for (index, error) in errors.iter().enumerate() {
        let open = state.shows_error(error);
        if row(ui, error, open).clicked() {
            state.toggle_error(error);
        }
        if open {
            ui.push_id(index, |ui| details(ui, error));
        }
    }
}

/// One line: the count, the place, the callback, the entity, and the message.
fn row(ui: &mut Ui, error: &ErrorRow, open: bool) -> Response {
    let (rect, response) =
        ui.allocate_exact_size(vec2(ui.available_width().max(400.0), ROW), Sense::click());
    let count = format!("{}×", units::count(error.count));
    let (place, callback, entity) = (place(error), callback(error), entity(error));
    response.widget_info(|| {
        let label = format!("{count} {place} {callback} {entity} {}", error.message);
        WidgetInfo::selected(WidgetType::SelectableLabel, ui.is_enabled(), open, label)
    });
    if response.hovered() || response.has_focus() || open {
        let fill = ui.visuals().widgets.hovered.weak_bg_fill;
        ui.painter().rect_filled(rect, 2.0, fill.gamma_multiply(0.6));
    }
    let [normal, weak, red] =
        [Tone::Normal, Tone::Weak, Tone::Error].map(|tone| tone.color(ui.visuals()));
    let mut x = rect.left();
    let mut next = |width: f32| {
        let cell = Rect::from_min_max([x, rect.top()].into(), [x + width, rect.bottom()].into());
        x += width + GAP;
        cell
    };
    let (left, right) = (Align2::LEFT_CENTER, Align2::RIGHT_CENTER);
    let arrow = if open { "⏷" } else { "⏵" };
    look::draw(ui, next(12.0), arrow, look::caption(), weak, left);
    look::draw(ui, next(46.0), &count, look::mono(), red, right);
    const PLACE: f32 = 146.0;
    let fitting = look::path_end(ui, &place, &look::prose(), PLACE);
    let cut = if fitting.len() < place.len() { "…" } else { "" };
    look::draw(ui, next(PLACE), &format!("{cut}{fitting}"), look::prose(), normal, left);
    look::draw(ui, next(104.0), callback, look::prose(), weak, left);
    look::draw(ui, next(54.0), &entity, look::mono(), weak, left);
    look::draw(
        ui,
        next(f32::INFINITY).intersect(rect),
        &error.message,
        look::prose(),
        normal,
        left,
    );
    response.on_hover_cursor(CursorIcon::PointingHand)
}

fn details(ui: &mut Ui, error: &ErrorRow) {
    Frame::group(ui.style()).show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.spacing_mut().item_spacing.y = 4.0;
        let selectable = |text: RichText| Label::new(text).selectable(true).wrap();
        let tone = Tone::Error.color(ui.visuals());
        ui.add(selectable(RichText::new(&*error.message).color(tone)));
        if let Some(limit) = limit(error) {
            ui.add(selectable(RichText::new(limit)));
        }
        ui.add(selectable(RichText::new(summary(error))));
        if error.traceback.is_empty() {
            ui.label("There is no traceback.");
        } else {
            let font = FontId::monospace(12.0);
            ui.add(selectable(RichText::new(&*error.traceback).font(font)));
        }
        let copy = ui.button("Copy").on_hover_text("Copy the full text.");
        if copy.clicked() {
            ui.copy_text(full_text(error));
        }
    });
}

fn place(error: &ErrorRow) -> String {
    match error.line {
        Some(line) => format!("{}:{line}", error.script),
        None => error.script.to_string(),
    }
}

fn callback(error: &ErrorRow) -> &'static str {
    error.callback.unwrap_or("(loading)")
}

fn entity(error: &ErrorRow) -> String {
    match error.entity {
        Some(entity) => entity.to_string(),
        None => units::NONE.to_owned(),
    }
}

/// `scripts/orbit.luau:7, on_update, last for entity 4v1 in frame 120, 12 times`.
fn summary(error: &ErrorRow) -> String {
    let mut text = format!("{}, {}, last ", place(error), callback(error));
    if let Some(entity) = error.entity {
        let _ = write!(text, "for entity {entity} ");
    }
    let times = if error.count == 1 { "time" } else { "times" };
    let (frame, count) = (error.last_frame, units::exact(error.count));
    let _ = write!(text, "in frame {frame}, {count} {times}");
    text
}

/// `Limit run_time_limit: 2ms, used 2.1ms the last time`.
fn limit(error: &ErrorRow) -> Option<String> {
    let reached = error.limit.as_ref()?;
    let (setting, limit, used) = (reached.setting.name(), &reached.limit, &reached.used);
    Some(format!("Limit {setting}: {limit}, used {used} the last time"))
}

fn full_text(error: &ErrorRow) -> String {
    let mut text = format!("{}: {}", place(error), error.message);
    if let Some(limit) = limit(error) {
        let _ = write!(text, "\n{limit}");
    }
    let _ = write!(text, "\n({})", summary(error));
    if !error.traceback.is_empty() {
        let _ = write!(text, "\n{}", error.traceback);
    }
    text
}
