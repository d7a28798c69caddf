//! The main figures in Bevy's diagnostics.
#![cfg(feature = "diagnostics")]

mod common;

use bevy::diagnostic::{DiagnosticPath, DiagnosticsPlugin, DiagnosticsStore};
use bevy::prelude::*;
use bevy_lua_pool::LuaDiagnosticsPlugin as Lua;
use bevy_lua_pool::pool::DestroyReason;
use bevy_lua_pool::prelude::*;
use common::Lab;

fn measured(lab: &Lab, path: &DiagnosticPath) -> f64 {
    let store = lab.app.world().resource::<DiagnosticsStore>();
    let diagnostic = store.get(path).unwrap_or_else(|| panic!("{path} is not registered"));
    diagnostic.value().unwrap_or_else(|| panic!("{path} was never measured"))
}

#[test]
fn every_figure_is_measured_and_says_what_the_snapshot_says() {
    let mut lab = Lab::new();
    lab.app.add_plugins((DiagnosticsPlugin, Lua));
    lab.entity("good.luau", "function on_update(self) end");
    lab.entity("bad.luau", "function on_update(self) error('no') end");
    lab.frames(3);
    assert_eq!(measured(&lab, &Lua::RUNS), 2.0);
    assert_eq!(measured(&lab, &Lua::FAILED), 1.0);
    assert_eq!(measured(&lab, &Lua::DEFERRED), 0.0);
    assert_eq!(measured(&lab, &Lua::CONFLICTS), 0.0);
    assert_eq!(measured(&lab, &Lua::LEASED), 1.0);
    let snapshot = lab.snapshot();
    assert_eq!(measured(&lab, &Lua::CREATED), snapshot.pool.created as f64);
    assert_eq!(measured(&lab, &Lua::DESTROYED), snapshot.pool.destroyed as f64);
    assert_eq!(measured(&lab, &Lua::IDLE), snapshot.pool.idle as f64);
    assert_eq!(measured(&lab, &Lua::WAITING), 0.0);
    assert_eq!(measured(&lab, &Lua::TIMEOUTS), snapshot.pool.timeouts as f64);
    assert_eq!(measured(&lab, &Lua::RESETS), snapshot.pool.resets as f64);
    assert_eq!(measured(&lab, &Lua::RESET_ERRORS), 0.0);
    assert_eq!(measured(&lab, &Lua::CREATE_ERRORS), 0.0);
    assert_eq!(measured(&lab, &Lua::QUARANTINED), 0.0);
    let pool = &snapshot.pool;
    for (timing, [p50, p90, p99, max]) in [
        (&pool.wait, [&Lua::WAIT_P50, &Lua::WAIT_P90, &Lua::WAIT_P99, &Lua::WAIT_MAX]),
        (&pool.create, [&Lua::CREATE_P50, &Lua::CREATE_P90, &Lua::CREATE_P99, &Lua::CREATE_MAX]),
        (&pool.reset, [&Lua::RESET_P50, &Lua::RESET_P90, &Lua::RESET_P99, &Lua::RESET_MAX]),
        (&pool.use_time, [&Lua::LEASE_P50, &Lua::LEASE_P90, &Lua::LEASE_P99, &Lua::LEASE_MAX]),
    ] {
        assert!(timing.count > 0, "{pool:?}");
        let paths = [(p50, timing.p50), (p90, timing.p90), (p99, timing.p99), (max, timing.max)];
        for (path, expected) in paths {
            assert_eq!(measured(&lab, path), expected.as_secs_f64() * 1e3, "{path}");
        }
    }
    assert!(snapshot.pool.created > 0 && snapshot.pool.resets > 0);
    assert_eq!(measured(&lab, &Lua::FRAME_TIME), snapshot.frame.time.as_secs_f64() * 1e3);
    assert!(measured(&lab, &Lua::FRAME_TIME) > 0.0);
    let memory: usize = snapshot.vms.iter().map(|vm| vm.memory_bytes).sum();
    assert_eq!(measured(&lab, &Lua::MEMORY), memory as f64 / 1024.0);
}

#[test]
fn why_vms_were_destroyed_is_measured_reason_by_reason() {
    let mut lab = Lab::new();
    lab.app.add_plugins((DiagnosticsPlugin, Lua));
    lab.entity("good.luau", "function on_update(self) end");
    lab.frames(2);
    lab.app.world().resource::<LuaPool>().vms().evict_all();
    lab.frames(2);
    let pool = lab.snapshot().pool;
    assert!(pool.destroyed_by(DestroyReason::Evicted) > 0, "{pool:?}");
    let mut all = 0.0;
    for reason in DestroyReason::ALL {
        let count = measured(&lab, &Lua::destroyed_by(reason));
        assert_eq!(count, pool.destroyed_by(reason) as f64, "{reason:?}");
        all += count;
    }
    assert_eq!(all, measured(&lab, &Lua::DESTROYED));
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
