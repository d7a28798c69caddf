//! Applies what the runs of a stage want to change: on one thread, in the stable order.

use std::collections::HashMap;
use std::sync::Arc;

use bevy::ecs::change_detection::{DetectChanges, DetectChangesMut, Tick};
use bevy::ecs::entity::EntityHashSet;
use bevy::ecs::reflect::AppTypeRegistry;
use bevy::log::{error, info, warn};
use bevy::prelude::{AssetServer, ChildOf, Entity, Messages, World};
use bevy::reflect::TypeRegistry;

use super::frame::{Frame, LuaPool, MoreOutcome, Stage, Unit, UnitOutcome};
use super::messages::{Mailbox, ScriptEvent, ScriptFailed};
use super::plain::{PlainStage, numbers};
use super::programs::{CarriedProgram, Programs};
use super::report::Report;
use super::stop::{StopQueue, Stopped};
use crate::bindings::{
    Bindings, Change, Command, Effects, KnownSpot, LateBindings, LeafWrite, LogLine, Mail,
    map_entities, new_entity_index,
};
use crate::script::{LuaScripts, Patience, ScriptStates};
use crate::vm::{FieldPath, LogLevel, StateChange};

/// Applies the outcomes of [`Frame`].
pub(crate) fn apply(world: &mut World) {
    let mut frame = std::mem::take(&mut *world.resource_mut::<Frame>());
    // If a run condition held back the execution, collecting puts the units back.
    if let Some(executed) = frame.executed.take()
        && let Some(began) = frame.began.take()
    {
        let registry = world.resource::<AppTypeRegistry>().clone();
        let bindings = world.remove_resource::<Bindings>().expect("the plugin inserted it");
        let mut report = std::mem::take(&mut *world.resource_mut::<Report>());
        let mut programs = std::mem::take(&mut frame.programs);
        let mut stage = ApplyingStage {
            contended: Contended::of(&mut frame),
            stage: frame.stage,
            executed,
            figures: report.numbers_of(&programs),
            programs: &mut programs,
            number: frame.number,
            patience: Patience::from(world.resource::<LuaPool>().config()),
            registry: &registry.read(),
            bindings: &bindings,
            report: &mut report,
            kept: None,
            mail: Vec::new(),
            lines_left: MAX_LINES,
        };
        for tally in &mut frame.tallies {
            stage.report.runs(&stage.figures, tally);
        }
        let mut outcomes = std::mem::take(&mut frame.outcomes);
        let mut query = frame.plain.take().unwrap_or_else(|| world.query());
        let plain = PlainStage {
            units: &frame.units,
            programs: stage.programs,
            spots: &bindings.exposure.spots,
            contended: &stage.contended.entities,
            stage: stage.stage,
            patience: &stage.patience,
            executed,
            threads: world.resource::<LuaPool>().config().max_size,
        };
        let mut left = std::mem::take(&mut frame.left);
        let writes = plain.apply(world, &mut query, &mut outcomes, &mut left);
        stage.report.frame.writes += writes;
        frame.plain = Some(query);
        // States first: what follows may run code of the game, which may change any of them.
        for number in numbers(&left) {
            let outcome = &mut outcomes[number];
            if !outcome.deferred {
                stage.settle(world, &frame.units[number], outcome);
            }
        }
        let mut put_back = Vec::new();
        for number in numbers(&left) {
            let (unit, outcome) = (&frame.units[number], &mut outcomes[number]);
            if !unit.mail().is_empty() {
                let taken = outcome.more.as_ref().map_or(0, |more| more.mail_taken);
                put_back.extend(frame.undelivered(unit).skip(taken));
            }
            if outcome.deferred {
                stage.defer(world, &mut frame.units[number]);
            } else {
                stage.apply(world, unit, outcome);
            }
            outcome.deferred = false;
            frame.units[number].more = None;
        }
        frame.outcomes = outcomes;
        frame.left = left;
        stage.tell_of_strays();
        if stage.lines_left == 0 {
            warn!("scripts logged more than {MAX_LINES} lines at once: the others are left out");
        }
        let mail = stage.mail;
        frame.programs = programs;
        report.frame.messages += mail.len() as u64;
        let mut mailbox = world.resource_mut::<Mailbox>();
        mailbox.waiting.splice(0..0, put_back);
        mailbox.put(mail);
        report.end_of_stage(began.elapsed(), frame.leased);
        *world.resource_mut::<Report>() = report;
        world.insert_resource(bindings);
        frame.spare = std::mem::take(&mut frame.units);
    }
    *world.resource_mut::<Frame>() = frame;
    // Nothing is in use any more, the registry of types included.
    LateBindings::settle(world);
}

