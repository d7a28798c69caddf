//! What most invocations come to, applied in parallel: a few fields of the own `self` have other values, and the
//! own entity is somewhere else.
//!
//! The order in which such outcomes are applied can't be seen: each changes its own entity alone, which
//! no other invocation touches, and no code of the game runs meanwhile. All others are applied after them, on one
//! thread and in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bevy::ecs::change_detection::{
    ContiguousMut, DetectChanges, DetectChangesMut, MaybeLocation, Tick,
};
use bevy::ecs::entity::EntityHashSet;
use bevy::ecs::query::QueryState;
use bevy::prelude::{Entity, Transform, World};

use crate::bindings::FieldIds;
use crate::run::invocation::{Invocation, InvocationOutcome};
use crate::run::order::order;
use crate::run::program_table::ProgramTable;
use crate::run::stage::Stage;
use crate::run::threads::{CHUNK, on_threads};
use crate::script::{RetryPolicy, ScriptStates};
use crate::vm::prefetch;

/// Fewer invocations are looked up one by one.
const ENOUGH: usize = 256;

/// So many entities are gone through in the time in which one is looked up.
const PASSED: usize = 8;

/// So many entities before it is its turn, what one remembers is fetched.
const AHEAD: usize = 4;

/// The entities that plain outcomes change.
pub(crate) type PlainQuery =
    QueryState<(Entity, &'static mut ScriptStates, Option<&'static mut Transform>)>;

/// A stage whose plain outcomes are applied.
pub(super) struct PlainStage<'s> {
    pub(super) invocations: &'s [Invocation],
    pub(super) programs: &'s ProgramTable,
    pub(super) spots: &'s FieldIds,
    /// Entities that more than one invocation may write to.
    pub(super) contended: &'s EntityHashSet,
    pub(super) stage: Stage,
    pub(super) patience: &'s RetryPolicy,
    /// When the runs had ended.
    pub(super) executed: Tick,
    /// It takes at most so many threads.
    pub(super) threads: usize,
}

/// Outcomes that lie side by side.
struct Batch<'o> {
    outcomes: &'o mut [InvocationOutcome],
    /// Those that are not applied, a bit for each.
    left: u64,
}

/// Outcomes in a batch: one for each bit.
const BATCH: usize = u64::BITS as usize;

/// What applying an outcome has changed.
#[derive(Default)]
struct Changed {
    state: bool,
    transform: bool,
}

