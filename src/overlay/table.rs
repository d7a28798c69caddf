//! Tables: fixed columns under headers that sort, and only the rows in sight are built.

use bevy_egui::egui::{
    Align2, CursorIcon, Grid, Response, ScrollArea, Sense, Ui, WidgetInfo, WidgetType, vec2,
};

use super::look::{self, GAP, ROW, Tone};
use super::state::Sort;

/// The space between rows, in points.
const ROW_GAP: f32 = 2.0;
/// Room for the scroll bar, in points.
pub(super) const SCROLL_BAR: f32 = 8.0;
/// The least width of the column that takes what is left, in points.
const MIN_REST: f32 = 96.0;

/// One column of a table.
pub(super) struct TableColumn<C> {
    pub(super) key: C,
    pub(super) title: &'static str,
    pub(super) hint: &'static str,
    /// In points. `None`: what the others leave.
    pub(super) width: Option<f32>,
    /// Numbers stand on the right, and sort with the largest first.
    pub(super) numeric: bool,
}

/// The columns' widths for the width at hand.
pub(super) fn widths<C>(ui: &Ui, columns: &[TableColumn<C>]) -> Vec<f32> {
    let gaps = GAP * columns.len().saturating_sub(1) as f32;
    let fixed: f32 = columns.iter().filter_map(|column| column.width).sum();
    let rest = (ui.available_width() - SCROLL_BAR - fixed - gaps).max(MIN_REST);
    let width = |column: &TableColumn<C>| column.width.unwrap_or(rest);
    columns.iter().map(width).collect()
}

/// The header row. A click on a title sorts by its column; another click reverses the order.
pub(super) fn headers<C: Copy + PartialEq>(
    ui: &mut Ui,
    columns: &[TableColumn<C>],
    widths: &[f32],
    sort: &mut Sort<C>,
) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = GAP;
        for (column, width) in columns.iter().zip(widths) {
            let arrow = match (sort.column == column.key, sort.descending) {
                (false, _) => None,
                (true, false) => Some("⏶"),
                (true, true) => Some("⏷"),
            };
            if header(ui, column, *width, arrow).clicked() {
                sort.click(column.key, column.numeric);
            }
        }
    });
}

fn header<C>(ui: &mut Ui, column: &TableColumn<C>, width: f32, arrow: Option<&str>) -> Response {
    // The title keeps its place: the arrow goes to its inner side.
    let (title, align) = match (arrow, column.numeric) {
        (None, true) => (column.title.to_owned(), Align2::RIGHT_CENTER),
        (None, false) => (column.title.to_owned(), Align2::LEFT_CENTER),
        (Some(arrow), true) => (format!("{arrow} {}", column.title), Align2::RIGHT_CENTER),
        (Some(arrow), false) => (format!("{} {arrow}", column.title), Align2::LEFT_CENTER),
    };
    let (rect, response) = ui.allocate_exact_size(vec2(width, ROW), Sense::click());
    response.widget_info(|| {
        WidgetInfo::selected(WidgetType::Button, ui.is_enabled(), arrow.is_some(), &title)
    });
    let color = if arrow.is_some() || response.hovered() || response.has_focus() {
        ui.visuals().strong_text_color()
    } else {
        Tone::Weak.color(ui.visuals())
    };
    let text_rect = if column.numeric { rect } else { look::indented(rect) };
    look::draw(ui, text_rect, &title, look::caption(), color, align);
    response.on_hover_text(column.hint).on_hover_cursor(CursorIcon::PointingHand)
}

/// The rows, at most `max_rows` of them in sight at a time.
pub(super) fn rows(
    ui: &mut Ui,
    id: &'static str,
    count: usize,
    max_rows: usize,
    mut add_row: impl FnMut(&mut Ui, usize),
) {
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing = vec2(GAP, ROW_GAP);
        let height = max_rows as f32 * (ROW + ROW_GAP);
        ScrollArea::vertical()
            .id_salt(id)
            .max_height(height)
            // Also where less is in sight: the panel itself scrolls.
            .min_scrolled_height(height)
            .auto_shrink([false, true])
            .show_rows(ui, ROW, count, |ui, range| {
                Grid::new(id)
                    .striped(true)
                    .start_row(range.start)
                    .min_col_width(0.0)
                    .min_row_height(ROW)
                    .spacing([GAP, ROW_GAP])
                    .show(ui, |ui| {
                        for row in range {
                            add_row(ui, row);
                            ui.end_row();
                        }
                    });
            });
    });
}
