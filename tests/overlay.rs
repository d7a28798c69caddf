//! The overlay: what a snapshot looks like, what its buttons ask for, and that it draws in an app.
#![cfg(feature = "panel")]

use std::time::Duration;

use bevy::prelude::Entity;
use bevy_egui::egui::{self, accesskit, epaint};
use bevy_lua_pool::overlay::Section;
use bevy_lua_pool::pool::{Incident, IncidentKind};
use bevy_lua_pool::vm::Mutable;
use bevy_lua_pool::{
    ErrorRow, FrameStats, IncidentRow, LuaControl, LuaSnapshot, PanelState, PoolStats,
    ReachedLimit, Sample, ScriptRow, Setting, Timing, VmInfo, show_panel,
};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};

struct Panel {
    snapshot: LuaSnapshot,
    state: PanelState,
    requests: Vec<LuaControl>,
}

/// The panel, tall enough to show all of itself, as wide as the overlay's window.
fn panel(snapshot: LuaSnapshot) -> Harness<'static, Panel> {
    let panel = Panel { snapshot, state: PanelState::default(), requests: Vec::new() };
    let mut harness = Harness::builder().with_size([560.0, 3000.0]).build_ui_state(
        |ui, panel: &mut Panel| {
            let requests = show_panel(ui, &panel.snapshot, &mut panel.state);
            panel.requests.extend(requests);
        },
        panel,
    );
    harness.run_steps(3);
    harness
}

fn click(harness: &mut Harness<'_, Panel>, label: &str) {
    let node = harness.query_all_by_label(label).find(|node| {
        let role = node.accesskit_node().role();
        role != accesskit::Role::Label
    });
    node.unwrap_or_else(|| panic!("nothing to click is called {label:?}")).click();
    harness.run_steps(4);
}

