//! Who is due, and why.

use std::ops::Range;
use std::time::Instant;

use bevy::asset::Assets;
use bevy::ecs::change_detection::{DetectChanges, DetectChangesMut, Tick};
use bevy::ecs::system::{SystemParam, SystemState};
use bevy::prelude::{AssetServer, Entity, Handle, Res, ResMut, Time, World};

use super::frame::{Frame, LuaPool, LuaScripting, MoreUnit, Stage, Unit};
use super::messages::{Delivery, Mailbox, shed};
use super::programs::Programs;
use super::quiet::{QuietStage, Scripted};
use super::report::Report;
use super::stop::{StopQueue, Stopped};
use crate::script::{Aside, LuaScript, LuaScripts, Place, ScriptState, States};
use crate::vm::Callback;

/// What collecting reads and writes.
#[derive(SystemParam)]
pub(crate) struct Collector<'w, 's> {
    entities: Scripted<'w, 's>,
    scripts: Res<'w, Assets<LuaScript>>,
    assets: Option<Res<'w, AssetServer>>,
    time: Option<Res<'w, Time>>,
    pool: Res<'w, LuaPool>,
    scripting: ResMut<'w, LuaScripting>,
    mailbox: ResMut<'w, Mailbox>,
    stopped: ResMut<'w, StopQueue>,
    frame: ResMut<'w, Frame>,
    report: ResMut<'w, Report>,
}

/// Collects what is due in the plugin's schedule.
pub(crate) fn collect_update(world: &mut World, collector: &mut SystemState<Collector>) {
    collect(Stage::Update, world, collector);
}

/// Collects what is due in the fixed schedule.
pub(crate) fn collect_fixed_update(world: &mut World, collector: &mut SystemState<Collector>) {
    collect(Stage::FixedUpdate, world, collector);
}

/// Fills [`Frame`] with the units of this stage, in the stable order: stopped ones first, then by the
/// entity's index and generation, then by the script's place on it.
fn collect(stage: Stage, world: &mut World, collector: &mut SystemState<Collector>) {
    let Collector {
        mut entities,
        scripts,
        assets,
        time,
        pool,
        mut scripting,
        mut mailbox,
        mut stopped,
        mut frame,
        mut report,
    } = collector.get_mut(world).unwrap_or_else(|missing| {
        panic!("{}: {missing}", LuaPool::UNFINISHED);
    });
    let frame = &mut *frame;
    put_back(frame, &mut entities, &mut mailbox, &mut stopped);
    if frame.executed.take().is_some() {
        // They were never applied.
        frame.outcomes.clear();
        frame.tallies.iter_mut().for_each(|tally| tally.reaching.clear());
    }
    frame.deliveries.clear();
    frame.leased = 0;
    frame.stage = stage;
    frame.number = report.frames;
    frame.began = Some(Instant::now());
    if !scripting.enabled || pool.awaits_config {
        return;
    }
    scripting.stages += 1;
    frame.delta = time.map_or(0.0, |time| time.delta_secs_f64());
    frame.seed = mix(scripting.seed ^ mix(scripting.stages));

    // Messages go with the frame, not with the fixed steps in it.
    if stage == Stage::Update {
        frame.deliveries = std::mem::take(&mut mailbox.waiting);
        frame.deliveries.sort_by_key(|delivery| order(delivery.mail.to));
        mailbox.dropped += shed(&mut frame.deliveries);
    }
    let mut taken = Taken::new(frame.deliveries.len());

    frame.programs.begin(stage, &scripts);
    frame.origins.clear();
    frame.shared.clear();
    let mut units = std::mem::take(&mut frame.spare);
    let mut found = std::mem::take(&mut frame.found);
    let quiet = QuietStage { stage, delta: frame.delta, deliveries: &frame.deliveries };
    let threads = pool.config().max_size;
    let quiet = quiet.collect(threads, &entities, &mut frame.programs, &mut units, &mut found);
    frame.units = units;
    frame.any_waits = quiet.any_waits;
    let of_quiet = frame.units.len();

    for entity in found.iter().flat_map(|found| &found.rest) {
        let Ok((entity, scripts_of, mut states)) = entities.get_mut(*entity) else { continue };
        let states = states.bypass_change_detection();
        let origin = states.origin;
        let states = &mut states.states;
        align(entity, &scripts_of, states, assets.as_deref(), &mut stopped);
        let at = At { entity, changed: scripts_of.last_changed() };
        if !scripts_of.enabled {
            taken.wait(&frame.deliveries, entity, None);
            for (slot, state) in states.iter_mut().enumerate() {
                frame.programs.count(state, at, slot);
            }
            continue;
        }
        let before = frame.units.len();
        for (slot, (handle, state)) in scripts_of.scripts.iter().zip(states).enumerate() {
            let Some(script) = scripts.get(handle) else {
                taken.wait(&frame.deliveries, entity, Some(slot));
                continue;
            };
            if let Some(mut unit) = due(at, slot, script, state, stage, frame, &mut taken) {
                if let Some(origin) = frame.origins.count(origin) {
                    unit.more.get_or_insert_default().origin = Some(origin);
                }
                frame.any_waits |= unit.waiting > 0;
                frame.units.push(unit);
            }
        }
        if frame.units.len() > before + 1 {
            frame.shared.push(entity);
        }
    }
    found.iter().for_each(|found| frame.shared.extend_from_slice(&found.shared));
    frame.found = found;
    // They nearly always are in order already.
    let in_order = quiet.in_order && frame.units.len() == of_quiet;
    if !in_order && !frame.units.is_sorted_by_key(Unit::key) {
        frame.units.sort_by_key(Unit::key);
    }
    frame.origins.share_out(&mut frame.units, pool.config().max_commands);

    if stage == Stage::Update {
        let (programs, origins) = (&mut frame.programs, &mut frame.origins);
        let shared = &mut frame.shared;
        let stops = stopped.stopped.drain(..).map(|stopped| {
            let program = programs.number(&stopped.program, None, 0);
            programs.list[program as usize].count(0);
            shared.push(stopped.entity);
            let mut unit = Unit::new(stopped.entity, 0, program);
            let more = unit.more.get_or_insert_default();
            more.stop = Some(stopped.state);
            // All that stop share their time.
            more.origin = origins.count(Some(Entity::PLACEHOLDER));
            unit
        });
        frame.units.splice(0..0, stops);
        taken.settle(&mut mailbox, &mut report);
    }
}

