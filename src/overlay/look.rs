//! The look of the panel: spacing, colours with a meaning, and cells of a fixed size.
//!
//! A cell has a fixed width, so nothing moves while values change. Screen readers get its full text, which also appears
//! on hover if it had to be cut.

use bevy_egui::egui::text::{LayoutJob, TextFormat, TextWrapping};
use bevy_egui::egui::{
    Align2, Color32, FontId, Rect, Response, Sense, Ui, Visuals, WidgetInfo, WidgetType, vec2,
};

use super::units;

/// The space between columns, in points.
pub(super) const GAP: f32 = 6.0;
/// The space before left-aligned text, which may follow a right-aligned number.
const INDENT: f32 = 6.0;
/// The height of a table's row, in points.
pub(super) const ROW: f32 = 18.0;

/// The meaning of the colour of a text. The text says the same: colour is never the only sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tone {
    Normal,
    Weak,
    Ok,
    Warning,
    Error,
}

impl Tone {
    pub(super) fn color(self, visuals: &Visuals) -> Color32 {
        let pick = |dark, light| if visuals.dark_mode { dark } else { light };
        match self {
            Self::Normal => visuals.widgets.inactive.text_color(),
            Self::Weak => visuals.text_color(),
            Self::Ok => pick(Color32::from_rgb(112, 192, 120), Color32::from_rgb(24, 110, 40)),
            Self::Warning => pick(Color32::from_rgb(240, 176, 72), Color32::from_rgb(150, 84, 0)),
            Self::Error => pick(Color32::from_rgb(255, 118, 108), Color32::from_rgb(176, 20, 20)),
        }
    }

    /// `bad` unless the value is zero.
    pub(super) fn unless_zero(value: u64, bad: Self) -> Self {
        if value == 0 { Self::Normal } else { bad }
    }
}

/// The font of numbers.
pub(super) fn mono() -> FontId {
    FontId::monospace(12.0)
}

/// The font of texts in tables.
pub(super) fn prose() -> FontId {
    FontId::proportional(13.0)
}

/// The font of headers and captions.
pub(super) fn caption() -> FontId {
    FontId::proportional(11.0)
}

/// A number: monospace, right-aligned.
pub(super) fn number(ui: &mut Ui, width: f32, text: &str, tone: Tone) -> Response {
    let (rect, response) = cell(ui, width, text);
    let color = tone.color(ui.visuals());
    draw(ui, rect, text, mono(), color, Align2::RIGHT_CENTER);
    response
}

/// A count; shown in full on hover if it is shortened.
pub(super) fn count(ui: &mut Ui, width: f32, value: u64, tone: Tone) {
    let (short, exact) = (units::count(value), units::exact(value));
    let response = number(ui, width, &short, tone);
    if short != exact {
        response.on_hover_text(exact);
    }
}

/// The title of a column of numbers.
pub(super) fn title(ui: &mut Ui, width: f32, text: &str) -> Response {
    let (rect, response) = cell(ui, width, text);
    let color = Tone::Weak.color(ui.visuals());
    draw(ui, rect, text, caption(), color, Align2::RIGHT_CENTER);
    response
}

/// A text, cut at the end if it is too long.
pub(super) fn text(ui: &mut Ui, width: f32, text: &str, tone: Tone) -> Response {
    let (rect, response) = cell(ui, width, text);
    let rect = indented(rect);
    let color = tone.color(ui.visuals());
    if draw(ui, rect, text, prose(), color, Align2::LEFT_CENTER) {
        response
    } else {
        response.on_hover_text(text)
    }
}

/// A path, cut at the start if it is too long: the end is more specific.
pub(super) fn path(ui: &mut Ui, width: f32, text: &str, tone: Tone) -> Response {
    let (rect, response) = cell(ui, width, text);
    let color = tone.color(ui.visuals());
    let font = prose();
    let rect = indented(rect);
    let fitting = path_end(ui, text, &font, rect.width());
    let cut = fitting.len() < text.len();
    if cut {
        let short = format!("…{fitting}");
        draw(ui, rect, &short, font, color, Align2::LEFT_CENTER);
        response.on_hover_text(text)
    } else {
        draw(ui, rect, text, font, color, Align2::LEFT_CENTER);
        response
    }
}

/// The longest suffix of `text` that fits, with room for an ellipsis if it is shorter than the text.
pub(super) fn path_end<'a>(ui: &Ui, text: &'a str, font: &FontId, width: f32) -> &'a str {
    ui.fonts_mut(|fonts| {
        let whole: f32 = text.chars().map(|c| fonts.glyph_width(font, c)).sum();
        if whole <= width {
            return text;
        }
        let mut room = width - fonts.glyph_width(font, '…') - 1.0;
        let mut start = text.len();
        for (at, c) in text.char_indices().rev() {
            room -= fonts.glyph_width(font, c);
            if room < 0.0 {
                break;
            }
            start = at;
        }
        &text[start..]
    })
}

/// Draws one line of text inside `rect`, cut at the end. Returns whether all of it fits.
pub(super) fn draw(
    ui: &Ui,
    rect: Rect,
    text: &str,
    font: FontId,
    color: Color32,
    align: Align2,
) -> bool {
    let line = text.lines().next().unwrap_or_default();
    let mut job = LayoutJob::single_section(line.to_owned(), TextFormat::simple(font, color));
    job.wrap = TextWrapping::truncate_at_width(rect.width());
    let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
    let fits = !galley.elided && line.len() == text.len();
    let at = align.align_size_within_rect(galley.size(), rect);
    ui.painter().galley(at.min, galley, color);
    fits
}

/// The part of a cell for left-aligned text.
pub(super) fn indented(cell: Rect) -> Rect {
    cell.with_min_x(cell.left() + INDENT)
}

fn cell(ui: &mut Ui, width: f32, label: &str) -> (Rect, Response) {
    let (rect, response) = ui.allocate_exact_size(vec2(width, ROW), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(WidgetType::Label, ui.is_enabled(), label));
    (rect, response)
}