/// Every text on the screen, as it was handed to the painter, inside what is not clipped away.
fn painted(harness: &Harness<'_, Panel>) -> Vec<String> {
    fn collect(shape: &epaint::Shape, clip: egui::Rect, out: &mut Vec<String>) {
        match shape {
            epaint::Shape::Vec(shapes) => shapes.iter().for_each(|s| collect(s, clip, out)),
            epaint::Shape::Text(text) if clip.intersects(text.visual_bounding_rect()) => {
                let glyphs = text.galley.rows.iter().flat_map(|row| &row.row.glyphs);
                out.push(glyphs.map(|glyph| glyph.chr).collect());
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    for clipped in &harness.output().shapes {
        collect(&clipped.shape, clipped.clip_rect, &mut out);
    }
    out
}

#[track_caller]
fn assert_painted(harness: &Harness<'_, Panel>, texts: &[&str]) {
    let painted = painted(harness);
    for text in texts {
        assert!(painted.iter().any(|p| p == text), "{text:?} is not among {painted:#?}");
    }
}

fn paints(harness: &Harness<'_, Panel>, part: &str) -> bool {
    painted(harness).iter().any(|text| text.contains(part))
}

fn timing(count: u64, start: u64) -> Timing {
    let nanos = |factor| Duration::from_nanos(start * factor);
    Timing {
        count,
        last: nanos(1),
        mean: nanos(2),
        p50: nanos(3),
        p90: nanos(4),
        p99: nanos(5),
        max: nanos(6),
    }
}

fn script(path: &str, entities: usize, runs: u64, mean: u64, errors: u64) -> ScriptRow {
    ScriptRow {
        path: path.into(),
        entities,
        runs,
        errors,
        time: timing(runs, mean),
        ..Default::default()
    }
}

fn error(script: &str, message: &str) -> ErrorRow {
    ErrorRow {
        script: script.into(),
        line: Some(7),
        callback: Some("on_update"),
        entity: Entity::from_raw_u32(41),
        message: message.into(),
        limit: None,
        traceback: format!("{script}:7 function on_update\n{script}:3 function helper").into(),
        count: 12,
        last_frame: 4_567,
    }
}

/// No figure in it appears twice, but for the small ones.
fn full() -> LuaSnapshot {
    LuaSnapshot {
        pool: PoolStats {
            created: 101,
            destroyed: 98,
            leased: 2,
            idle: 1,
            waiting: 17,
            acquired: 88_123,
            timeouts: 19,
            create_errors: 21,
            resets: 87_456,
            reset_errors: 23,
            quarantines: 25,
            overdue: 27,
            wait: timing(31_001, 111),
            create: timing(31_002, 1_130),
            reset: timing(31_003, 117_000),
            use_time: timing(31_004, 1_190_000),
            max_size: 8,
            min_size: 4,
            ..Default::default()
        },
        vms: vec![
            VmInfo {
                id: 71,
                age: Duration::from_secs(723),
                uses: 5_432,
                leased: true,
                since: Duration::from_millis(1_230),
                memory_bytes: 640 * 1024,
                last_program: Some("boot/zebra.luau".into()),
                ..Default::default()
            },
            VmInfo {
                id: 72,
                age: Duration::from_secs(9),
                uses: 0,
                leased: false,
                memory_bytes: 3 << 20,
                last_program: None,
                ..Default::default()
            },
        ],
        scripts: vec![
            script("a/slow.luau", 3, 3_100_000, 1_270_000, 0),
            ScriptRow {
                broken: Some("line 4: expected 'end'".into()),
                ..script("b/broken.luau", 52, 2_200, 13_300, 62)
            },
            ScriptRow {
                put_aside: 6,
                retries: 1_717,
                next_retry: Some(33),
                ..script("c/busy.luau", 1_024, 4_400, 139, 63)
            },
        ],
        incidents: vec![IncidentRow {
            incident: Incident {
                kind: IncidentKind::LeaseOverdue,
                vm: Some(71),
                program: None,
                message: "leased for 1h".into(),
            },
            count: 3,
            last_frame: 4_568,
        }],
        errors: vec![error("b/broken.luau", "x is nil")],
        frame: FrameStats {
            runs: 2_001,
            failed: 202,
            deferred: 203,
            retries: 211,
            writes: 2_004,
            conflicts: 205,
            messages: 206,
            undelivered: 207,
            spawned: 208,
            despawned: 209,
            log_lines: 210,
            time: Duration::from_micros(2_110),
        },
        total: FrameStats {
            runs: 300_001,
            failed: 30_002,
            deferred: 30_003,
            retries: 30_011,
            writes: 3_000_004,
            conflicts: 30_005,
            messages: 30_006,
            undelivered: 30_007,
            spawned: 30_008,
            despawned: 30_009,
            log_lines: 30_010,
            time: Duration::from_secs(41),
        },
        run_time: timing(31_000, 1_010),
        history: (0..300).map(sample).collect(),
        paused: false,
        stopped: None,
        ..Default::default()
    }
}

fn sample(frame: u32) -> Sample {
    Sample {
        at: 100.0 + f64::from(frame) / 60.0,
        runs: 1_000 + frame,
        frame: Duration::from_micros(u64::from(1_500 + frame)),
        longest_run: Duration::from_micros(u64::from(100 + frame)),
        leased: 2,
    }
}

#[test]
fn every_figure_of_a_snapshot_is_on_the_screen() {
    let harness = panel(full());
    // The line at the top.
    assert_painted(&harness, &["▶ running", "2,001 runs", "202 failed", "2.11 ms a frame"]);
    // Gauges.
    let gauges = ["101", "98", "2", "1", "17", "88,123", "87,456", "19", "21", "23", "25", "27"];
    assert_painted(&harness, &gauges);
    assert_painted(&harness, &["2 leased + 1 idle of 8"]);
    for gauge in ["created: 101", "destroyed: 98", "leased: 2", "idle: 1", "waiting: 17"] {
        harness.get_by_label(gauge);
    }
    // Timings: count, last, mean, p50, p99, max of each.
    assert_painted(&harness, &["31,000", "1.01 µs", "2.02 µs", "3.03 µs", "5.05 µs", "6.06 µs"]);
    assert_painted(&harness, &["31,001", "111 ns", "222 ns", "333 ns", "555 ns", "666 ns"]);
    assert_painted(&harness, &["31,002", "1.13 µs", "2.26 µs", "3.39 µs", "5.65 µs", "6.78 µs"]);
    assert_painted(&harness, &["31,003", "117 µs", "234 µs", "351 µs", "585 µs", "702 µs"]);
    assert_painted(&harness, &["31,004", "1.19 ms", "2.38 ms", "3.57 ms", "5.95 ms", "7.14 ms"]);
    // VMs.
    assert_painted(&harness, &["71", "12m 03s", "5,432", "640 KiB", "leased", "boot/zebra.luau"]);
    assert_painted(&harness, &["72", "9 s", "0", "3.00 MiB", "idle", "none yet"]);
    // Scripts.
    assert_painted(&harness, &["a/slow.luau", "ok", "3", "3.10 M", "2.54 ms", "6.35 ms"]);
    assert_painted(&harness, &["b/broken.luau", "⚠ broken", "52", "2,200", "26.6 µs", "62"]);
    assert_painted(&harness, &["c/busy.luau", "1,024", "4,400", "278 ns", "695 ns", "63", "6"]);
    // Errors.
    assert_painted(&harness, &["12×", "b/broken.luau:7", "on_update"]);
    assert_painted(&harness, &["x is nil"]);
    assert!(paints(&harness, "41v0"), "the entity is missing");
    // Frames: the last one, and all.
    let last = [
        "2,001", "202", "203", "211", "2,004", "205", "206", "207", "208", "209", "210", "2.11 ms",
    ];
    assert_painted(&harness, &last);
    assert_painted(&harness, &["300,001", "30,002", "30,003", "3.00 M", "30,005", "30,006"]);
    assert_painted(&harness, &["30,007", "30,008", "30,009", "30,010", "41.0 s"]);
    // The plots, with a legend.
    assert_painted(&harness, &["frame time", "longest run", "Runs a frame", "Leased VMs"]);
}

#[test]
fn each_button_asks_for_what_it_says() {
    let mut harness = panel(full());
    for (button, request) in [
        ("Pause", LuaControl::Pause),
        ("Reload scripts", LuaControl::ReloadScripts),
        ("Evict all VMs", LuaControl::EvictVms),
        ("Wake scripts", LuaControl::WakeScripts),
        ("Clear", LuaControl::ClearErrors),
    ] {
        harness.state_mut().requests.clear();
        click(&mut harness, button);
        assert_eq!(harness.state().requests, [request], "after a click on {button}");
    }
}

#[test]
fn a_panel_left_alone_asks_for_nothing() {
    let harness = panel(full());
    assert_eq!(harness.state().requests, []);
}

#[test]
fn paused_scripts_are_said_to_be_paused_and_can_be_resumed() {
    let stopped = Some("no script runs: `max_size` is 0".into());
    let harness = panel(LuaSnapshot { stopped, ..full() });
    harness.get_by_label("⏹ stopped");
    harness.get_by_label("no script runs: `max_size` is 0");
    let mut harness = panel(LuaSnapshot { paused: true, ..full() });
    assert_painted(&harness, &["⏸ paused", "Resume"]);
    assert!(harness.query_by_label("Pause").is_none());
    click(&mut harness, "Resume");
    assert_eq!(harness.state().requests, [LuaControl::Resume]);
}

/// The scripts of [`full`], from top to bottom.
fn script_order(harness: &Harness<'_, Panel>) -> String {
    let mut rows: Vec<(f32, char)> = ["a/slow.luau", "b/broken.luau", "c/busy.luau"]
        .map(|path| (harness.get_by_label(path).rect().top(), path.as_bytes()[0] as char))
        .to_vec();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows.into_iter().map(|(_, letter)| letter).collect()
}

#[test]
fn a_click_on_a_header_sorts_the_scripts_and_another_reverses_them() {
    let mut harness = panel(full());
    assert_eq!(script_order(&harness), "abc", "at first");
    assert_painted(&harness, &["path ⏶"]);
    for (header, down, up) in [
        ("entities", "cba", "abc"),
        ("runs", "acb", "bca"),
        ("mean", "abc", "cba"),
        ("p99", "abc", "cba"),
        ("errors", "cba", "abc"),
        ("aside", "cab", "abc"),
    ] {
        click(&mut harness, header);
        assert_eq!(script_order(&harness), down, "after a click on {header}");
        click(&mut harness, &format!("⏷ {header}"));
        assert_eq!(script_order(&harness), up, "after two clicks on {header}");
        assert_painted(&harness, &[&format!("⏶ {header}")]);
    }
    click(&mut harness, "path");
    assert_eq!(script_order(&harness), "abc");
    click(&mut harness, "path ⏶");
    assert_eq!(script_order(&harness), "cba");
    // Both tables have a column of that name; this one is the lower.
    harness.get_all_by_label("state").last().unwrap().click();
    harness.run_steps(4);
    assert_eq!(script_order(&harness), "bac", "broken ones first");
}

#[test]
fn a_click_on_a_header_sorts_the_vms() {
    let mut harness = panel(full());
    let first_is_71 = |harness: &Harness<'_, Panel>| {
        harness.get_by_label("71").rect().top() < harness.get_by_label("72").rect().top()
    };
    assert!(first_is_71(&harness));
    for (header, first) in [("memory", false), ("uses", true), ("age", true)] {
        click(&mut harness, header);
        assert_eq!(first_is_71(&harness), first, "after a click on {header}");
    }
    click(&mut harness, "⏷ age");
    assert!(!first_is_71(&harness), "after a second click on age");
}

#[test]
fn an_error_opens_to_its_full_text_and_closes_again() {
    let mut snapshot = full();
    let long = format!("{} the end", "a long story ".repeat(20));
    snapshot.errors.insert(0, error("z/other.luau", &long));
    let mut harness = panel(snapshot);
    assert!(!paints(&harness, "function helper"));
    assert!(!paints(&harness, "the end"), "a long message is cut while closed");

    harness.get_by_label_contains("z/other.luau:7").click();
    harness.run_steps(4);
    assert_painted(&harness, &["z/other.luau:7 function on_updatez/other.luau:3 function helper"]);
    assert!(paints(&harness, "the end"));
    assert!(paints(&harness, "frame 4567, 12 times"));
    assert!(!paints(&harness, "b/broken.luau:3"), "the other stays closed");

    harness.get_by_label_contains("12× z/other.luau:7").click();
    harness.run_steps(4);
    assert!(!paints(&harness, "function helper"));
}

#[test]
fn an_open_error_stays_open_when_others_come_before_it() {
    let mut harness = panel(full());
    harness.get_by_label_contains("12× b/broken.luau:7").click();
    harness.run_steps(4);
    let traced = |row: ErrorRow, traceback: &str| ErrorRow { traceback: traceback.into(), ..row };
    let errors = &mut harness.state_mut().snapshot.errors;
    errors[0].count = 13;
    // Each differs from the open one in one thing.
    errors.insert(0, traced(error("a/slow.luau", "x is nil"), "1st other"));
    errors.insert(0, traced(error("b/broken.luau", "y is nil"), "2nd other"));
    let elsewhere = ErrorRow { line: Some(8), ..error("b/broken.luau", "x is nil") };
    errors.insert(0, traced(elsewhere, "3rd other"));
    let in_start = ErrorRow { callback: Some("on_start"), ..error("b/broken.luau", "x is nil") };
    errors.insert(0, traced(in_start, "4th other"));
    harness.run_steps(4);
    assert!(paints(&harness, "b/broken.luau:3 function helper"));
    assert!(!paints(&harness, "other"), "another one opened");
}

#[test]
fn a_reached_limit_is_told_with_its_value_and_what_was_used_and_stays_open_when_that_changes() {
    let reached = |used: &str| {
        Some(ReachedLimit {
            setting: Setting::RunTimeLimit,
            limit: "2ms".to_owned(),
            used: used.to_owned(),
        })
    };
    let mut snapshot = full();
    snapshot.errors =
        vec![ErrorRow { limit: reached("2.3ms"), ..error("b/endless.luau", "ran for 2.3ms") }];
    let mut harness = panel(snapshot);
    harness.get_by_label_contains("12× b/endless.luau").click();
    harness.run_steps(4);
    assert!(paints(&harness, "Limit run_time_limit: 2ms, used 2.3ms the last time"));
    let errors = &mut harness.state_mut().snapshot.errors;
    let again = error("b/endless.luau", "ran for 2.7ms");
    errors[0] = ErrorRow { limit: reached("2.7ms"), line: Some(9), ..again };
    harness.run_steps(4);
    assert!(paints(&harness, "Limit run_time_limit: 2ms, used 2.7ms the last time"));
}

#[test]
fn the_full_text_of_an_error_can_be_copied() {
    let mut harness = panel(full());
    harness.get_by_label_contains("12× b/broken.luau:7").click();
    harness.run_steps(4);
    harness.get_by_label("Copy").click();
    let mut copied = Vec::new();
    for _ in 0..6 {
        // One event at a time; the release of the button is the click.
        harness.step();
        for command in &harness.output().platform_output.commands {
            if let egui::OutputCommand::CopyText(text) = command {
                copied.push(text.clone());
            }
        }
        if !copied.is_empty() {
            break;
        }
    }
    let text = copied.first().expect("nothing was copied");
    assert!(text.starts_with("b/broken.luau:7: x is nil\n"), "{text}");
    assert!(text.ends_with("b/broken.luau:3 function helper"), "{text}");
}

#[test]
fn a_short_panel_goes_to_its_errors_at_a_click() {
    let mut harness = panel(full());
    harness.set_size(egui::vec2(560.0, 400.0));
    harness.state_mut().state.set_open(Section::Errors, false);
    harness.run_steps(4);
    assert!(!paints(&harness, "Errors (1)"), "it is below what is seen");
    click(&mut harness, "⚠ Errors: 1");
    harness.run_steps(8);
    assert_painted(&harness, &["Errors (1)", "b/broken.luau:7"]);
}

#[test]
fn an_error_without_a_place_is_shown_too() {
    let mut snapshot = full();
    snapshot.errors = vec![ErrorRow {
        line: None,
        callback: None,
        entity: None,
        traceback: "".into(),
        count: 1,
        ..error("gone.luau", "file not found")
    }];
    let mut harness = panel(snapshot);
    assert_painted(&harness, &["gone.luau", "(loading)", "–", "file not found", "1×"]);
    harness.get_by_label_contains("1× gone.luau").click();
    harness.run_steps(4);
    assert!(paints(&harness, "There is no traceback."));
    assert!(paints(&harness, "1 time"));
}

#[test]
fn an_empty_snapshot_says_what_is_missing() {
    let harness = panel(LuaSnapshot::default());
    assert_painted(
        &harness,
        &[
            "No frame has run scripts yet.",
            "There is no VM yet. The first run makes one.",
            "No entity carries a script yet. Spawn one with the LuaScripts component.",
            "No script has failed.",
            "Nothing went wrong inside the pool.",
            "0 leased + 0 idle of 0",
        ],
    );
    for button in ["Clear", "⚠ Errors: 0"] {
        assert!(harness.query_by_label(button).is_none(), "{button}");
    }
}

#[test]
fn a_crowd_of_scripts_and_errors_draws_only_the_rows_in_sight() {
    let scripts = (0..2_000)
        .map(|i| script(&format!("Crowd/{i:04}.luau"), i, i as u64, 1_000 + i as u64, 0))
        .collect();
    let errors = (0..64).map(|i| error(&format!("Crowd/{i:04}.luau"), "no")).collect();
    let mut harness = panel(LuaSnapshot { scripts, errors, ..full() });
    assert_painted(&harness, &["Scripts (2000)", "Errors (64)", "Crowd/0000.luau"]);
    // Built, not only visible: a row that is built has nodes.
    let rows = |harness: &Harness<'_, Panel>| {
        let nodes = harness.query_all_by_label_contains("Crowd/");
        nodes.filter(|node| node.accesskit_node().role() == accesskit::Role::Label).count()
    };
    assert!((10..40).contains(&rows(&harness)), "{} rows", rows(&harness));
    let listed = harness.query_all_by_label_contains("12× Crowd/").count();
    assert_eq!(listed, 64, "every error is listed");

    harness.get_by_role(accesskit::Role::TextInput).focus();
    harness.run_steps(2);
    harness.get_by_role(accesskit::Role::TextInput).type_text("cROWD/1999");
    harness.run_steps(4);
    assert_eq!(harness.state().state.filter, "cROWD/1999");
    assert_painted(&harness, &["Crowd/1999.luau", "1,999"]);
    assert_eq!(rows(&harness), 1);

    harness.state_mut().state.filter = "nobody".to_owned();
    harness.run_steps(2);
    assert_painted(&harness, &["No path contains “nobody”."]);
}

#[test]
fn no_figure_is_ever_not_a_number() {
    fn is_placed(shape: &epaint::Shape) -> bool {
        match shape {
            epaint::Shape::Vec(shapes) => shapes.iter().all(is_placed),
            epaint::Shape::Path(path) => path.points.iter().all(|point| !point.any_nan()),
            epaint::Shape::LineSegment { points, .. } => points.iter().all(|p| !p.any_nan()),
            epaint::Shape::Rect(rect) => !rect.rect.any_nan(),
            epaint::Shape::Text(text) => !text.pos.any_nan(),
            _ => true,
        }
    }
    let nothing = LuaSnapshot {
        scripts: vec![script("never/ran.luau", 0, 0, 0, 0)],
        vms: vec![VmInfo::default()],
        history: [f64::NAN, 1.0, f64::INFINITY, 1.0]
            .map(|at| Sample { at, ..Sample::default() })
            .into(),
        ..Default::default()
    };
    let overfull = LuaSnapshot {
        pool: PoolStats { leased: 9, idle: 9, max_size: 2, ..Default::default() },
        history: [Sample { at: f64::NAN, ..sample(1) }].into(),
        run_time: Timing { count: u64::MAX, max: Duration::MAX, ..Default::default() },
        total: FrameStats { runs: u64::MAX, time: Duration::MAX, ..Default::default() },
        ..Default::default()
    };
    for snapshot in [nothing, overfull, LuaSnapshot::default()] {
        let harness = panel(snapshot);
        for clipped in &harness.output().shapes {
            assert!(is_placed(&clipped.shape), "{:?}", clipped.shape);
        }
        for text in painted(&harness) {
            let lower = text.to_lowercase();
            assert!(!lower.contains("nan") && !lower.contains("inf"), "{text:?}");
        }
    }
}

#[test]
fn nothing_moves_while_values_change() {
    let places = |snapshot: LuaSnapshot| {
        let harness = panel(snapshot);
        let labels = [
            "Reload scripts",
            "Evict all VMs",
            "Wake scripts",
            "entities",
            "runs",
            "mean",
            "p99",
            "errors",
            "aside",
            "path ⏶",
            "memory",
            "uses",
            "last script",
            "max",
            "Frames",
            "time",
        ];
        let rects = |label| harness.get_all_by_label(label).map(|node| node.rect());
        labels.map(|label| (label, rects(label).collect::<Vec<_>>()))
    };
    let mut large = full();
    large.paused = true;
    large.frame.runs = 987_654_321;
    large.frame.time = Duration::from_nanos(999_499);
    large.run_time = timing(u64::MAX, 777_777_777);
    large.pool.created = u64::MAX;
    large.pool.max_size = 100_000;
    large.pool.leased = 99_999;
    large.vms[0].uses = u64::MAX;
    large.vms[0].memory_bytes = usize::MAX;
    large.vms[0].last_program = Some("a/very/long/path".repeat(20).into());
    large.scripts[0].runs = u64::MAX;
    large.scripts[1].path = format!("b/{}.luau", "long".repeat(100)).into();
    large.errors[0].message = "long ".repeat(200).into();
    large.total.writes = u64::MAX;
    large.history.iter_mut().for_each(|sample| sample.frame *= 1_000);
    let mut small = full();
    small.run_time = Timing::default();
    small.frame = FrameStats::default();
    assert_eq!(places(small), places(large));
}

#[test]
fn a_long_path_keeps_its_end_and_shows_all_of_it_on_hover() {
    let path = "mods/some_author/some_package/scripts/enemies/orbit.luau";
    let mut harness =
        panel(LuaSnapshot { scripts: vec![script(path, 1, 1, 1, 0)], ..Default::default() });
    let cut = |text: &String| text.starts_with('…') && text.ends_with("/orbit.luau");
    assert!(painted(&harness).iter().any(cut), "{:#?}", painted(&harness));
    assert!(!paints(&harness, path));
    harness.get_by_label(path).hover();
    harness.run_steps(4);
    assert!(paints(&harness, path));
}

#[test]
fn a_broken_script_says_why_on_hover() {
    let mut harness = panel(full());
    assert!(!paints(&harness, "expected 'end'"));
    harness.get_by_label("⚠ broken").hover();
    harness.run_steps(4);
    assert!(paints(&harness, "line 4: expected 'end'"));
}

#[test]
fn a_script_whose_file_level_runs_afresh_tells_the_line_on_hover() {
    let mut slow = script("slow.luau", 1, 1, 1, 0);
    slow.afresh = Some(Mutable::Variables { line: Some(12) });
    let mut harness = panel(LuaSnapshot { scripts: vec![slow], ..Default::default() });
    harness.get_by_label("afresh").hover();
    harness.run_steps(4);
    assert!(paints(&harness, "line 12 assigns a variable that lives on"));
}

#[test]
fn a_vm_that_is_leased_for_too_long_is_called_overdue_and_says_where_it_was_leased() {
    let mut snapshot = full();
    let here = std::panic::Location::caller();
    snapshot.vms[0].overdue = true;
    snapshot.vms[0].leased_at = Some(here);
    let mut harness = panel(snapshot);
    harness.get_by_label("overdue").hover();
    harness.run_steps(4);
    assert!(paints(&harness, "overdue for 1.23 s"));
    assert!(paints(&harness, &format!("leased at {here}")));
}

#[test]
fn the_reasons_why_vms_were_destroyed_are_told_on_hover() {
    let mut snapshot = full();
    snapshot.pool.destroyed_by[0] = 1_097;
    let mut harness = panel(snapshot);
    harness.get_by_label("destroyed: 98").hover();
    harness.run_steps(4);
    let reason = bevy_lua_pool::pool::DestroyReason::ALL[0].name();
    assert!(paints(&harness, &format!("1,097 × {reason}")));
}

#[test]
fn the_script_that_changed_a_vm_is_named_in_the_panel() {
    let mut snapshot = full();
    snapshot.scripts[2].quarantines = 41;
    let incident = Incident {
        kind: IncidentKind::ValidationFailed,
        vm: Some(73),
        program: Some("c/busy.luau".into()),
        message: format!("`math` can be written to{}", " and so on".repeat(30)),
    };
    snapshot.incidents.insert(0, IncidentRow { incident, count: 41, last_frame: 1 });
    let mut harness = panel(snapshot);
    assert_painted(&harness, &["Incidents (2)", "⚠ suspect"]);
    assert!(paints(&harness, "41× VM 73, which ran \"c/busy.luau\" last: found changed"));
    assert!(!paints(&harness, "(last in frame 1)"));
    harness.get_by_label_contains("41× VM 73").hover();
    harness.run_steps(4);
    assert!(paints(&harness, "and so on and so on"), "all of it");
    assert!(paints(&harness, "(last in frame 1)"));
    harness.get_by_label("⚠ suspect").hover();
    harness.run_steps(4);
    assert!(paints(&harness, "were put into quarantine: 41."));
}

#[test]
fn a_section_closes_and_opens_with_a_click_on_its_title() {
    let mut harness = panel(full());
    for (title, section, inside) in [
        ("Pool", Section::Pool, "destroyed"),
        ("Timings", Section::Timings, "5.05 µs"),
        ("Last 10 seconds", Section::History, "longest run"),
        ("VMs (2)", Section::Vms, "boot/zebra.luau"),
        ("Incidents (1)", Section::Incidents, "3× VM 71"),
        ("Scripts (3)", Section::Scripts, "c/busy.luau"),
        ("Errors (1)", Section::Errors, "b/broken.luau:7"),
        ("Frames", Section::Frames, "undelivered"),
    ] {
        assert!(paints(&harness, inside), "{title} is open at first");
        click(&mut harness, title);
        assert!(!harness.state().state.is_open(section));
        assert!(!paints(&harness, inside), "{title} is closed after a click");
        click(&mut harness, title);
        assert!(paints(&harness, inside), "{title} is open after two clicks");
    }
}

#[test]
fn the_default_fonts_have_every_sign_that_the_panel_uses() {
    // A sign that no font has is drawn as a box: always the same part of the font's texture.
    let picture = |harness: &Harness<'_, Panel>, sign: char| {
        let font = egui::FontId::proportional(13.0);
        let galley = harness
            .ctx
            .fonts_mut(|fonts| fonts.layout_no_wrap(sign.to_string(), font, egui::Color32::WHITE));
        let uv = galley.rows[0].row.glyphs[0].uv_rect;
        (uv.min, uv.max)
    };
    for paused in [false, true] {
        let mut harness = panel(LuaSnapshot { paused, ..full() });
        click(&mut harness, "path ⏶");
        harness.get_by_label_contains("12× b/broken.luau:7").click();
        harness.run_steps(4);
        let missing = picture(&harness, '\u{10fffd}');
        let texts = painted(&harness).concat();
        for sign in texts.chars().chain(['…']).filter(|sign| !sign.is_whitespace()) {
            assert_ne!(picture(&harness, sign), missing, "no font has {sign:?}");
        }
    }
}