/// An entity, and when its list of scripts was last changed.
#[derive(Clone, Copy)]
struct At {
    entity: Entity,
    changed: Tick,
}

/// Takes back what was collected and never applied, because a run condition held back a later set.
fn put_back(
    frame: &mut Frame,
    entities: &mut Scripted<'_, '_>,
    mailbox: &mut Mailbox,
    stopped: &mut StopQueue,
) {
    if frame.units.is_empty() {
        return;
    }
    let units = std::mem::take(&mut frame.units);
    for unit in units.iter().filter(|unit| unit.stop().is_none()) {
        if let Ok((_, _, mut states)) = entities.get_mut(unit.entity)
            && let Some(state) = states.bypass_change_detection().states.get_mut(unit.slot())
            && state.attached.number == unit.program
        {
            state.attached.owed[frame.stage as usize] = unit.delta;
        }
    }
    let mail: Vec<_> = units.iter().flat_map(|unit| frame.undelivered(unit)).collect();
    mailbox.waiting.splice(0..0, mail);
    let programs = &frame.programs.list;
    let stops = units.into_iter().filter_map(|mut unit| {
        let state = unit.take_stop()?;
        let program = programs[unit.program as usize].program.clone();
        Some(Stopped { entity: unit.entity, program, state })
    });
    stopped.stopped.splice(0..0, stops);
}

/// The stable order of entities.
pub(crate) fn order(entity: Entity) -> u64 {
    u64::from(entity.index_u32()) << 32 | u64::from(entity.generation().to_bits())
}

/// Gives each script of the list its state, and states without script to the stop queue.
fn align(
    entity: Entity,
    scripts: &LuaScripts,
    states: &mut States,
    assets: Option<&AssetServer>,
    stopped: &mut StopQueue,
) {
    let handles = &scripts.scripts;
    let aligned = states.len() >= handles.len()
        && handles
            .iter()
            .zip(states.iter())
            .all(|(handle, state)| state.attached.asset == Some(handle.id()));
    if aligned && states.len() == handles.len() {
        return;
    }
    let mut old = std::mem::take(states);
    states.reserve_exact(handles.len());
    for handle in handles {
        let attached = |state: &ScriptState| state.attached.asset == Some(handle.id());
        let position = old.iter().position(attached).or_else(|| {
            // A state that was loaded or made by the game is known by its path.
            let path = path_of(handle, assets)?;
            old.iter().position(|state| state.attached.asset.is_none() && state.script == path)
        });
        let mut state = position.map(|position| old.remove(position)).unwrap_or_default();
        state.attached.asset = Some(handle.id());
        states.push(state);
    }
    for mut state in old {
        if state.attached.asset.is_some() {
            stopped.push(entity, &mut state);
        } else if !state.script.is_empty() {
            // A loaded state whose script is not on the entity yet is kept for it.
            states.push(state);
        }
    }
}

