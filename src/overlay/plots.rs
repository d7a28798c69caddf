//! Plots of the last seconds.

use bevy_egui::egui::{Color32, RichText, Ui};
use egui_plot::{Corner, GridMark, HoverPosition, Legend, Line, LineStyle, Plot};

use super::look::{self, Tone};
use super::units;
use crate::snapshot::{LuaSnapshot, Sample};

/// The time span of the plots, in seconds.
const SPAN: f64 = 10.0;

/// One line of a plot: its name, its points, and how it is drawn.
struct Series {
    name: &'static str,
    points: Vec<[f64; 2]>,
    style: LineStyle,
    color: Color32,
}

pub(super) fn show(ui: &mut Ui, snapshot: &LuaSnapshot) {
    let Some(now) = snapshot.history.back().map(|sample| sample.at) else {
        ui.label("No frame has run scripts yet.");
        return;
    };
    let dark = ui.visuals().dark_mode;
    let line = |name, style, (dark_color, light_color), value: &dyn Fn(&Sample) -> f64| Series {
        name,
        style,
        color: if dark { dark_color } else { light_color },
        points: snapshot
            .history
            .iter()
            .map(|sample| [sample.at - now, value(sample)])
            .filter(|[x, y]| x.is_finite() && y.is_finite() && *x >= -SPAN)
            .collect(),
    };
    let blue = (Color32::from_rgb(110, 168, 240), Color32::from_rgb(30, 90, 190));
    let grey = (Color32::from_gray(200), Color32::from_gray(70));
    let solid = LineStyle::Solid;

    let times = vec![
        line("frame time", solid, blue, &|s| millis(s.frame)),
        line("longest run", LineStyle::dashed_dense(), grey, &|s| millis(s.longest_run)),
    ];
    caption(ui, "Time on scripts, in ms");
    timeline(ui, "times", 120.0, None, times);

    ui.columns(2, |columns| {
        let runs = vec![line("runs", solid, blue, &|s| f64::from(s.runs))];
        caption(&mut columns[0], "Runs a frame");
        timeline(&mut columns[0], "runs", 64.0, None, runs);

        let leased = vec![line("leased VMs", solid, blue, &|s| s.leased as f64)];
        caption(&mut columns[1], "Leased VMs");
        let full = snapshot.pool.max_size as f64;
        timeline(&mut columns[1], "leased", 64.0, Some(full), leased);
    });
}

fn caption(ui: &mut Ui, text: &str) {
    let color = Tone::Weak.color(ui.visuals());
    ui.label(RichText::new(text).font(look::caption()).color(color));
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A plot with a fixed frame, and a legend if it has more than one line.
fn timeline(ui: &mut Ui, id: &str, height: f32, top: Option<f64>, lines: Vec<Series>) {
    let values = lines.iter().flat_map(|line| &line.points).map(|point| point[1]);
    let highest = values.fold(0.0, f64::max);
    let top = match top {
        Some(top) if top > 0.0 && top >= highest => top,
        _ => units::round_up(highest),
    };
    let mark = move |share: f64| GridMark { value: top * share, step_size: top / 2.0 };
    let several = lines.len() > 1;
    let grid = Tone::Weak.color(ui.visuals()).gamma_multiply(0.5);
    let mut plot = Plot::new(id)
        .height(height)
        .grid_color(grid)
        .allow_drag(false)
        .allow_zoom(false)
        .allow_scroll(false)
        .allow_boxed_zoom(false)
        .allow_axis_zoom_drag(false)
        .allow_double_click_reset(false)
        .show_axes([several, true])
        .y_axis_min_width(40.0)
        .x_grid_spacer(|_| {
            let mark = |step: u32| GridMark { value: f64::from(step) * 2.0 - SPAN, step_size: 2.0 };
            (0..=5).map(mark).collect()
        })
        // The leftmost label would overlap the zero of the other axis.
        .x_axis_formatter(|mark, _| match mark.value {
            at if at <= -SPAN => String::new(),
            at => format!("{at:.0}"),
        })
        .y_axis_formatter(|mark, _| tick(mark.value))
        .y_grid_spacer(move |_| vec![mark(0.0), mark(0.5), mark(1.0)])
        .label_formatter(|at| match at {
            HoverPosition::NearDataPoint { plot_name, position, .. } => {
                let ago = -position.x;
                Some(format!("{plot_name}: {}\n{ago:.1} s ago", tick(position.y)))
            }
            HoverPosition::Elsewhere { .. } => None,
        });
    if several {
        plot = plot.legend(Legend::default().position(Corner::LeftTop));
    }
    plot.show(ui, move |plot| {
        plot.set_plot_bounds_x(-SPAN..=0.0);
        plot.set_plot_bounds_y(0.0..=top * 1.05);
        for Series { name, points, style, color } in lines {
            plot.line(Line::new(name, points).style(style).color(color).width(1.5));
        }
    });
}

/// A value at an axis, without trailing zeros.
fn tick(value: f64) -> String {
    if value >= 1e6 {
        units::count(value as u64)
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}