/// In apps without a renderer.
mod headless_apps {
    use bevy::prelude::*;
    use bevy_lua_pool::{LuaOverlay, LuaOverlayPlugin};

    pub(super) fn headless(plugin: LuaOverlayPlugin) -> App {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, plugin));
        app.finish();
        app.cleanup();
        app
    }

    #[test]
    fn an_app_without_window_camera_or_keyboard_runs_with_the_overlay() {
        let mut app = headless(LuaOverlayPlugin { open: true, ..Default::default() });
        for _ in 0..3 {
            app.update();
        }
        assert!(app.world().resource::<LuaOverlay>().open);
    }

    #[test]
    fn the_toggle_key_opens_and_closes_the_overlay() {
        let toggle_key = KeyCode::F9;
        let mut app = headless(LuaOverlayPlugin { toggle_key, ..Default::default() });
        app.init_resource::<ButtonInput<KeyCode>>();
        let mut open_after = |key: Option<KeyCode>| {
            let mut keys = app.world_mut().resource_mut::<ButtonInput<KeyCode>>();
            keys.reset_all();
            if let Some(key) = key {
                keys.press(key);
            }
            app.update();
            app.world().resource::<LuaOverlay>().open
        };
        assert!(!open_after(None));
        assert!(!open_after(Some(KeyCode::F3)), "another key does nothing");
        assert!(open_after(Some(toggle_key)));
        assert!(open_after(None), "it stays open");
        assert!(!open_after(Some(toggle_key)));
    }
}