struct ApplyingStage<'s> {
    registry: &'s TypeRegistry,
    bindings: &'s Bindings,
    report: &'s mut Report,
    programs: &'s mut Programs,
    /// The numbers of the programs' figures in the report.
    figures: Vec<usize>,
    contended: Contended,
    stage: Stage,
    /// When the runs had ended.
    executed: Tick,
    /// Frames before this one.
    number: u64,
    patience: Patience,
    /// The last entity whose states were kept.
    kept: Option<Entity>,
    mail: Vec<Mail>,
    /// Log lines that may still be written.
    lines_left: usize,
}

/// Log lines of scripts that are written in one stage; of those that come after them, only that they were
/// left out.
const MAX_LINES: usize = 4096;

impl ApplyingStage<'_> {
    fn defer(&mut self, world: &mut World, unit: &mut Unit) {
        self.report.frame.deferred += 1;
        if let Some(state) = unit.take_stop() {
            let program = Arc::clone(&self.programs.list[unit.program as usize].program);
            let stopped = Stopped { entity: unit.entity, program, state };
            world.resource_mut::<StopQueue>().stopped.push(stopped);
        } else if let Some(mut states) = world.get_mut::<ScriptStates>(unit.entity)
            && let Some(state) = states.bypass_change_detection().states.get_mut(unit.slot())
        {
            state.attached.waiting += 1;
            state.attached.owed[self.stage as usize] = unit.delta;
        }
    }

    /// Gives the entities that a unit spawned their places in the world, and keeps its state.
    fn settle(&mut self, world: &mut World, unit: &Unit, outcome: &mut UnitOutcome) {
        if let Some(more) = &mut outcome.more
            && !more.effects.spawned.is_empty()
        {
            more.new.extend(more.effects.spawned.iter().map(|_| world.spawn_empty().id()));
            self.report.frame.spawned += more.new.len() as u64;
            settle_new_entities(&mut outcome.state, more);
        }
        outcome.put_aside = self.keep_state(world, unit, outcome);
    }

    /// Applies the rest, and leaves an empty outcome.
    fn apply(&mut self, world: &mut World, unit: &Unit, outcome: &mut UnitOutcome) {
        for leaf in outcome.leaves.drain(..) {
            self.write_leaf(world, leaf);
        }
        if let Some(more) = outcome.more.take() {
            self.apply_more(world, unit, *more, outcome.put_aside);
        }
    }

    fn apply_more(
        &mut self,
        world: &mut World,
        unit: &Unit,
        mut more: MoreOutcome,
        put_aside: bool,
    ) {
        let figures = self.figures[unit.program as usize];
        self.report.failed(figures, more.failures.len() as u64);
        let program = Arc::clone(&self.programs.list[unit.program as usize].program);
        let script = program.name();
        for line in &more.effects.logs {
            self.report.frame.log_lines += 1;
            if self.lines_left > 0 {
                self.lines_left -= 1;
                write_log(unit, script, line);
            }
        }
        furnish(world, unit.entity, &mut more.effects, &more.new);
        self.write_components(world, &mut more.effects, &more.new);
        for command in more.effects.commands.drain(..) {
            match command {
                Command::Despawn(entity) => {
                    self.report.frame.despawned += u64::from(world.despawn(entity));
                }
                Command::Host(command) => command(world),
            }
        }
        self.mail.append(&mut more.effects.messages);
        for (name, payload) in more.effects.emitted.drain(..) {
            let event = ScriptEvent { entity: unit.entity, script: script.clone(), name, payload };
            world.resource_mut::<Messages<ScriptEvent>>().write(event);
        }
        for (callback, failure) in more.failures.drain(..) {
            self.report.failure(unit.entity, callback, &failure);
            let failed = ScriptFailed { entity: unit.entity, callback, failure, put_aside };
            world.resource_mut::<Messages<ScriptFailed>>().write(failed);
        }
    }

    /// Stores `self` and what the frame knows of the script. Gives whether it is put aside now.
    fn keep_state(&mut self, world: &mut World, unit: &Unit, outcome: &mut UnitOutcome) -> bool {
        if unit.stop().is_some() {
            return false;
        }
        let now = world.change_tick();
        let mut states = world.get_mut::<ScriptStates>(unit.entity);
        // The game changed it since the runs ended; it knew better.
        let touched = self.kept != Some(unit.entity)
            && states
                .as_ref()
                .is_some_and(|states| states.last_changed().is_newer_than(self.executed, now));
        if !touched {
            self.kept = Some(unit.entity);
        }
        let state = states
            .as_mut()
            .and_then(|states| states.bypass_change_detection().states.get_mut(unit.slot()))
            // The game may have put another state there in the same stage.
            .filter(|state| {
                let program = state.attached.program.as_ref();
                let ran = &self.programs.list[unit.program as usize].program;
                program.is_some_and(|program| program.id() == ran.id())
            });
        let Some(state) = state else {
            let program = &self.programs.list[unit.program as usize].program;
            world.resource_mut::<StopQueue>().catch_up(unit, program, outcome);
            return false;
        };
        let mut changed = state.started != outcome.started;
        state.started = outcome.started;
        match std::mem::take(&mut outcome.state) {
            StateChange::Unchanged => {}
            _ if touched => self.report.frame.conflicts += 1,
            change => {
                changed |= change.apply(&mut state.fields);
            }
        }
        let attached = &mut state.attached;
        attached.waiting = 0;
        attached.owed[self.stage as usize] = if outcome.unfinished { unit.delta } else { 0.0 };
        if unit.reload && !outcome.unfinished {
            attached.reload = false;
        }
        let before = attached.aside.is_put_aside();
        if before && outcome.ran {
            self.report.retried(self.figures[unit.program as usize]);
        }
        if outcome.failing {
            attached.aside.failed(self.stage as usize, &self.patience, self.number, unit.entity);
        } else if outcome.ran {
            attached.aside.succeeded(self.stage as usize, &self.patience);
        }
        let aside = attached.aside;
        let put_aside = aside.is_put_aside();
        if changed && let Some(mut states) = states {
            states.set_changed();
        }
        if put_aside && !before {
            let carried = &mut self.programs.list[unit.program as usize];
            carried.count_aside(&aside);
            let interval = aside.next_try().map(|frame| frame - self.number);
            let failures = aside.failures(self.stage as usize);
            self.report.put_aside(carried.program.name(), unit.entity, failures, interval);
        }
        put_aside
    }

    /// Warns of globals that callbacks assign.
    fn tell_of_strays(&self) {
        for CarriedProgram { program, .. } in &self.programs.list {
            for (callback, global) in program.take_strays() {
                let script = program.name();
                warn!(
                    %script,
                    "{script}: {} assigns the global `{global}`, which is gone after the run; make \
                     it `local`, or keep it as `self.{global}`",
                    callback.name(),
                );
            }
        }
    }

    fn write_leaf(&mut self, world: &mut World, leaf: LeafWrite) {
        let LeafWrite { entity, spot, value } = leaf;
        let KnownSpot { component, path, .. } = *self.bindings.exposure.spots.get(spot);
        let conflicts = self.contended.claim(entity, component, &[path]);
        self.report.frame.conflicts += conflicts;
        match self.bindings.exposure.get(component).write_leaf(world, entity, &path, &value) {
            Some(written) => self.report.frame.writes += u64::from(written),
            // The entity or the component went in the same stage: that write won.
            None => self.report.frame.conflicts += u64::from(conflicts == 0),
        }
    }

    fn write_components(&mut self, world: &mut World, effects: &mut Effects, new: &[Entity]) {
        for draft in effects.drafts.drain(..) {
            let entity = settle(draft.entity, new);
            let exposed = self.bindings.exposure.get(draft.component);
            let whole = [FieldPath::default()];
            let paths: &[FieldPath] = match &draft.change {
                Change::Edited { paths, .. } => paths,
                _ => &whole,
            };
            let conflicts = self.contended.claim(entity, draft.component, paths);
            self.report.frame.conflicts += conflicts;
            match draft.change {
                Change::Edited { mut copy, paths } => {
                    if !new.is_empty() {
                        map_entities(copy.as_partial_reflect_mut(), &mut |e| settle(e, new));
                    }
                    let copy = copy.as_partial_reflect();
                    match exposed.write_back(world, entity, copy, &paths) {
                        Some(written) => self.report.frame.writes += written,
                        // The entity or the component went in the same stage: that write won.
                        None => self.report.frame.conflicts += u64::from(conflicts == 0),
                    }
                }
                Change::Inserted(mut value) => {
                    if !new.is_empty() {
                        map_entities(value.as_partial_reflect_mut(), &mut |e| settle(e, new));
                    }
                    if world.get_entity(entity).is_err() {
                        self.report.frame.conflicts += 1;
                        continue;
                    }
                    exposed.insert(world, entity, value.as_partial_reflect(), self.registry);
                    self.report.frame.writes += 1;
                }
                Change::Removed => {
                    self.report.frame.writes += u64::from(exposed.is_on(world, entity));
                    exposed.remove(world, entity);
                }
            }
        }
    }
}

