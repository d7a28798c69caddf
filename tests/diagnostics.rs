//! The main figures in Bevy's diagnostics.
#![cfg(feature = "diagnostics")]

mod common;

use std::time::Duration;

use bevy::diagnostic::{DiagnosticPath, DiagnosticsPlugin, DiagnosticsStore};
use bevy::prelude::*;
use bevy_lua_pool::LuaDiagnosticsPlugin as Lua;
use bevy_lua_pool::pool::DestroyReason;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{FrameStats, PoolStats, Sample, Timing, VmInfo};
use common::Lab;

fn measured(lab: &Lab, path: &DiagnosticPath) -> f64 {
    let store = lab.app.world().resource::<DiagnosticsStore>();
    let diagnostic = store.get(path).unwrap_or_else(|| panic!("{path} is not registered"));
    diagnostic.value().unwrap_or_else(|| panic!("{path} was never measured"))
}

/// A snapshot in which no figure is that of another one.
fn distinct_figures() -> LuaSnapshot {
    let ms = Duration::from_millis;
    let timing = |base| Timing {
        count: 7,
        last: ms(base + 9),
        mean: ms(base + 8),
        p50: ms(base),
        p90: ms(base + 1),
        p99: ms(base + 2),
        max: ms(base + 3),
    };
    let frame = FrameStats {
        time: ms(11),
        runs: 21,
        failed: 22,
        deferred: 23,
        conflicts: 24,
        ..FrameStats::default()
    };
    let pool = PoolStats {
        created: 31,
        destroyed: 32,
        idle: 33,
        leased: 99,
        waiting: 34,
        timeouts: 35,
        resets: 36,
        reset_errors: 37,
        create_errors: 38,
        quarantines: 39,
        quarantined: 98,
        destroyed_by: std::array::from_fn(|reason| 1000 + reason as u64),
        wait: timing(110),
        create: timing(120),
        reset: timing(130),
        use_time: timing(140),
        ..PoolStats::default()
    };
    let vm = |kib: usize| VmInfo { memory_bytes: kib * 1024, ..VmInfo::default() };
    let sample = |leased| Sample { leased, ..Sample::default() };
    LuaSnapshot {
        frame,
        pool,
        vms: vec![vm(200), vm(300)],
        history: [97, 41].map(sample).into(),
        ..LuaSnapshot::default()
    }
}

#[test]
fn every_figure_is_that_of_the_snapshot() {
    let mut lab = Lab::new();
    lab.app.add_plugins((DiagnosticsPlugin, Lua));
    // After scripts ran, and before it is measured.
    lab.app.add_systems(PostUpdate, |mut snapshot: ResMut<LuaSnapshot>| {
        *snapshot = distinct_figures();
    });
    lab.frame();
    let mut expected = vec![
        (Lua::FRAME_TIME, 11.0),
        (Lua::RUNS, 21.0),
        (Lua::FAILED, 22.0),
        (Lua::DEFERRED, 23.0),
        (Lua::CONFLICTS, 24.0),
        (Lua::CREATED, 31.0),
        (Lua::DESTROYED, 32.0),
        (Lua::IDLE, 33.0),
        (Lua::WAITING, 34.0),
        (Lua::TIMEOUTS, 35.0),
        (Lua::RESETS, 36.0),
        (Lua::RESET_ERRORS, 37.0),
        (Lua::CREATE_ERRORS, 38.0),
        (Lua::QUARANTINED, 39.0),
        (Lua::LEASED, 41.0),
        (Lua::MEMORY, 500.0),
    ];
    for (base, [p50, p90, p99, max]) in [
        (110.0, [Lua::WAIT_P50, Lua::WAIT_P90, Lua::WAIT_P99, Lua::WAIT_MAX]),
        (120.0, [Lua::CREATE_P50, Lua::CREATE_P90, Lua::CREATE_P99, Lua::CREATE_MAX]),
        (130.0, [Lua::RESET_P50, Lua::RESET_P90, Lua::RESET_P99, Lua::RESET_MAX]),
        (140.0, [Lua::LEASE_P50, Lua::LEASE_P90, Lua::LEASE_P99, Lua::LEASE_MAX]),
    ] {
        expected.extend([(p50, base), (p90, base + 1.0), (p99, base + 2.0), (max, base + 3.0)]);
    }
    for (reason, count) in DestroyReason::ALL.into_iter().zip(1000..) {
        expected.push((Lua::destroyed_by(reason), f64::from(count)));
    }
    for (path, figure) in &expected {
        let found = measured(&lab, path);
        assert!((found - figure).abs() < 1e-9, "{path}: {found} instead of {figure}");
    }
    let store = lab.app.world().resource::<DiagnosticsStore>();
    let of_scripts = store.iter().filter(|it| it.path().as_str().starts_with("lua_pool/"));
    assert_eq!(of_scripts.count(), expected.len(), "each one is looked at");
}

#[test]
fn what_scripts_and_the_pool_do_is_measured() {
    let mut lab = Lab::new();
    lab.app.add_plugins((DiagnosticsPlugin, Lua));
    lab.entity("good.luau", "function on_update(self) end");
    lab.entity("bad.luau", "function on_update(self) error('no') end");
    lab.frames(3);
    let [created, resets] = [&Lua::CREATED, &Lua::RESETS].map(|path| measured(&lab, path));
    assert!(created > 0.0 && resets > 0.0, "{created} {resets}");
    assert!(measured(&lab, &Lua::FRAME_TIME) > 0.0 && measured(&lab, &Lua::MEMORY) > 0.0);
    assert_eq!(measured(&lab, &Lua::DESTROYED), 0.0);
    lab.app.world().resource::<LuaPool>().vms().evict_all();
    lab.frame();
    assert_eq!(measured(&lab, &Lua::RUNS), 2.0);
    assert_eq!(measured(&lab, &Lua::FAILED), 1.0);
    assert_eq!(measured(&lab, &Lua::LEASED), 1.0);
    let evicted = measured(&lab, &Lua::destroyed_by(DestroyReason::Evicted));
    assert_eq!((measured(&lab, &Lua::DESTROYED), evicted), (created, created));
    assert_eq!(measured(&lab, &Lua::CREATED), created + 1.0);
}

#[test]
fn the_plugin_alone_measures_nothing_and_the_group_does() {
    for group in [false, true] {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, AssetPlugin::default(), DiagnosticsPlugin));
        if group {
            app.add_plugins(LuaPoolPlugins.set(LuaPoolPlugin { seed: 7, ..default() }));
        } else {
            app.add_plugins(LuaPoolPlugin { seed: 7, ..default() });
        }
        app.finish();
        app.cleanup();
        app.update();
        assert_eq!(app.world().resource::<LuaScripting>().seed, 7);
        let store = app.world().resource::<DiagnosticsStore>();
        let of_scripts = |path: &DiagnosticPath| path.as_str().starts_with("lua_pool/");
        let measured = store.iter().filter(|it| of_scripts(it.path()) && it.value().is_some());
        assert_eq!(measured.count() > 0, group);
        assert_eq!(store.get(&Lua::CREATED).is_some(), group);
    }
}

#[test]
fn an_app_without_diagnostics_runs_scripts_all_the_same() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", "function on_update(self) self.ran = true end");
    lab.frame();
    assert_eq!(lab.field(entity, "ran"), true.into());
}
