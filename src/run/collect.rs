//! Who is due, and why.

mod chunk_scan;
mod known;
mod unchanged;

use std::ops::Range;
use std::time::Instant;

use bevy::asset::Assets;
use bevy::ecs::change_detection::{DetectChanges, DetectChangesMut, Tick};
use bevy::ecs::system::{SystemParam, SystemState};
use bevy::prelude::{
    AssetEvent, AssetServer, Entity, Handle, Local, MessageReader, Res, ResMut, Time, World,
};
use smallvec::SmallVec;

use crate::bindings::Backlog;
use crate::run::collect::chunk_scan::ChunkScan;
use crate::run::collect::unchanged::{Scripted, UnchangedScan};
use crate::run::frame::Frame;
use crate::run::invocation::{Invocation, InvocationExtras, Tally};
use crate::run::last_state::LastPlace;
use crate::run::lua_pool::{LuaPool, LuaScripting};
use crate::run::mailbox::{Deliveries, Mailbox};
use crate::run::order::mix;
use crate::run::program_table::ProgramTable;
use crate::run::report::Report;
use crate::run::stage::Stage;
use crate::run::stop::{StopQueue, Stopped};
use crate::script::{Backoff, LuaScript, LuaScripts, ScriptState, ScriptStates, StateLocation};
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
    /// What scanning the chunks of entities came to; kept for its buffers.
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

/// Fills [`Frame`] with the invocations of this stage, in the stable order: stopped ones first, then by the
/// entity's index and generation, then by the script's place on it.
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
    if frame.executed.take().is_some() {
        // They were never applied.
        frame.outcomes.clear();
        frame.tallies.iter_mut().for_each(Tally::clear);
    }
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
        frame.deliveries = Deliveries::of(mailbox.take());
    }
    let mut taken = Taken::new(frame.deliveries.len());

    frame.programs.begin(stage, &scripts);
    frame.shares.clear();
    frame.shared.clear();
    let scan = UnchangedScan { stage, delta: frame.delta, deliveries: &frame.deliveries };
    let threads = pool.config().pool.max_size;
    let unchanged =
        scan.collect(threads, &entities, &mut frame.programs, &mut invocations, &mut scans);
    frame.invocations = invocations;
    frame.any_waits = unchanged.any_waits;
    let of_unchanged = frame.invocations.len();

    for entity in scans.iter().flat_map(|scan| &scan.to_examine) {
        let Ok((entity, scripts_of, mut states)) = entities.get_mut(*entity) else { continue };
        let states = states.bypass_change_detection();
        let origin = states.origin;
        let names = Known { scripts: &scripts, assets: assets.as_deref() };
        align(entity, &scripts_of, states, names, &mut stopped);
        let states = &mut states.states;
        let at = At { entity, changed: scripts_of.last_changed() };
        if !scripts_of.enabled {
            taken.wait(&mut frame.deliveries, entity, None);
            for (slot, state) in states.iter_mut().enumerate() {
                frame.programs.count(state, at, slot);
            }
            continue;
        }
        let before = frame.invocations.len();
        for (slot, (handle, state)) in scripts_of.scripts.iter().zip(states).enumerate() {
            let Some(script) = scripts.get(handle) else {
                taken.wait(&mut frame.deliveries, entity, Some(slot));
                continue;
            };
            if state.attached.program.is_none() {
                known.keep(handle);
            }
            if let Some(mut invocation) = due(at, slot, script, state, stage, frame, &mut taken) {
                if let Some(origin) = frame.shares.count(origin) {
                    invocation.more.get_or_insert_default().origin = Some(origin);
                }
                frame.any_waits |= invocation.waiting > 0;
                frame.invocations.push(invocation);
            }
        }
        if frame.invocations.len() > before + 1 {
            frame.shared.push(entity);
        }
    }
    scans.iter().for_each(|scan| frame.shared.extend_from_slice(&scan.shared));
    for scan in &*scans {
        frame.paths.collected_unchanged += scan.unchanged as u64;
        frame.paths.collected_one_by_one += scan.to_examine.len() as u64;
    }
    // They nearly always are in order already.
    let in_order = unchanged.in_order && frame.invocations.len() == of_unchanged;
    if !in_order && !frame.invocations.is_sorted_by_key(Invocation::key) {
        frame.invocations.sort_by_key(Invocation::key);
    }

    if stage == Stage::Update {
        let (programs, shares) = (&mut frame.programs, &mut frame.shares);
        let (shared, any_waits) = (&mut frame.shared, &mut frame.any_waits);
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
        frame.invocations.splice(0..0, stops);
        taken.settle(&mut mailbox, &mut report, &mut frame.unsure);
        frame.deliveries.tell(&mut backlog);
    }
    frame.known_stops = stopped.stopped.len();
}