/// Gives the entities that a unit spawned their parents and scripts.
fn furnish(world: &mut World, spawner: Entity, effects: &mut Effects, new: &[Entity]) {
    let origin = world.get::<ScriptStates>(spawner).and_then(|states| states.origin);
    let origin = origin.or(Some(spawner));
    for (spawn, entity) in effects.spawned.drain(..).zip(new) {
        // The code of the game that runs meanwhile may despawn it.
        if let Some(parent) = spawn.parent.map(|parent| settle(parent, new))
            && world.get_entity(parent).is_ok()
            && let Ok(mut child) = world.get_entity_mut(*entity)
        {
            child.insert(ChildOf(parent));
        }
        if !spawn.scripts.is_empty()
            && let Some(assets) = world.get_resource::<AssetServer>()
        {
            let scripts: LuaScripts =
                spawn.scripts.into_iter().map(|path| assets.load(path)).collect();
            if let Ok(mut entity) = world.get_entity_mut(*entity) {
                entity.insert((scripts, ScriptStates { origin, ..ScriptStates::default() }));
            }
        }
    }
}

/// The entity in the world that a stand-in stands for.
fn settle(entity: Entity, new: &[Entity]) -> Entity {
    new_entity_index(entity).and_then(|index| new.get(index)).copied().unwrap_or(entity)
}

