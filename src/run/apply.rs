//! Applies what the runs of a stage want to change: on one thread, in the stable order.

pub(super) mod parallel;
pub(super) mod spawn;

use std::collections::HashMap;
use std::sync::Arc;

use bevy::ecs::change_detection::{DetectChanges, DetectChangesMut, Tick};
use bevy::ecs::entity::EntityHashSet;
use bevy::ecs::reflect::AppTypeRegistry;
use bevy::log::{error, info, tracing, warn};
use bevy::prelude::{ChildOf, Entity, Local, Messages, World};
use bevy::reflect::TypeRegistry;

use crate::bindings::{
    Backlog, Bindings, Command, ComponentWrite, LateBindings, Population, SpawnedByScript,
    WriteLog, fits, map_entities, new_entity_index, origin_of,
};
use crate::escape::{escaped, log_text};
use crate::run::apply::parallel::{ParallelApply, PlainQuery, set_bits};
use crate::run::apply::spawn::{Spawner, furnish, refuse_child};
use crate::run::frame::Frame;
use crate::run::invocation::{Invocation, InvocationOutcome, OutcomeExtras};
use crate::run::log::LineRate;
use crate::run::lua_pool::LuaPool;
use crate::run::mailbox::{Deliveries, Delivery, Mailbox, Refused};
use crate::run::messages::{Outbox, ScriptEvent, ScriptFailed};
use crate::run::program_table::{CarriedProgram, ProgramTable};
use crate::run::report::Report;
use crate::run::shares::Shares;
use crate::run::stage::Stage;
use crate::run::stop::{Meanwhile, StopQueue, Stopped};
use crate::script::{Judgement, RetryPolicy, ScriptStates};
use crate::vm::{Callback, FieldId, FieldPath, LogLevel, LogLine, StateChange};

/// Applies the outcomes of [`Frame`].
///
/// `query` finds the entities that plain outcomes change. `left` is a buffer that is kept from frame to frame: a bit
/// for each invocation whose outcome is not plain.
pub(crate) fn apply(world: &mut World, query: &mut PlainQuery, mut left: Local<Vec<u64>>) {
    let mut frame = std::mem::take(&mut *world.resource_mut::<Frame>());
    // If a run condition held back the execution, collecting puts the invocations back.
    if let Some(executed) = frame.executed.take()
        && let Some(began) = frame.began.take()
    {
        let registry = world.resource::<AppTypeRegistry>().clone();
        let bindings = world.remove_resource::<Bindings>().expect("the plugin inserted it");
        let mut report = std::mem::take(&mut *world.resource_mut::<Report>());
        let mut programs = std::mem::take(&mut frame.programs);
        let shares = std::mem::take(&mut frame.shares);
        let mut stage = ApplyingStage {
            contended: Contended::of(&mut frame),
            stage: frame.stage,
            executed,
            figures: report.numbers_of(&programs),
            programs: &mut programs,
            shares: &shares,
            number: frame.number,
            patience: RetryPolicy::from(world.resource::<LuaPool>().config()),
            registry: &registry.read(),
            bindings: &bindings,
            report: &mut report,
            kept: None,
            known_stops: frame.known_stops,
            mail: Vec::new(),
            unheard: Vec::new(),
            looks_left: MAX_LOOKS,
        };
        for tally in &mut frame.tallies {
            stage.report.runs(&stage.figures, tally);
        }
        for tally in &mut frame.tallies {
            stage.report.undone(&stage.figures, tally);
        }
        let mut outcomes = std::mem::take(&mut frame.outcomes);
        let parallel = ParallelApply {
            invocations: &frame.invocations,
            programs: stage.programs,
            spots: &bindings.exposure.fields,
            contended: &stage.contended.entities,
            stage: stage.stage,
            retry: &stage.patience,
            executed,
            threads: world.resource::<LuaPool>().config().pool.max_size,
        };
        let writes = parallel.apply(world, query, &mut outcomes, &mut left, &mut frame.paths);
        stage.report.frame.writes += writes;
        stage.tell_of_file_levels();
        // States first: what follows may run code of the game, which may change any of them.
        for number in set_bits(&left) {
            let outcome = &mut outcomes[number];
            if !outcome.deferred {
                stage.settle(world, &frame.invocations[number], outcome);
            }
        }
        let undelivered = count_unheard(&mut frame, stage.programs, &outcomes, &left);
        stage.report.frame.undelivered += undelivered;
        for number in set_bits(&left) {
            let outcome = &mut outcomes[number];
            if !frame.invocations[number].mail().is_empty() {
                let taken = outcome.more.as_ref().map_or(0, |more| more.mail_taken);
                frame.leave_mail(number, taken);
            }
            let invocation = &frame.invocations[number];
            if outcome.deferred {
                stage.defer(world, &mut frame.invocations[number]);
            } else {
                stage.apply(world, invocation, outcome);
                frame.paths.applied_one_by_one += 1;
            }
            outcome.deferred = false;
            frame.invocations[number].more = None;
        }
        frame.outcomes = outcomes;
        stage.tell_of_strays();
        if let Some(count) = stage.report.lines.take_left_out(stage.number)
            && stage.report.log.take()
        {
            warn!("scripts log too much together: {count} lines are left out");
        }
        stage.send(world, &mut frame.deliveries);
        frame.programs = programs;
        frame.shares = shares;
        report.end_of_stage(began.elapsed(), frame.leased);
        *world.resource_mut::<Report>() = report;
        world.insert_resource(bindings);
    }
    *world.resource_mut::<Frame>() = frame;
    // Nothing is in use any more, the registry of types included.
    LateBindings::settle(world);
}