fn path_of(handle: &Handle<LuaScript>, assets: Option<&AssetServer>) -> Option<String> {
    handle
        .path()
        .cloned()
        .or_else(|| assets?.get_path(handle.id()).map(|path| path.into_owned()))
        .map(|path| path.to_string())
}

/// What one script has to do in this stage, if anything.
fn due(
    at: At,
    slot: usize,
    script: &LuaScript,
    state: &mut ScriptState,
    stage: Stage,
    frame: &mut Frame,
    taken: &mut Taken,
) -> Option<Unit> {
    let program = script.program();
    let attached = &mut state.attached;
    if attached.program.as_ref().is_none_or(|known| known.id() != program.id()) {
        attached.reload = attached.program.is_some() && state.started;
        if state.script.is_empty() {
            state.script = program.name().to_string();
        }
        attached.aside = Aside::default();
        attached.program = Some(program.clone());
    }
    let number = frame.programs.count(state, at, slot)?;
    let attached = &mut state.attached;
    if !attached.aside.may_run(frame.number) {
        return None;
    }
    let mail = taken.take(&frame.deliveries, at.entity, slot);
    let known = program.callbacks();
    let defines = |callback| known.is_none_or(|known| known.contains(callback));
    let ticks = defines(stage.callback());
    // The callback goes with the frame, not with the fixed steps in it.
    let reload = attached.reload && stage == Stage::Update;
    let any = !state.started || ticks || reload || (!mail.is_empty() && defines(Callback::Message));
    any.then(|| Unit {
        started: state.started,
        reload,
        more: (!mail.is_empty()).then(|| Box::new(MoreUnit { mail, ..MoreUnit::default() })),
        ticks,
        delta: attached.owed[stage as usize] + if ticks { frame.delta } else { 0.0 },
        waiting: attached.waiting,
        ..Unit::new(at.entity, slot, number)
    })
}

impl Programs {
    /// Counts who carries a program; gives its number.
    fn count(&mut self, state: &mut ScriptState, at: At, slot: usize) -> Option<u32> {
        let attached = &mut state.attached;
        let number = self.number(attached.program.as_ref()?, attached.asset, attached.number);
        attached.number = number;
        attached.place = Place::new(at.entity, self.numbering(), at.changed, slot);
        let carried = &mut self.list[number as usize];
        carried.count(1);
        if attached.aside.is_put_aside() {
            carried.count_aside(&attached.aside);
        }
        Some(number)
    }
}

/// Which deliveries found a script.
struct Taken {
    found: Vec<bool>,
    /// Those whose script can't take them yet.
    waiting: Vec<Delivery>,
}

impl Taken {
    fn new(deliveries: usize) -> Self {
        Self { found: vec![false; deliveries], waiting: Vec::new() }
    }

    /// The deliveries to an entity.
    fn of(deliveries: &[Delivery], entity: Entity) -> Range<usize> {
        if deliveries.is_empty() {
            return 0..0;
        }
        let key = order(entity);
        let start = deliveries.partition_point(|delivery| order(delivery.mail.to) < key);
        let rest = &deliveries[start..];
        start..start + rest.partition_point(|delivery| order(delivery.mail.to) == key)
    }

    /// Hands the script at a place what is for it; gives the deliveries to its entity if any is.
    fn take(&mut self, deliveries: &[Delivery], entity: Entity, slot: usize) -> Range<u32> {
        let to_entity = Self::of(deliveries, entity);
        let mut any = false;
        for index in to_entity.clone() {
            if deliveries[index].is_for(slot) {
                self.found[index] = true;
                any = true;
            }
        }
        // The mailbox holds fewer than that.
        if any { to_entity.start as u32..to_entity.end as u32 } else { 0..0 }
    }

    /// Keeps what is for the script at a place, or for all scripts of an entity.
    fn wait(&mut self, deliveries: &[Delivery], entity: Entity, slot: Option<usize>) {
        for index in Self::of(deliveries, entity) {
            let Delivery { mail, only } = &deliveries[index];
            if slot.is_none_or(|slot| deliveries[index].is_for(slot)) {
                self.found[index] = true;
                self.waiting.push(Delivery { mail: mail.clone(), only: slot.or(*only) });
            }
        }
    }

    /// Puts back what waits for a script, and counts what found none.
    fn settle(self, mailbox: &mut Mailbox, report: &mut Report) {
        // What waited longer goes before what was sent meanwhile.
        mailbox.waiting.splice(0..0, self.waiting);
        let lost = self.found.iter().filter(|found| !**found).count() as u64;
        report.frame.undelivered += lost + std::mem::take(&mut mailbox.dropped);
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): spreads every bit over all others.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
