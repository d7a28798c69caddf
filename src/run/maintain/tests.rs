use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bevy::MinimalPlugins;
use bevy::app::App;
use bevy::asset::AssetPlugin;
use bevy::log::tracing_subscriber::fmt;

use bevy::prelude::Assets;

use super::*;
use crate::config::LuaPoolConfig;
use crate::plugin::LuaPoolPlugin;
use crate::pool::{IncidentKind, PoolConfig};
use crate::script::{LuaScript, LuaScripts};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct LogBuffer;

impl io::Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One VM, and limits that a busy machine doesn't reach by accident.
fn app() -> App {
    let patience = Duration::from_secs(60);
    let config = LuaPoolConfig {
        pool: PoolConfig {
            max_size: 1,
            min_size: 0,
            acquire_timeout: patience,
            create_timeout: patience,
            reset_timeout: patience,
            ..PoolConfig::default()
        },
        run_time_limit: patience,
        ..LuaPoolConfig::default()
    };
    let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.finish();
    app.cleanup();
    app
}

fn spawn(app: &mut App, path: &str, source: &str) {
    let script = LuaScript::from_source(path, source).unwrap();
    let script = app.world_mut().resource_mut::<Assets<LuaScript>>().add(script);
    app.world_mut().spawn(LuaScripts::new(script));
}

#[test]
fn the_script_that_changed_a_vm_is_named_in_a_warning_and_in_the_metrics() {
    // Another test may have been first.
    let _ = fmt().with_ansi(false).with_writer(|| LogBuffer).try_init();
    let mut app = app();
    let ran = "function on_update(self) end";
    spawn(&mut app, "quarantine/innocent.luau", ran);
    spawn(&mut app, "quarantine/rogue.luau", ran);
    // The VM is found sound after the first frame.
    app.update();
    app.update();
    {
        // No script can; so the test does it in the script's stead.
        let pool = app.world().resource::<LuaPool>().clone();
        let vm = pool.vms().acquire().unwrap();
        vm.thaw("math");
    }
    app.update();

    let snapshot = app.world().resource::<LuaSnapshot>();
    assert_eq!((snapshot.pool.quarantines, snapshot.pool.created), (1, 2));
    assert_eq!(snapshot.total.failed, 0, "nobody else notices");
    assert_eq!(snapshot.total.runs, 6);
    let [row] = &snapshot.incidents[..] else {
        panic!("{:?}", snapshot.incidents);
    };
    assert_eq!((row.incident.kind, row.incident.vm), (IncidentKind::ValidationFailed, Some(0)));
    assert_eq!((row.count, row.incident.program.as_deref()), (1, Some("quarantine/rogue.luau")));
    let counts: Vec<(&str, u64)> =
        snapshot.scripts.iter().map(|row| (&*row.path, row.quarantines)).collect();
    assert_eq!(counts, [("quarantine/innocent.luau", 0), ("quarantine/rogue.luau", 1)]);

    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = String::from_utf8_lossy(&log);
    let warning = log.lines().find(|line| line.contains("rogue.luau")).unwrap_or(&log);
    for says in [
        "WARN",
        "VM 0, which ran \"quarantine/rogue.luau\" last: found changed, and is destroyed",
        "`math` can be written to",
        "these ran: quarantine/rogue.luau, quarantine/innocent.luau",
    ] {
        assert!(warning.contains(says), "{says:?} is not in {warning:?}");
    }
}

#[test]
fn the_same_incident_is_counted_and_kept_once() {
    let mut app = app();
    let ran = "function on_update(self) end";
    spawn(&mut app, "quarantine/again.luau", ran);
    app.update();
    for _ in 0..3 {
        app.update();
        let pool = app.world().resource::<LuaPool>().clone();
        pool.vms().acquire().unwrap().thaw("table");
    }
    app.update();
    let snapshot = app.world().resource::<LuaSnapshot>();
    let counts: Vec<u64> = snapshot.incidents.iter().map(|row| row.count).collect();
    assert_eq!(counts, [3]);
    assert_eq!(snapshot.incidents[0].incident.vm, Some(2), "the most recent one");
    assert_eq!(snapshot.scripts[0].quarantines, 3);
}