/// In apps without a renderer, where egui isn't left out because it would want one.
#[cfg(not(feature = "overlay"))]
mod apps_with_a_canvas {
    use bevy::ecs::system::RunSystemOnce;
    use bevy::prelude::*;
    use bevy_egui::egui::{self, accesskit};
    use bevy_egui::{EguiContext, EguiInput, EguiOutput, PrimaryEguiContext};
    use bevy_lua_pool::{LuaControl, LuaOverlay, LuaOverlayPlugin};

    use super::full;
    use super::headless_apps::headless;

    /// Runs a frame and returns the nodes that the overlay drew: their labels and places.
    fn drawn(app: &mut App, events: Vec<egui::Event>) -> Vec<(String, egui::Pos2)> {
        let send = move |mut input: Single<&mut EguiInput>| {
            let size = egui::vec2(1_000.0, 800.0);
            input.screen_rect = Some(egui::Rect::from_min_size(egui::Pos2::ZERO, size));
            input.events.extend(events.clone());
        };
        app.world_mut().run_system_once(send).expect("the system runs");
        app.update();
        let output =
            app.world_mut().query::<&EguiOutput>().single(app.world()).expect("one context");
        let Some(tree) = output.platform_output.accesskit_update.as_ref() else {
            return Vec::new();
        };
        let place = |(_, node): &(accesskit::NodeId, accesskit::Node)| {
            let (label, bounds) = (node.label()?.to_owned(), node.bounds()?);
            let center = [(bounds.x0 + bounds.x1) / 2.0, (bounds.y0 + bounds.y1) / 2.0];
            Some((label, egui::pos2(center[0] as f32, center[1] as f32)))
        };
        tree.nodes.iter().filter_map(place).collect()
    }