impl PlainStage<'_> {
    /// Applies what is plain, and takes it out of the outcomes. The others are noted in `left`, a bit for
    /// each. Gives the writes to components.
    pub(super) fn apply(
        &self,
        world: &mut World,
        query: &mut PlainQuery,
        outcomes: &mut [InvocationOutcome],
        left: &mut Vec<u64>,
    ) -> u64 {
        let batches: Vec<_> = outcomes
            .chunks_mut(BATCH)
            .map(|outcomes| {
                let left = u64::MAX >> (BATCH - outcomes.len());
                Mutex::new(Batch { outcomes, left })
            })
            .collect();
        let now = world.change_tick();
        let entities: usize =
            query.contiguous_iter_mut(world).into_iter().flatten().map(|table| table.0.len()).sum();
        let few = self.invocations.len() < ENOUGH || self.invocations.len() * PASSED < entities;
        // Where each change is to be known by its place in the code, only Bevy itself can note it.
        let are_located = MaybeLocation::caller().into_option().is_some();
        let writes = if few || are_located {
            self.apply_each(world, query, &batches, now)
        } else {
            self.apply_all(world, query, &batches, now)
        };
        left.clear();
        let batches = batches.into_iter();
        let batches =
            batches.map(|batch| batch.into_inner().unwrap_or_else(PoisonError::into_inner));
        left.extend(batches.map(|batch| batch.left));
        writes
    }

    /// Goes through the invocations and looks up their entities.
    fn apply_each(
        &self,
        world: &mut World,
        query: &mut PlainQuery,
        batches: &[Mutex<Batch<'_>>],
        now: Tick,
    ) -> u64 {
        let mut outcomes = Outcomes::new(batches);
        let mut query = query.query_mut(world);
        let mut writes = 0;
        for (number, invocation) in self.invocations.iter().enumerate() {
            if !self.may_be_plain(invocation) {
                continue;
            }
            let Ok((_, mut states, mut transform)) = query.get_mut(invocation.entity) else {
                continue;
            };
            let changed_at = states.last_changed();
            let changed = outcomes.apply(number, |outcome| {
                let states = states.bypass_change_detection();
                let transform = transform.as_mut().map(|it| it.bypass_change_detection());
                self.apply_one(invocation, outcome, states, changed_at, transform, now)
            });
            if changed.state {
                states.set_changed();
            }
            if let Some(transform) = &mut transform
                && changed.transform
            {
                transform.set_changed();
            }
            writes += u64::from(changed.transform);
        }
        writes
    }

    /// Goes through the entities, where they lie in memory, and finds their invocations.
    fn apply_all(
        &self,
        world: &mut World,
        query: &mut PlainQuery,
        batches: &[Mutex<Batch<'_>>],
        now: Tick,
    ) -> u64 {
        let tables = query.contiguous_iter_mut(world);
        let mut tables: Vec<_> = tables
            .expect("all components are stored in tables")
            .map(|(entities, states, transforms)| {
                let transforms = transforms.map(ContiguousMut::bypass_change_detection_split);
                (entities, ContiguousMut::bypass_change_detection_split(states), transforms)
            })
            .collect();
        let mut chunks = Vec::new();
        for (entities, (states, states_changed), transforms) in &mut tables {
            let states =
                states.chunks_mut(CHUNK).zip(states_changed.changed_mut().chunks_mut(CHUNK));
            let mut transforms = transforms.as_mut().map(|(transforms, changed)| {
                transforms.chunks_mut(CHUNK).zip(changed.changed_mut().chunks_mut(CHUNK))
            });
            for (entities, states) in entities.chunks(CHUNK).zip(states) {
                let transforms = transforms.as_mut().and_then(Iterator::next);
                chunks.push(Chunk { entities, states, transforms });
            }
        }
        let writes = AtomicU64::new(0);
        let first =
            self.invocations.iter().take_while(|invocation| invocation.stop().is_some()).count();
        on_threads(self.threads, chunks.into_iter(), |chunk| {
            let written = self.apply_chunk(chunk, first, Outcomes::new(batches), now);
            writes.fetch_add(written, Ordering::Relaxed);
        });
        writes.into_inner()
    }

    /// Applies what is plain to some entities. The invocations begin after the `first` ones, which stop. Gives the
    /// writes to components.
    fn apply_chunk(
        &self,
        chunk: Chunk<'_>,
        first: usize,
        mut outcomes: Outcomes<'_, '_>,
        now: Tick,
    ) -> u64 {
        let Chunk { entities, states: (states, states_changed), transforms } = chunk;
        let (transforms, transforms_changed) = transforms.unwrap_or_default();
        let mut next = NextInvocation { invocations: &self.invocations[first..], next: 0 };
        let mut writes = 0;
        for (row, entity) in entities.iter().enumerate() {
            // By the time that its turn comes, what it is about to change is here.
            if let Some(states) = states.get(row + AHEAD)
                && let Some(state) = states.states.first()
                && let Some((_, value)) = state.fields.fields.at(0)
            {
                prefetch(value);
            }
            let Some(number) = next.of(*entity) else { continue };
            let changed = outcomes.apply(first + number, |outcome| {
                self.apply_one(
                    &next.invocations[number],
                    outcome,
                    &mut states[row],
                    states_changed[row],
                    transforms.get_mut(row),
                    now,
                )
            });
            if changed.state {
                states_changed[row] = now;
            }
            if changed.transform {
                transforms_changed[row] = now;
                writes += 1;
            }
        }
        writes
    }

    /// Whether the outcome of an invocation may be plain.
    #[inline]
    fn may_be_plain(&self, invocation: &Invocation) -> bool {
        invocation.more.is_none() && invocation.started && !invocation.reload
    }

    /// Gives what it changed, or `None` if it isn't plain: then nothing has changed.
    #[inline]
    fn apply_one(
        &self,
        invocation: &Invocation,
        outcome: &mut InvocationOutcome,
        states: &mut ScriptStates,
        states_changed: Tick,
        transform: Option<&mut Transform>,
        now: Tick,
    ) -> Option<Changed> {
        let plain = self.may_be_plain(invocation)
            && outcome.more.is_none()
            && outcome.started
            && !(outcome.deferred || outcome.unfinished || outcome.failing)
            && (self.contended.is_empty() || !self.contended.contains(&invocation.entity));
        // The game may have changed it since the runs ended.
        if !plain || states_changed.is_newer_than(self.executed, now) {
            return None;
        }
        let leaf = match outcome.writes.as_slice() {
            [] => None,
            [leaf] if leaf.entity == invocation.entity => Some((leaf, transform?)),
            _ => return None,
        };
        let program = &self.programs.list[invocation.program as usize].program;
        let state = states.states.get_mut(invocation.slot())?;
        let attached = &mut state.attached;
        if attached.program.as_ref().is_none_or(|known| !Arc::ptr_eq(known, program))
            || !state.started
            || attached.aside.is_put_aside()
        {
            return None;
        }
        let mut changed = Changed::default();
        if let Some((leaf, transform)) = leaf {
            changed.transform = leaf.write_to_transform(self.spots, transform)?;
            outcome.writes.clear();
        }
        // Nearly always there is nothing to write: what is not written need not go back to memory.
        let (waiting, pending_delta) = (
            &mut attached.waiting[self.stage as usize],
            &mut attached.pending_delta[self.stage as usize],
        );
        if *waiting != 0 || *pending_delta != 0.0 {
            (*waiting, *pending_delta) = (0, 0.0);
        }
        if outcome.runs > 0 && attached.aside.has_failures() {
            attached.aside.succeeded(self.stage.callback(), self.patience);
        }
        changed.state = std::mem::take(&mut outcome.state).apply(&mut state.fields);
        if outcome.drew {
            outcome.drew = false;
            state.draws = state.draws.wrapping_add(1);
            changed.state = true;
        }
        Some(changed)
    }
}

/// Entities that lie side by side, with what they have and when that was last changed.
struct Chunk<'c> {
    entities: &'c [Entity],
    states: (&'c mut [ScriptStates], &'c mut [Tick]),
    transforms: Option<(&'c mut [Transform], &'c mut [Tick])>,
}