struct ApplyingStage<'s> {
    registry: &'s TypeRegistry,
    bindings: &'s Bindings,
    report: &'s mut Report,
    programs: &'s mut ProgramTable,
    shares: &'s Shares,
    /// The numbers of the programs' figures in the report.
    figures: Vec<usize>,
    contended: Contended,
    stage: Stage,
    /// When the runs had ended.
    executed: Tick,
    /// Frames before this one.
    number: u64,
    patience: RetryPolicy,
    /// The last entity whose states were kept.
    kept: Option<Entity>,
    /// Stops that were queued when the invocations were collected.
    known_stops: usize,
    mail: Vec<Delivery>,
    /// Scripts some of whose events were not emitted, and an entity that wanted it.
    unheard: Vec<(Arc<str>, Entity)>,
    /// Descendants that may still be looked at when scripts move entities.
    looks_left: usize,
}

/// Descendants that are looked at in one stage when scripts move entities.
const MAX_LOOKS: usize = 1 << 18;

/// Globals that are told of each time that some were found in a script.
const MAX_STRAYS: usize = 8;

impl ApplyingStage<'_> {
    /// Sends what the scripts sent, and before it what waits on; tells of what is refused.
    fn send(&mut self, world: &mut World, deliveries: &mut Deliveries) {
        let mail = std::mem::take(&mut self.mail);
        self.report.frame.messages += mail.len() as u64;
        let mut mailbox = world.resource_mut::<Mailbox>();
        mailbox.put_back(deliveries);
        let refused = mailbox.put(mail);
        let mut backlog = world.resource_mut::<Backlog>();
        // In fixed steps nearly nothing is sent.
        if !refused.is_empty() || self.stage == Stage::Update {
            backlog.refuses = !refused.is_empty();
        }
        for Refused { from, sender, to, line, bound, count } in refused {
            self.report.frame.undelivered += count;
            let mut programs = self.programs.list.iter().map(|carried| &carried.program);
            if let Some(program) = programs.find(|program| program.name_hash() == from) {
                let message = format!(
                    "messages were refused, the first one to {to}: {bound}; send less, or to those that take \
                     messages"
                );
                self.report.refused((program.name(), line), sender, &message);
            }
        }
        for (script, sender) in self.unheard.drain(..) {
            let message = format!(
                "events were not emitted: of the last two frames, read or not, {} with {} bytes are kept; \
                 emit fewer",
                Outbox::MOST.count,
                Outbox::MOST.bytes
            );
            self.report.refused((&script, None), sender, &message);
        }
    }

    fn defer(&mut self, world: &mut World, invocation: &mut Invocation) {
        let stage = self.stage as usize;
        if let Some(mut last) = invocation.take_stop() {
            let program = Arc::clone(&self.programs.list[invocation.program as usize].program);
            last.waiting = last.waiting.saturating_add(1);
            let stopped = Stopped { entity: invocation.entity, program, last };
            world.resource_mut::<StopQueue>().stopped.push(stopped);
        } else if let Some(mut states) = world.get_mut::<ScriptStates>(invocation.entity)
            && let Some(state) = states.bypass_change_detection().states.get_mut(invocation.slot())
            && self.programs.is_run_by(invocation, state)
        {
            let waiting = &mut state.attached.waiting[stage];
            *waiting = waiting.saturating_add(1);
            state.attached.pending_delta[stage] = invocation.delta;
        } else {
            // The game took it away.
            return;
        }
        self.report.frame.deferred += 1;
    }

    /// Gives the entities that an invocation spawned their places in the world, and keeps its state.
    fn settle(
        &mut self,
        world: &mut World,
        invocation: &Invocation,
        outcome: &mut InvocationOutcome,
    ) {
        if let Some(more) = &mut outcome.more
            && !more.effects.spawned.is_empty()
        {
            // It, or one of this stage before it, may despawn its entity.
            let origin =
                origin_of(world, invocation.entity).or_else(|| self.shares.origin_of(invocation));
            let origin = origin.unwrap_or(invocation.entity);
            more.origin = Some(origin);
            for _ in &more.effects.spawned {
                // Others were quicker: it has a place only until it is told that it can't stay.
                let id = if world.resource::<Population>().has_room(origin, 1) {
                    more.admitted += 1;
                    world.spawn(SpawnedByScript { origin }).id()
                } else {
                    world.spawn_empty().id()
                };
                more.new.push(id);
            }
            self.report.frame.spawned += more.admitted as u64;
            settle_new_entities(&mut outcome.state, more);
        }
        outcome.put_aside = self.keep_state(world, invocation, outcome);
    }

    /// Applies the rest, and leaves an empty outcome.
    fn apply(
        &mut self,
        world: &mut World,
        invocation: &Invocation,
        outcome: &mut InvocationOutcome,
    ) {
        let mut writes = std::mem::take(&mut outcome.writes);
        if !writes.is_empty() {
            let new = outcome.more.as_ref().map_or(&[][..], |more| &more.new);
            writes.retain(|write| {
                let is_of_field = write.value.is_of_field();
                if is_of_field {
                    self.write_field(world, write, new);
                }
                !is_of_field
            });
        }
        if let Some(more) = outcome.more.take() {
            self.apply_more(world, invocation, *more, writes, outcome.put_aside);
        } else if !writes.is_empty() {
            let program = Arc::clone(&self.programs.list[invocation.program as usize].program);
            self.write_components(world, (invocation.entity, program.name()), writes, &[]);
        }
    }

    fn apply_more(
        &mut self,
        world: &mut World,
        invocation: &Invocation,
        mut more: OutcomeExtras,
        writes: WriteLog,
        put_aside: bool,
    ) {
        let figures = self.figures[invocation.program as usize];
        self.report.failed(figures, more.failures.len() as u64);
        let program = Arc::clone(&self.programs.list[invocation.program as usize].program);
        let script = program.name();
        if !more.effects.logs.is_empty() {
            let program = invocation.program as usize;
            self.log(program, Some(invocation.entity), script, &more.effects.logs);
        }
        // Nearly all spawn nothing.
        if !more.effects.spawned.is_empty() {
            let origin = more.origin.unwrap_or(invocation.entity);
            let spawner = Spawner { entity: invocation.entity, script, origin };
            furnish(world, &spawner, &mut more, self.report);
        }
        self.write_components(world, (invocation.entity, script), writes, &more.new);
        for command in more.effects.commands.drain(..) {
            match command {
                Command::Despawn(entity) => {
                    self.report.frame.despawned += u64::from(world.despawn(entity));
                }
                Command::Host(command) => command(world),
            }
        }
        let from = program.name_hash();
        let messages = more.effects.messages.drain(..);
        self.mail.extend(messages.map(|mail| Delivery::new(mail, from)));
        for (name, payload) in more.effects.emitted.drain(..) {
            let mut events = world.resource_mut::<Messages<ScriptEvent>>();
            let event =
                ScriptEvent { entity: invocation.entity, script: script.clone(), name, payload };
            if self.report.outbox.has_room_for(&event, events.len()) {
                events.write(event);
            } else if self.unheard.iter().all(|(known, _)| known != script) {
                self.unheard.push((script.clone(), invocation.entity));
            }
        }
        for (callback, failure) in more.failures.drain(..) {
            self.report.failure(invocation.entity, callback, &failure);
            let mut failures = world.resource_mut::<Messages<ScriptFailed>>();
            if failures.len() < Outbox::MOST_FAILURES {
                let entity = invocation.entity;
                failures.write(ScriptFailed { entity, callback, failure, put_aside });
            }
        }
    }

    /// Writes what file levels wrote when they ran first.
    fn tell_of_file_levels(&mut self) {
        for number in 0..self.programs.list.len() {
            let program = Arc::clone(&self.programs.list[number].program);
            let lines = program.take_file_lines();
            if !lines.is_empty() {
                self.log(number, None, program.name(), &lines);
            }
        }
    }

    /// Writes the lines that a script logged, as far as it may.
    fn log(
        &mut self,
        program: usize,
        entity: Option<Entity>,
        script: &Arc<str>,
        lines: &[LogLine],
    ) {
        let frame = self.number;
        let report = &mut *self.report;
        report.frame.log_lines += lines.len() as u64;
        let of_script = &mut report.figures.at(self.figures[program]).lines;
        for line in lines {
            let text = log_text(&line.text);
            if of_script.take(&LineRate::OF_A_SCRIPT, frame, text.len())
                && report.lines.take(&LineRate::OF_ALL, frame, text.len())
            {
                write_log(entity, script, line, &text);
            }
        }
        if let Some(count) = of_script.take_left_out(frame)
            && report.log.take()
        {
            warn!(%script, "{script}: it logs too much: {count} lines are left out");
        }
    }

    /// Stores `self` and what the frame knows of the script. Gives whether it is put aside now.
    fn keep_state(
        &mut self,
        world: &mut World,
        invocation: &Invocation,
        outcome: &mut InvocationOutcome,
    ) -> bool {
        if invocation.due.contains(Callback::Stop) {
            return false;
        }
        let now = world.change_tick();
        let mut states = world.get_mut::<ScriptStates>(invocation.entity);
        // The game changed it since the runs ended; it knew better.
        let touched = self.kept != Some(invocation.entity)
            && states
                .as_ref()
                .is_some_and(|states| states.last_changed().is_newer_than(self.executed, now));
        if !touched {
            self.kept = Some(invocation.entity);
        }
        let state = states
            .as_mut()
            .and_then(|states| states.bypass_change_detection().states.get_mut(invocation.slot()))
            // The game may have put another state there in the same stage.
            .filter(|state| self.programs.is_run_by(invocation, state));
        let Some(state) = state else {
            let program = &self.programs.list[invocation.program as usize].program;
            let mut queue = world.resource_mut::<StopQueue>();
            let origin = self.shares.origin_of(invocation);
            let (known, executed) = (self.known_stops, self.executed);
            let meanwhile = Meanwhile { known, executed, now };
            let conflict = queue.catch_up(invocation, program, outcome, origin, &meanwhile);
            self.report.frame.conflicts += u64::from(conflict);
            return false;
        };
        // What the game started or stopped meanwhile stays so.
        let had_started = !invocation.due.contains(Callback::Start);
        let mut changed = state.started == had_started && state.started != outcome.started;
        if changed {
            state.started = outcome.started;
        }
        if outcome.drew {
            state.draws = state.draws.wrapping_add(1);
            changed = true;
        }
        match std::mem::take(&mut outcome.state) {
            StateChange::Unchanged => {}
            _ if touched => self.report.frame.conflicts += 1,
            change => {
                changed |= change.apply(&mut state.fields);
            }
        }
        let attached = &mut state.attached;
        attached.waiting[self.stage as usize] = 0;
        attached.pending_delta[self.stage as usize] =
            if outcome.unfinished { invocation.delta } else { 0.0 };
        if invocation.due.contains(Callback::Reload) && !outcome.unfinished {
            attached.reload = false;
        }
        let before = attached.aside.is_put_aside();
        let verdicts = outcome.more.as_mut().and_then(|more| more.verdicts.take());
        let judgement = match verdicts {
            Some(verdicts) => {
                attached.aside.judge(&verdicts, &self.patience, self.number, invocation.entity)
            }
            None if outcome.runs > 0 && attached.aside.has_failures() => {
                attached.aside.succeeded(self.stage.callback(), &self.patience)
            }
            None => Judgement::default(),
        };
        if judgement.tried {
            self.report.retried(self.figures[invocation.program as usize]);
        }
        let put_aside = attached.aside.is_put_aside();
        let next_try = attached.aside.next_try();
        if changed && let Some(mut states) = states {
            states.set_changed();
        }
        if let Some(newly) = judgement.newly {
            let carried = &mut self.programs.list[invocation.program as usize];
            if !before {
                carried.count_aside(next_try);
            }
            let interval = next_try.map(|frame| frame.saturating_sub(self.number));
            self.report.put_aside(carried.program.name(), invocation.entity, newly, interval);
        }
        put_aside
    }

    /// Warns of globals that callbacks assign.
    fn tell_of_strays(&mut self) {
        for CarriedProgram { program, .. } in &self.programs.list {
            let strays = program.take_strays();
            for (callback, global) in strays.iter().take(MAX_STRAYS) {
                if self.report.log.take() {
                    let (script, callback) = (program.name(), callback.name());
                    let global = escaped(global);
                    warn!(
                        %script,
                        "{script}: {callback} assigns the global `{global}`, which is gone after the run; \
                         make it `local`, or keep it as `self.{global}`",
                    );
                }
            }
            let more = strays.len().saturating_sub(MAX_STRAYS);
            if more > 0 && self.report.log.take() {
                let script = program.name();
                warn!(%script, "{script}: its callbacks assign {more} more globals, or many more");
            }
        }
    }

    /// Writes a field of a component that was there.
    fn write_field(&mut self, world: &mut World, write: &mut ComponentWrite, new: &[Entity]) {
        let ComponentWrite { entity, field, ref mut value } = *write;
        if !new.is_empty()
            && let Some(whole) = value.whole_mut()
        {
            map_entities(whole.value.as_mut(), &mut |entity| settle(entity, new));
        }
        let (component, path, conflicts) = self.claim(entity, field);
        match self.bindings.exposure.get(component).write(world, entity, &path, value) {
            Some(written) => self.report.frame.writes += u64::from(written),
            // The entity or the component went in the same stage: that write won.
            None => self.report.frame.conflicts += u64::from(conflicts == 0),
        }
    }

    /// Notes that a field is written; gives its component and path, and how many earlier writes it meets.
    fn claim(&mut self, entity: Entity, field: FieldId) -> (u32, FieldPath, u64) {
        let (component, path) = self.bindings.exposure.fields.place_of(field);
        let conflicts = self.contended.claim(entity, component, &[path]);
        self.report.frame.conflicts += conflicts;
        (component, path, conflicts)
    }

    /// Inserts and removes components on behalf of an entity.
    fn write_components(
        &mut self,
        world: &mut World,
        (spawner, script): (Entity, &Arc<str>),
        mut writes: WriteLog,
        new: &[Entity],
    ) {
        for ComponentWrite { entity, field, mut value } in writes.drain() {
            let entity = settle(entity, new);
            let (component, ..) = self.claim(entity, field);
            let exposed = self.bindings.exposure.get(component);
            let Some(whole) = value.whole_mut() else {
                self.report.frame.writes += u64::from(exposed.is_on(world, entity));
                exposed.remove(world, entity);
                continue;
            };
            let value = whole.value.as_mut();
            if !new.is_empty() {
                map_entities(value, &mut |entity| settle(entity, new));
            }
            if world.get_entity(entity).is_err() {
                self.report.frame.conflicts += 1;
                continue;
            }
            if let Some(ChildOf(parent)) = value.try_downcast_ref()
                && let Err(misfit) = fits(world, entity, *parent, &mut self.looks_left)
            {
                refuse_child(self.report, script, spawner, (entity, *parent), misfit);
                continue;
            }
            exposed.insert(world, entity, value, self.registry);
            self.report.frame.writes += 1;
        }
    }
}

