//! Keeps the pool in shape, publishes what the frame did, and carries out what the app asks for between frames.

mod control;
mod load_failures;
mod script_rows;

use std::time::Instant;

use bevy::log::warn;
use bevy::prelude::{Res, ResMut, Time};

use crate::run::frame::Frame;
use crate::run::lua_pool::{LuaPool, LuaScripting};
use crate::run::maintain::script_rows::{count_carriers, script_rows};
use crate::run::report::Report;
use crate::run::stop::StopQueue;
use crate::snapshot::{HISTORY_FRAMES, LuaSnapshot, Sample};

pub(crate) use self::control::control;
pub(crate) use self::load_failures::report_load_failures;

/// Evicts and refills VMs, and publishes the [`LuaSnapshot`].
pub(crate) fn maintain(
    pool: Res<LuaPool>,
    scripting: Res<LuaScripting>,
    mut frame: ResMut<Frame>,
    time: Option<Res<Time>>,
    mut report: ResMut<Report>,
    mut stops: ResMut<StopQueue>,
    mut snapshot: ResMut<LuaSnapshot>,
) {
    let shed = stops.shed();
    if shed > 0 && report.warnings.take() {
        warn!("{shed} scripts went without their `on_stop`: more went than could be stopped");
    }
    let maintained = pool.vms().maintain(Instant::now());
    let news = !maintained.incidents.is_empty();
    maintained.incidents.into_iter().for_each(|incident| report.log_incident(incident));
    if maintained.incidents_lost > 0 {
        let lost = maintained.incidents_lost;
        if report.warnings.take() {
            warn!("the script pool: {lost} more like these");
        }
    }

    let carriers = count_carriers(&frame.programs, &mut report.figures);
    let stats = report.end_of_frame();
    let sample = Sample {
        at: time.map_or(0.0, |time| time.elapsed_secs_f64()),
        runs: u32::try_from(stats.runs).unwrap_or(u32::MAX),
        frame: stats.time,
        longest_run: std::mem::take(&mut report.longest_run),
        leased: std::mem::take(&mut report.leased),
    };
    let snapshot = &mut *snapshot;
    let programs = pool.programs();
    if programs.crowded_out > 0 && !std::mem::replace(&mut report.logged_crowded_out, true) {
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
    snapshot.scripts = script_rows(&report, &carriers);
    snapshot.errors = report.errors.iter().cloned().collect();
    snapshot.frame = stats;
    snapshot.total = report.total;
    snapshot.frame_paths = std::mem::take(&mut frame.paths);
    snapshot.total_paths += snapshot.frame_paths;
    snapshot.run_time = report.run_time.timing();
    snapshot.paused = !scripting.enabled;
    snapshot.stopped = pool.stopped.clone();
    if snapshot.history.len() >= HISTORY_FRAMES {
        snapshot.history.pop_front();
    }
    snapshot.history.push_back(sample);
}

#[cfg(test)]
mod tests;
