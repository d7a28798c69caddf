//! Collects which callbacks are due on which entities.
//!
//! Most entities did the same in the stage before, which the [`unchanged`] scan finds on all threads. It leaves the
//! others to be [examined](examine) one by one.

mod align;
mod chunk_scan;
mod examine;
mod known;
mod put_back;
mod receivers;
mod unchanged;

use std::time::Instant;

use bevy::asset::Assets;
use bevy::ecs::change_detection::{DetectChanges, DetectChangesMut};
use bevy::ecs::system::{SystemParam, SystemState};
use bevy::prelude::{AssetEvent, AssetServer, Local, MessageReader, Res, ResMut, Time, World};

use crate::bindings::Backlog;
use crate::run::collect::chunk_scan::ChunkScan;
use crate::run::collect::examine::Examiner;
use crate::run::collect::put_back::put_back;
use crate::run::collect::receivers::Receivers;
use crate::run::collect::unchanged::{Scripted, UnchangedScan};
use crate::run::frame::Frame;
use crate::run::invocation::Invocation;
use crate::run::lua_pool::{LuaPool, LuaScripting};
use crate::run::mailbox::{Mailbox, StageMail};
use crate::run::order::mix;
use crate::run::report::Report;
use crate::run::stage::Stage;
use crate::run::stop::StopQueue;
use crate::script::LuaScript;
use crate::vm::{Callback, CallbackSet};

pub(crate) use self::known::KnownScripts;

/// What collecting reads and writes.
#[derive(SystemParam)]
pub(crate) struct Collector<'w, 's> {
    entities: Scripted<'w, 's>,
    scripts: Res<'w, Assets<LuaScript>>,
    assets: Option<Res<'w, AssetServer>>,
    time: Option<Res<'w, Time>>,
    pool: Res<'w, LuaPool>,
    scripting: Res<'w, LuaScripting>,
    mailbox: ResMut<'w, Mailbox>,
    backlog: ResMut<'w, Backlog>,
    stopped: ResMut<'w, StopQueue>,
    known: ResMut<'w, KnownScripts>,
    loaded: MessageReader<'w, 's, AssetEvent<LuaScript>>,
    frame: ResMut<'w, Frame>,
    report: ResMut<'w, Report>,
    /// What scanning the chunks of entities came to. Kept for its buffers.
    scans: Local<'s, Vec<ChunkScan>>,
}

/// Collects what is due in the plugin's schedule.
pub(crate) fn collect_update(world: &mut World, collector: &mut SystemState<Collector>) {
    collect(Stage::Update, world, collector);
}

/// Collects what is due in the fixed schedule.
pub(crate) fn collect_fixed_update(world: &mut World, collector: &mut SystemState<Collector>) {
    collect(Stage::FixedUpdate, world, collector);
}

/// Fills [`Frame`] with the invocations of this stage, in the stable order: first the scripts that stop, then by the
/// entity's index and generation, and by the script's index on it.
fn collect(stage: Stage, world: &mut World, collector: &mut SystemState<Collector>) {
    let Collector {
        mut entities,
        scripts,
        assets,
        time,
        pool,
        scripting,
        mut mailbox,
        mut backlog,
        mut stopped,
        mut known,
        mut loaded,
        mut frame,
        mut report,
        mut scans,
    } = collector.get_mut(world).unwrap_or_else(|missing| {
        panic!("{}: {missing}", LuaPool::UNFINISHED);
    });
    let frame = &mut *frame;
    let mut invocations = put_back(frame, &mut entities, &mut mailbox, &mut stopped);
    frame.unsure.clear();
    frame.leased = 0;
    frame.stage = stage;
    frame.number = report.frames;
    frame.began = Some(Instant::now());
    if let Some(assets) = assets.as_deref() {
        known.keep_loaded(loaded.read(), assets);
    }
    if !scripting.enabled || pool.awaits_config {
        return;
    }
    frame.delta = time.map_or(0.0, |time| time.delta_secs_f64());
    frame.seed = mix(scripting.seed);

    // Messages go with the frame, not with the fixed steps in it.
    if stage == Stage::Update {
        frame.stage_mail = StageMail::of(mailbox.take());
    }
    let mut receivers = Receivers::new(frame.stage_mail.len());

    frame.programs.begin(stage, &scripts);
    frame.shares.clear();
    frame.shared.clear();
    let scan = UnchangedScan { stage, delta: frame.delta, mail: &frame.stage_mail };
    let threads = pool.config().pool.max_size;
    let unchanged =
        scan.collect(threads, &entities, &mut frame.programs, &mut invocations, &mut scans);
    frame.invocations = invocations;
    frame.any_waits = unchanged.any_waits;
    let unchanged_invocations = frame.invocations.len();

    let mut examiner = Examiner {
        frame: &mut *frame,
        receivers: &mut receivers,
        stopped: &mut stopped,
        known: &mut known,
        scripts: &scripts,
        assets: assets.as_deref(),
    };
    for entity in scans.iter().flat_map(|scan| &scan.to_examine) {
        if let Ok((entity, scripts, mut states)) = entities.get_mut(*entity) {
            let states = states.bypass_change_detection();
            examiner.examine(entity, &scripts, scripts.last_changed(), states);
        }
    }
    for scan in &*scans {
        frame.shared.extend_from_slice(&scan.shared);
        frame.paths.collected_unchanged += scan.unchanged as u64;
        frame.paths.collected_one_by_one += scan.to_examine.len() as u64;
    }
    // They nearly always are in order already.
    let in_order = unchanged.in_order && frame.invocations.len() == unchanged_invocations;
    if !in_order && !frame.invocations.is_sorted_by_key(Invocation::key) {
        frame.invocations.sort_by_key(Invocation::key);
    }

    if stage == Stage::Update {
        collect_stops(frame, &mut stopped);
        receivers.report(&mut mailbox, &mut report, &mut frame.unsure);
        frame.stage_mail.note_backlog(&mut backlog);
    }
    frame.known_stops = stopped.stopped.len();
}

/// Adds the scripts that stop, before all others.
fn collect_stops(frame: &mut Frame, stopped: &mut StopQueue) {
    let Frame { invocations, programs, shares, shared, any_waits, .. } = frame;
    let stops = stopped.stopped.drain(..).map(|stopped| {
        let program = programs.number(&stopped.program, None, 0);
        programs.list[program as usize].count(0);
        shared.push(stopped.entity);
        let mut invocation = Invocation::new(stopped.entity, 0, program);
        invocation.due = CallbackSet::only(Callback::Stop);
        invocation.waiting = stopped.last.waiting;
        *any_waits |= invocation.waiting > 0;
        let more = invocation.more.get_or_insert_default();
        more.stop = Some(stopped.last);
        more.origin = shares.count_stop();
        invocation
    });
    invocations.splice(0..0, stops);
}