/// Counts the messages that no script of their receivers has a callback for, as far as that was not known before
/// they ran.
fn count_unheard(
    frame: &mut Frame,
    programs: &ProgramTable,
    outcomes: &[InvocationOutcome],
    left: &[u64],
) -> u64 {
    if frame.unsure.is_empty() {
        return 0;
    }
    let mut unsure = std::mem::take(&mut frame.unsure);
    for number in set_bits(left) {
        let (invocation, outcome) = (&frame.invocations[number], &outcomes[number]);
        let known = programs.list[invocation.program as usize].program.callbacks();
        let hears = known.is_none_or(|known| known.contains(Callback::Message));
        let takes = outcome.deferred || outcome.unfinished || !outcome.started || hears;
        if takes && invocation.more.as_ref().is_some_and(|more| more.unsure) {
            for delivery in invocation.mail() {
                let delivery = delivery as usize;
                unsure[delivery] &= !frame.deliveries[delivery].is_for(invocation.slot());
            }
        }
    }
    let unheard = unsure.iter().filter(|unheard| **unheard).count() as u64;
    unsure.clear();
    frame.unsure = unsure;
    unheard
}

/// The entity in the world that a stand-in stands for.
pub(super) fn settle(entity: Entity, new: &[Entity]) -> Entity {
    new_entity_index(entity).and_then(|index| new.get(index)).copied().unwrap_or(entity)
}