/// An entity, and when its list of scripts was last changed.
#[derive(Clone, Copy)]
struct At {
    entity: Entity,
    changed: Tick,
}

/// Takes back what was collected and never applied, because a run condition held back a later set. Gives the memory
/// of the last stage's invocations, with nothing of value in it.
fn put_back(
    frame: &mut Frame,
    entities: &mut Scripted<'_, '_>,
    mailbox: &mut Mailbox,
    stopped: &mut StopQueue,
) -> Vec<Invocation> {
    if frame.began.take().is_none() {
        return std::mem::take(&mut frame.invocations);
    }
    for number in 0..frame.invocations.len() {
        frame.leave_mail(number, 0);
    }
    mailbox.put_back(&mut frame.deliveries);
    let invocations = std::mem::take(&mut frame.invocations);
    for invocation in invocations.iter().filter(|it| !it.due.contains(Callback::Stop)) {
        if let Ok((_, _, mut states)) = entities.get_mut(invocation.entity)
            && let Some(state) = states.bypass_change_detection().states.get_mut(invocation.slot())
            && state.attached.number == invocation.program
        {
            state.attached.pending_delta[frame.stage as usize] = invocation.delta;
        }
    }
    let programs = &frame.programs.list;
    let stops = invocations.into_iter().filter_map(|mut invocation| {
        let last = invocation.take_stop()?;
        let program = programs[invocation.program as usize].program.clone();
        Some(Stopped { entity: invocation.entity, program, last })
    });
    stopped.stopped.splice(0..0, stops);
    Vec::new()
}

/// Gives each script of the list its state, and states without script to the stop queue.
fn align(
    entity: Entity,
    scripts: &LuaScripts,
    of_entity: &mut ScriptStates,
    known: Known<'_>,
    stopped: &mut StopQueue,
) {
    let handles = &scripts.scripts;
    let series = of_entity.next_series();
    let ScriptStates { states, origin, series: next_series } = of_entity;
    *next_series = series;
    let aligned = states.len() >= handles.len()
        && handles
            .iter()
            .zip(states.iter())
            .all(|(handle, state)| state.attached.asset == Some(handle.id()));
    if aligned && states.len() == handles.len() {
        return;
    }
    let mut old: SmallVec<[(usize, ScriptState); 1]> =
        std::mem::take(states).into_iter().enumerate().collect();
    states.reserve_exact(handles.len());
    for handle in handles {
        let attached = |state: &ScriptState| state.attached.asset == Some(handle.id());
        let position = old.iter().position(|(_, state)| attached(state));
        // One that has no name yet has not run: its script was not loaded, so that its state was not found.
        let is_found = position.is_some_and(|position| !old[position].1.script.is_empty());
        let waiting = if is_found { None } else { known.waiting(handle, &old) };
        let position = waiting.or(position);
        let mut state = position.map(|position| old.remove(position).1).unwrap_or_else(|| {
            *next_series = next_series.wrapping_add(1);
            ScriptState { series: next_series.wrapping_sub(1), ..ScriptState::default() }
        });
        state.attached.asset = Some(handle.id());
        states.push(state);
    }
    for (slot, mut state) in old {
        if state.attached.asset.is_some() {
            let at = LastPlace { slot: slot as u32, changed: Tick::default() };
            stopped.push(entity, at, &mut state, *origin);
        } else if !state.script.is_empty() {
            // A loaded state whose script is not on the entity yet is kept for it.
            states.push(state);
        }
    }
}

/// What is known of scripts by their handles.
#[derive(Clone, Copy)]
struct Known<'k> {
    scripts: &'k Assets<LuaScript>,
    assets: Option<&'k AssetServer>,
}