/// The invocations, looked at in the order of entities, mostly.
struct NextInvocation<'u> {
    invocations: &'u [Invocation],
    /// The first that belongs to a later entity than was asked for last.
    next: usize,
}

impl NextInvocation<'_> {
    /// The number of the first invocation of an entity.
    fn of(&mut self, entity: Entity) -> Option<usize> {
        let is_its = |invocation: &Invocation| invocation.entity == entity;
        if !self.invocations.get(self.next).is_some_and(is_its) {
            let key = order(entity);
            let (before, from) = self.invocations.split_at(self.next);
            if before.last().is_some_and(|last| order(last.entity) >= key)
                || from.first().is_some_and(|first| order(first.entity) < key)
            {
                self.next =
                    self.invocations.partition_point(|invocation| order(invocation.entity) < key);
            }
            if !self.invocations.get(self.next).is_some_and(is_its) {
                return None;
            }
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

/// The outcomes of all invocations, of which one thread has some at a time: those of one batch.
struct Outcomes<'b, 'o> {
    batches: &'b [Mutex<Batch<'o>>],
    held: Option<(usize, MutexGuard<'b, Batch<'o>>)>,
}

impl<'b, 'o> Outcomes<'b, 'o> {
    fn new(batches: &'b [Mutex<Batch<'o>>]) -> Self {
        Self { batches, held: None }
    }

    /// Applies the outcome of an invocation, and notes it if that was possible. Gives what changed.
    fn apply(
        &mut self,
        number: usize,
        apply: impl FnOnce(&mut InvocationOutcome) -> Option<Changed>,
    ) -> Changed {
        let (batch, place) = (number / BATCH, number % BATCH);
        if self.held.as_ref().is_none_or(|(held, _)| *held != batch) {
            // Nobody waits for one batch while holding another.
            self.held = None;
            let locked = self.batches[batch].lock().unwrap_or_else(PoisonError::into_inner);
            self.held = Some((batch, locked));
        }
        let Some((_, held)) = &mut self.held else { return Changed::default() };
        let Some(changed) = apply(&mut held.outcomes[place]) else { return Changed::default() };
        held.left &= !(1 << place);
        changed
    }
}