/// Replaces stand-ins in everything but components.
fn settle_new_entities(state: &mut StateChange, more: &mut MoreOutcome) {
    let MoreOutcome { new, effects, .. } = more;
    let map = &mut |entity| settle(entity, new);
    state.map_entities(map);
    for mail in &mut effects.messages {
        mail.to = settle(mail.to, new);
        mail.payload.map_entities(map);
    }
    for (_, payload) in &mut effects.emitted {
        payload.map_entities(map);
    }
    for command in &mut effects.commands {
        if let Command::Despawn(entity) = command {
            *entity = settle(*entity, new);
        }
    }
}

fn write_log(unit: &Unit, script: &str, line: &LogLine) {
    let (entity, at) = (unit.entity, line.line.unwrap_or(0));
    match line.level {
        LogLevel::Info => info!(%script, line = at, %entity, "{}", line.text),
        LogLevel::Warn => warn!(%script, line = at, %entity, "{}", line.text),
        LogLevel::Error => error!(%script, line = at, %entity, "{}", line.text),
    }
}

/// Fields that more than one unit may write in this stage, and who did.
///
/// Most units write only their own entity, which no other unit touches: for those nothing is noted.
struct Contended {
    entities: EntityHashSet,
    written: HashMap<(Entity, u32), Vec<FieldPath>>,
}

impl Contended {
    fn of(frame: &mut Frame) -> Self {
        let mut entities: EntityHashSet = frame.shared.iter().copied().collect();
        for number in frame.tallies.iter_mut().flat_map(|tally| tally.reaching.drain(..)) {
            let (unit, outcome) = (&frame.units[number], &frame.outcomes[number]);
            let drafts = outcome.more.iter().flat_map(|more| &more.effects.drafts);
            let drafts = drafts.map(|draft| draft.entity);
            let leaves = outcome.leaves.iter().map(|leaf| leaf.entity);
            let others = drafts.chain(leaves);
            entities.extend(others.filter(|other| *other != unit.entity));
        }
        Self { entities, written: HashMap::new() }
    }

    /// Notes the places that a unit wrote; gives how many an earlier unit had written.
    fn claim(&mut self, entity: Entity, component: u32, paths: &[FieldPath]) -> u64 {
        if self.entities.is_empty() || !self.entities.contains(&entity) {
            return 0;
        }
        let written = self.written.entry((entity, component)).or_default();
        let overlap = |path: &FieldPath| {
            written.iter().any(|other| other.contains(path) || path.contains(other))
        };
        let conflicts = paths.iter().filter(|path| overlap(path)).count() as u64;
        written.extend_from_slice(paths);
        conflicts
    }
}