impl Known<'_> {
    /// The first state that waits for a script: one that was loaded or made by the game, and is known by the
    /// script's name, or by its path as long as the script is not loaded.
    fn waiting(self, handle: &Handle<LuaScript>, states: &[(usize, ScriptState)]) -> Option<usize> {
        let waits = |state: &ScriptState| state.attached.asset.is_none();
        let find =
            |name: &str| states.iter().position(|(_, state)| waits(state) && state.script == name);
        // Most are new, and nothing waits for them.
        states.iter().find(|(_, state)| waits(state))?;
        let script = self.scripts.get(handle);
        let by_name = script.and_then(|script| find(script.program().name()));
        by_name.or_else(|| find(&self.path_of(handle)?))
    }

    fn path_of(self, handle: &Handle<LuaScript>) -> Option<String> {
        handle
            .path()
            .cloned()
            .or_else(|| self.assets?.get_path(handle.id()).map(|path| path.into_owned()))
            .map(|path| path.to_string())
    }
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
) -> Option<Invocation> {
    let program = script.program();
    let attached = &mut state.attached;
    if attached.program.as_ref().is_none_or(|known| known.id() != program.id()) {
        attached.reload = attached.program.is_some() && state.started;
        // Under this name the state is found again once it was saved and loaded.
        if state.script != **program.name() {
            state.script = program.name().to_string();
        }
        attached.aside = Backoff::default();
        attached.program = Some(program.clone());
    }
    let number = frame.programs.count(state, at, slot)?;
    let attached = &mut state.attached;
    if !attached.aside.may_run(frame.number) {
        return None;
    }
    let takes_messages = attached.aside.takes_messages(frame.number);
    let known = program.callbacks();
    let defines = |callback| known.is_none_or(|known| known.contains(callback));
    let mail = match known {
        _ if !takes_messages => 0..0,
        // Where it has no callback for them, they find another script or none.
        Some(known) if !known.contains(Callback::Message) => 0..0,
        _ => taken.take(&frame.deliveries, at.entity, slot, known.is_some()),
    };
    let ticks = defines(stage.callback());
    let mut due = CallbackSet::default();
    for (callback, is_due) in [
        (Callback::Start, !state.started),
        // It goes with the frame, not with the fixed steps in it.
        (Callback::Reload, attached.reload && stage == Stage::Update),
        (Callback::Message, !mail.is_empty()),
        (stage.callback(), ticks),
    ] {
        if is_due {
            due.insert(callback);
        }
    }
    (due != CallbackSet::default()).then(|| Invocation {
        due,
        more: (!mail.is_empty()).then(|| {
            Box::new(InvocationExtras {
                mail,
                unsure: known.is_none(),
                ..InvocationExtras::default()
            })
        }),
        delta: attached.pending_delta[stage as usize] + if ticks { frame.delta } else { 0.0 },
        waiting: attached.waiting[stage as usize].into(),
        ..Invocation::new(at.entity, slot, number)
    })
}

impl ProgramTable {
    /// Counts who carries a program; gives its number.
    fn count(&mut self, state: &mut ScriptState, at: At, slot: usize) -> Option<u32> {
        let attached = &mut state.attached;
        let number = self.number(attached.program.as_ref()?, attached.asset, attached.number);
        attached.number = number;
        attached.place = StateLocation::new(at.entity, self.numbering(), at.changed, slot);
        let carried = &mut self.list[number as usize];
        carried.count(1);
        if attached.aside.is_put_aside() {
            carried.count_aside(attached.aside.next_try());
        }
        Some(number)
    }
}

/// Whether a delivery found a script.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Receiver {
    None,
    /// One of which it isn't known yet whether it has a callback for messages.
    Perhaps,
    Found,
}

/// Which deliveries found a script.
struct Taken {
    found: Vec<Receiver>,
}

impl Taken {
    fn new(deliveries: usize) -> Self {
        Self { found: vec![Receiver::None; deliveries] }
    }

    /// Hands the script at a place what is for it, which is known to take messages, or may; gives the deliveries
    /// to its entity if any is.
    fn take(
        &mut self,
        deliveries: &Deliveries,
        entity: Entity,
        slot: usize,
        is_known: bool,
    ) -> Range<u32> {
        let receiver = if is_known { Receiver::Found } else { Receiver::Perhaps };
        let any = self.find(deliveries, entity, Some(slot), receiver);
        if any { deliveries.to(entity) } else { 0..0 }
    }

    /// Leaves what is for the script at a place, or for all scripts of an entity: they can't take it yet.
    fn wait(&mut self, deliveries: &mut Deliveries, entity: Entity, slot: Option<usize>) {
        self.find(deliveries, entity, slot, Receiver::Found);
        match slot {
            Some(slot) => deliveries.leave(deliveries.to(entity), slot, 0),
            None => deliveries.leave_all(deliveries.to(entity)),
        }
    }

    /// Notes that what is for the script at a place, or for all, found a receiver; gives whether anything is.
    fn find(
        &mut self,
        deliveries: &Deliveries,
        entity: Entity,
        slot: Option<usize>,
        receiver: Receiver,
    ) -> bool {
        let mut any = false;
        for index in deliveries.to(entity) {
            let index = index as usize;
            if slot.is_none_or(|slot| deliveries[index].is_for(slot)) {
                self.found[index] = self.found[index].max(receiver);
                any = true;
            }
        }
        any
    }

    /// Counts what found no script. Of what perhaps found one, `unsure` tells, if there is any.
    fn settle(self, mailbox: &mut Mailbox, report: &mut Report, unsure: &mut Vec<bool>) {
        let of = |receiver| self.found.iter().filter(|found| **found == receiver).count();
        report.frame.undelivered += of(Receiver::None) as u64 + mailbox.take_dropped();
        if of(Receiver::Perhaps) > 0 {
            unsure.extend(self.found.iter().map(|found| *found == Receiver::Perhaps));
        }
    }
}