/// The numbers of the invocations whose bits are set.
pub(super) fn numbers(left: &[u64]) -> impl Iterator<Item = usize> {
    (0..).step_by(BATCH).zip(left).filter(|(_, bits)| **bits != 0).flat_map(|(first, bits)| {
        (0..BATCH).filter(move |bit| bits & 1 << bit != 0).map(move |bit| first + bit)
    })
}

#[cfg(test)]
mod tests {
    use bevy::MinimalPlugins;
    use bevy::app::App;
    use bevy::asset::{AssetPlugin, Assets};
    use bevy::prelude::Ref;

    use super::*;
    use crate::plugin::LuaPoolPlugin;
    use crate::pool::PoolConfig;
    use crate::script::{LuaScript, LuaScripts};

    /// So few that they are looked up, and so many that they are gone through.
    const COUNTS: [usize; 2] = [10, 2 * ENOUGH];

    fn crowd(source: &str, count: usize) -> App {
        let patience = std::time::Duration::from_secs(60);
        let config =
            PoolConfig { run_time_limit: patience, max_failures: 2, ..PoolConfig::default() };
        let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
        app.finish();
        app.cleanup();
        let world = app.world_mut();
        let script = LuaScript::from_source("crowd", source).unwrap();
        let script = world.resource_mut::<Assets<LuaScript>>().add(script);
        world.spawn_batch(vec![LuaScripts::new(script); count]).for_each(drop);
        app
    }

    #[test]
    fn a_state_is_changed_in_the_frames_in_which_it_is_and_in_no_other() {
        for count in COUNTS {
            let source = "function on_start(self) self.n = 0 end
                function on_update(self) self.n += 1 self.half = self.n // 2 end";
            let mut app = crowd(source, count);
            app.update();
            let mut idle = crowd(&source.replace("self.n += 1 self.half = self.n // 2", ""), count);
            idle.update();
            for _ in 0..3 {
                for (app, expected) in [(&mut app, count), (&mut idle, 0)] {
                    app.world_mut().clear_trackers();
                    let before = app.world_mut().increment_change_tick();
                    app.update();
                    let now = app.world_mut().change_tick();
                    let mut states = app.world_mut().query::<Ref<ScriptStates>>();
                    let changed = states.iter(app.world());
                    let changed =
                        changed.filter(|states| states.last_changed().is_newer_than(before, now));
                    assert_eq!(changed.count(), expected, "of {count}");
                }
            }
        }
    }

    #[test]
    fn a_success_forgets_a_failure_however_many_there_are() {
        for count in COUNTS {
            let mut app = crowd(
                "function on_update(self)
                    assert(self.good)
                end",
                count,
            );
            for frame in 0..9 {
                let mut states = app.world_mut().query::<&mut ScriptStates>();
                for mut states in states.iter_mut(app.world_mut()) {
                    if let Some(state) = states.get_mut("crowd") {
                        state.set("good", frame % 2 == 1);
                    }
                }
                app.update();
                let mut states = app.world_mut().query::<&ScriptStates>();
                assert!(!states.iter(app.world()).any(|states| states.is_put_aside("crowd")));
            }
        }
    }

    fn entity(index: u32) -> Entity {
        Entity::from_raw_u32(index).expect("a small index")
    }

    #[test]
    fn the_unit_of_an_entity_is_found_in_whatever_order_they_come() {
        let invocations: Vec<_> =
            [2, 3, 3, 5, 9].map(|index| Invocation::new(entity(index), 0, 0)).into();
        let expected =
            |index| invocations.iter().position(|invocation| invocation.entity == entity(index));
        let pairs = (0..11).flat_map(|one| (0..11).map(move |other| (one, other)));
        // An entity comes once.
        for (one, other) in pairs.filter(|(one, other)| one != other) {
            let mut next = NextInvocation { invocations: &invocations, next: 0 };
            for index in [one, other, one, 10, other, 0] {
                assert_eq!(next.of(entity(index)), expected(index), "{index} of {one}, {other}");
            }
        }
    }

    #[test]
    fn bits_are_numbers() {
        let left = [1 << 3 | 1 << 63, 0, 1];
        assert_eq!(numbers(&left).collect::<Vec<_>>(), [3, 63, 128]);
        assert_eq!(numbers(&[]).count(), 0);
    }
}