/// Replaces stand-ins in everything but components.
fn settle_new_entities(state: &mut StateChange, more: &mut OutcomeExtras) {
    let OutcomeExtras { new, effects, .. } = more;
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

/// The file level has no entity.
fn write_log(entity: Option<Entity>, script: &str, line: &LogLine, text: &str) {
    let (entity, at) = (entity.map(tracing::field::display), line.line.unwrap_or(0));
    match line.level {
        LogLevel::Info => info!(%script, line = at, entity, "{text}"),
        LogLevel::Warn => warn!(%script, line = at, entity, "{text}"),
        LogLevel::Error => error!(%script, line = at, entity, "{text}"),
    }
}

/// Fields that more than one invocation may write in this stage, and who did.
///
/// Most invocations write only their own entity, which no other invocation touches: for those nothing is noted.
struct Contended {
    entities: EntityHashSet,
    written: HashMap<(Entity, u32), Vec<FieldPath>>,
}

impl Contended {
    fn of(frame: &mut Frame) -> Self {
        let mut entities: EntityHashSet = frame.shared.iter().copied().collect();
        for number in frame.tallies.iter_mut().flat_map(|tally| tally.reaching.drain(..)) {
            let (invocation, outcome) = (&frame.invocations[number], &frame.outcomes[number]);
            let others = outcome.writes.iter().map(|write| write.entity);
            entities.extend(others.filter(|other| *other != invocation.entity));
        }
        Self { entities, written: HashMap::new() }
    }

    /// Notes the places that an invocation wrote; gives how many an earlier invocation had written.
    fn claim(&mut self, entity: Entity, component: u32, paths: &[FieldPath]) -> u64 {
        if self.entities.is_empty() || !self.entities.contains(&entity) {
            return 0;
        }
        let written = self.written.entry((entity, component)).or_default();
        let before = written.len();
        let mut conflicts = 0;
        for path in paths {
            let overlaps = |other: &FieldPath| other.contains(path) || path.contains(other);
            conflicts += u64::from(written[..before].iter().any(overlaps));
            // What many write is noted once: there are no more of them than the component has fields.
            if !written.iter().any(|other| other.contains(path)) {
                written.push(*path);
            }
        }
        conflicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_write_is_noted_once() {
        let entity = Entity::from_raw_u32(1).expect("a small index");
        let entities = [entity].into_iter().collect();
        let mut contended = Contended { entities, written: HashMap::new() };
        let whole = FieldPath::default();
        let [a, b] = [0, 1].map(|step| whole.then(step).expect("it is short"));
        let within_a = a.then(3).expect("it is short");
        let mut claim = |paths: &[FieldPath]| contended.claim(entity, 7, paths);
        assert_eq!(claim(&[within_a, within_a]), 0, "nobody wrote it before");
        for _ in 0..1000 {
            assert_eq!(claim(&[within_a]), 1);
        }
        assert_eq!((claim(&[a, b]), claim(&[within_a, b])), (1, 2));
        assert_eq!((claim(&[whole]), claim(&[whole.then(2).expect("it is short")])), (1, 1));
        assert_eq!(contended.written[&(entity, 7)], [within_a, a, b, whole]);
    }
}