    /// Where the overlay drew what has this label.
    fn find(app: &mut App, label: &str) -> Option<egui::Pos2> {
        let nodes = drawn(app, Vec::new());
        nodes.iter().find(|node| node.0 == label).map(|node| node.1)
    }

    fn click_at(app: &mut App, pos: egui::Pos2) {
        let button = |pressed| egui::Event::PointerButton {
            pos,
            button: egui::PointerButton::Primary,
            pressed,
            modifiers: egui::Modifiers::NONE,
        };
        for event in [egui::Event::PointerMoved(pos), button(true), button(false)] {
            drawn(app, vec![event]);
        }
    }

    /// An app with something to draw on, but no renderer.
    fn with_canvas(plugin: LuaOverlayPlugin) -> App {
        let mut app = headless(plugin);
        let mut context = EguiContext::default();
        context.get_mut().enable_accesskit();
        app.world_mut().spawn((context, PrimaryEguiContext));
        app.insert_resource(full());
        app
    }

    #[test]
    fn a_button_in_the_open_window_reaches_the_app_as_a_message() {
        let mut app = with_canvas(LuaOverlayPlugin::default());
        assert_eq!(find(&mut app, "Pause"), None, "closed at first");
        app.world_mut().resource_mut::<LuaOverlay>().open = true;
        drawn(&mut app, Vec::new());
        let pause = find(&mut app, "Pause").expect("the window is open");
        click_at(&mut app, pause);
        let messages = app.world().resource::<Messages<LuaControl>>();
        let mut cursor = messages.get_cursor();
        let sent: Vec<_> = cursor.read(messages).copied().collect();
        assert_eq!(sent, [LuaControl::Pause]);
    }

    #[test]
    fn the_window_can_be_closed_with_its_own_button() {
        let mut app = with_canvas(LuaOverlayPlugin { open: true, ..Default::default() });
        drawn(&mut app, Vec::new());
        let close = find(&mut app, "Close window").expect("the window has a button to close it");
        click_at(&mut app, close);
        assert!(!app.world().resource::<LuaOverlay>().open);
    }
}
