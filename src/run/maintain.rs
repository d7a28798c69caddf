//! Keeps the pool in shape and publishes what the frame did.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bevy::ecs::change_detection::DetectChangesMut;
use bevy::log::warn;
use bevy::prelude::{AssetServer, Assets, MessageReader, Query, Res, ResMut, Time};

use crate::control::LuaControl;
use crate::run::frame::Frame;
use crate::run::lua_pool::{LuaPool, LuaScripting};
use crate::run::report::{Carried, Report};
use crate::run::stop::StopQueue;
use crate::script::{LuaScript, ScriptStates};
use crate::snapshot::{HISTORY_FRAMES, LuaSnapshot, Sample};

/// Evicts and refills VMs, and publishes the snapshot.
pub(crate) fn maintain(
    pool: Res<LuaPool>,
    scripting: Res<LuaScripting>,
    mut stage: ResMut<Frame>,
    time: Option<Res<Time>>,
    mut report: ResMut<Report>,
    mut stops: ResMut<StopQueue>,
    mut snapshot: ResMut<LuaSnapshot>,
) {
    let shed = stops.shed();
    if shed > 0 && report.log.take() {
        warn!("{shed} scripts went without their `on_stop`: more went than could be stopped");
    }
    let maintained = pool.vms().maintain(Instant::now());
    let news = !maintained.incidents.is_empty();
    maintained.incidents.into_iter().for_each(|incident| report.incident(incident));
    if maintained.incidents_lost > 0 {
        let lost = maintained.incidents_lost;
        if report.log.take() {
            warn!("the script pool: {lost} more like these");
        }
    }

    let mut carried: HashMap<Arc<str>, Carried> = HashMap::new();
    for of in stage.programs.list.iter().filter(|carried| carried.in_use) {
        report.figures.number(of.program.name());
        let counts = carried.entry(of.program.name().clone()).or_default();
        counts.entities += of.entities;
        counts.put_aside += of.put_aside;
        counts.next_retry = counts.next_retry.into_iter().chain(of.next_retry).min();
        counts.afresh = counts.afresh.or_else(|| of.program.mutable());
    }
    let frame = report.end_of_frame();
    let sample = Sample {
        at: time.map_or(0.0, |time| time.elapsed_secs_f64()),
        runs: u32::try_from(frame.runs).unwrap_or(u32::MAX),
        frame: frame.time,
        longest_run: std::mem::take(&mut report.longest_run),
        leased: std::mem::take(&mut report.leased),
    };
    let snapshot = &mut *snapshot;
    let programs = pool.programs();
    if programs.crowded_out > 0 && !std::mem::replace(&mut report.told_crowded_out, true) {
        warn!(
            "the scripts that run in one frame don't fit into one VM, so that some are loaded anew in every frame; \
             raise `memory_limit` of the script pool (and `max_resting_memory`, if it is set), or keep less data \
             at file level (this is told once)"
        );
    }
    snapshot.pool = pool.vms().stats();
    snapshot.vms = pool.vms().vms();
    if news {
        snapshot.incidents = report.incidents.iter().cloned().collect();
    }
    snapshot.scripts = report.script_rows(&carried);
    snapshot.errors = report.errors.iter().cloned().collect();
    snapshot.frame = frame;
    snapshot.total = report.total;
    snapshot.frame_paths = std::mem::take(&mut stage.paths);
    snapshot.total_paths += snapshot.frame_paths;
    snapshot.run_time = report.run_time.timing();
    snapshot.paused = !scripting.enabled;
    snapshot.stopped = pool.stopped.clone();
    if snapshot.history.len() >= HISTORY_FRAMES {
        snapshot.history.pop_front();
    }
    snapshot.history.push_back(sample);
}

/// Carries out what the app or the overlay asked for.
pub(crate) fn control(
    mut requests: MessageReader<LuaControl>,
    mut pool: ResMut<LuaPool>,
    mut scripting: ResMut<LuaScripting>,
    scripts: Res<Assets<LuaScript>>,
    assets: Option<Res<AssetServer>>,
    mut states: Query<&mut ScriptStates>,
    mut report: ResMut<Report>,
) {
    if pool.is_outdated() {
        pool.update();
    }
    for request in requests.read() {
        match request {
            LuaControl::Pause => scripting.enabled = false,
            LuaControl::Resume => scripting.enabled = true,
            LuaControl::ReloadScripts => {
                let Some(assets) = &assets else { continue };
                let paths: std::collections::BTreeSet<String> = scripts
                    .ids()
                    .filter_map(|id| assets.get_path(id))
                    .map(|path| path.to_string())
                    .chain(
                        report
                            .figures
                            .iter()
                            .filter(|(_, script)| script.broken.is_some())
                            .map(|(path, _)| path.to_string()),
                    )
                    .collect();
                for path in paths {
                    assets.reload(path);
                }
            }
            LuaControl::EvictVms => {
                pool.vms().evict_all();
            }
            LuaControl::WakeScripts => {
                for mut states in &mut states {
                    states.bypass_change_detection().wake();
                }
            }
            LuaControl::ClearErrors => report.errors.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use bevy::MinimalPlugins;
    use bevy::app::App;
    use bevy::asset::AssetPlugin;
    use bevy::log::tracing_subscriber::fmt;

    use super::*;
    use crate::config::LuaPoolConfig;
    use crate::plugin::LuaPoolPlugin;
    use crate::pool::{IncidentKind, PoolConfig};
    use crate::script::LuaScripts;

    static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

    struct Log;

    impl io::Write for Log {
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
        let _ = fmt().with_ansi(false).with_writer(|| Log).try_init();
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
        assert_eq!(
            (row.count, row.incident.program.as_deref()),
            (1, Some("quarantine/rogue.luau"))
        );
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
}
