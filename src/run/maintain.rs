//! Keeps the pool in shape and publishes what the frame did.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bevy::ecs::change_detection::DetectChangesMut;
use bevy::log::warn;
use bevy::prelude::{AssetServer, Assets, MessageReader, Query, Res, ResMut, Time};

use super::frame::{Frame, LuaPool, LuaScripting};
use super::report::{Carried, Report};
use crate::control::LuaControl;
use crate::script::{LuaScript, ScriptStates};
use crate::snapshot::{HISTORY_FRAMES, LuaSnapshot, Sample};

/// Evicts and refills VMs, and publishes the snapshot.
pub(crate) fn maintain(
    pool: Res<LuaPool>,
    scripting: Res<LuaScripting>,
    stage: Res<Frame>,
    time: Option<Res<Time>>,
    mut report: ResMut<Report>,
    mut snapshot: ResMut<LuaSnapshot>,
) {
    let maintained = pool.vms().maintain(Instant::now());
    for incident in &maintained.incidents {
        warn!("the script pool: {incident}");
    }
    if maintained.incidents_lost > 0 {
        warn!("the script pool: {} more like these", maintained.incidents_lost);
    }

    let mut carried: HashMap<Arc<str>, Carried> = HashMap::new();
    for of in &stage.programs.list {
        let counts = carried.entry(of.program.name().clone()).or_default();
        counts.entities += of.entities;
        counts.put_aside += of.put_aside;
        counts.next_retry = counts.next_retry.into_iter().chain(of.next_retry).min();
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
    snapshot.pool = pool.vms().stats();
    snapshot.vms = pool.vms().vms();
    snapshot.scripts = report.script_rows(&carried);
    snapshot.errors = report.errors.iter().cloned().collect();
    snapshot.frame = frame;
    snapshot.total = report.total;
    snapshot.run_time = report.run_time.timing();
    snapshot.paused = !scripting.enabled;
    if snapshot.history.len() >= HISTORY_FRAMES {
        snapshot.history.pop_front();
    }
    snapshot.history.push_back(sample);
}

/// Carries out what the app or the overlay asked for.
pub(crate) fn control(
    mut requests: MessageReader<LuaControl>,
    pool: Res<LuaPool>,
    mut scripting: ResMut<LuaScripting>,
    scripts: Res<Assets<LuaScript>>,
    assets: Option<Res<AssetServer>>,
    mut states: Query<&mut ScriptStates>,
    mut report: ResMut<Report>,
) {
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
                            .scripts
                            .iter()
                            .filter(|(_, number)| report.figures[**number].broken.is_some())
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
