//! [`ParallelApply`]: applies in parallel what most invocations come to, which is changed fields of their own state
//! and one scalar of their own entity's `Transform`. Writes to other components are applied one by one.
//!
//! The order in which such outcomes are applied can't be seen: each changes its own entity alone, which no other
//! invocation touches, and no code of the game runs in between. All others are applied after them, on one thread
//! and in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bevy::ecs::change_detection::{
    ContiguousMut, DetectChanges, DetectChangesMut, MaybeLocation, Tick,
};
use bevy::ecs::entity::EntityHashSet;
use bevy::ecs::query::QueryState;
use bevy::prelude::{Entity, Transform, World};

use crate::bindings::FieldIds;
use crate::run::invocation::Invocation;
use crate::run::outcome::InvocationOutcome;
use crate::run::program_table::ProgramTable;
use crate::run::stage::Stage;
use crate::run::sweep::{SortedCursor, TableChunk, chunks, sweep};
use crate::script::{RetryPolicy, ScriptStates};
use crate::snapshot::PathCounts;
use crate::vm::{Callback, prefetch};

/// Of fewer invocations than this, the entities are looked up one by one.
const MIN_SWEPT: usize = 256;

/// How many entities a sweep passes in the time in which one is looked up.
const SWEPT_PER_LOOKUP: usize = 8;

/// What an entity remembers is prefetched so many rows before its turn.
const PREFETCHED_ROWS: usize = 4;

/// The entities that plain outcomes change.
pub(crate) type PlainQuery =
    QueryState<(Entity, &'static mut ScriptStates, Option<&'static mut Transform>)>;

/// Their states and transforms, each with when it was last changed.
type PlainColumns<'c> =
    ((&'c mut [ScriptStates], &'c mut [Tick]), Option<(&'c mut [Transform], &'c mut [Tick])>);

/// A stage whose plain outcomes are applied.
pub(super) struct ParallelApply<'s> {
    pub(super) invocations: &'s [Invocation],
    pub(super) programs: &'s ProgramTable,
    pub(super) fields: &'s FieldIds,
    /// Entities that more than one invocation may write to.
    pub(super) contended: &'s EntityHashSet,
    pub(super) stage: Stage,
    pub(super) retry: &'s RetryPolicy,
    /// When the runs had ended.
    pub(super) executed: Tick,
    /// The most threads to use.
    pub(super) threads: usize,
}

/// How many outcomes a block has: one for each bit.
const BLOCK: usize = u64::BITS as usize;

/// Outcomes that lie side by side.
struct OutcomeBlock<'o> {
    outcomes: &'o mut [InvocationOutcome],
    /// Those that are not applied, a bit for each.
    left: u64,
}

/// What applying an outcome has changed.
#[derive(Default)]
struct AppliedChange {
    state: bool,
    transform: bool,
}

impl ParallelApply<'_> {
    /// Applies plain outcomes, counts and empties them. The others are noted in `left`, a bit for each. Gives the
    /// number of component fields that were written.
    pub(super) fn apply(
        &self,
        world: &mut World,
        query: &mut PlainQuery,
        outcomes: &mut [InvocationOutcome],
        left: &mut Vec<u64>,
        paths: &mut PathCounts,
    ) -> u64 {
        let all = outcomes.len();
        let blocks: Vec<_> = outcomes
            .chunks_mut(BLOCK)
            .map(|outcomes| {
                let left = u64::MAX >> (BLOCK - outcomes.len());
                Mutex::new(OutcomeBlock { outcomes, left })
            })
            .collect();
        let now = world.change_tick();
        let entities: usize =
            query.contiguous_iter_mut(world).into_iter().flatten().map(|table| table.0.len()).sum();
        let few = self.invocations.len() < MIN_SWEPT
            || self.invocations.len() * SWEPT_PER_LOOKUP < entities;
        // If each change is to be known by its place in the code, only Bevy itself can note that.
        let tracks_location = MaybeLocation::caller().into_option().is_some();
        let (writes, applied) = if few || tracks_location {
            (self.look_up(world, query, &blocks, now), &mut paths.applied_by_lookup)
        } else {
            (self.sweep(world, query, &blocks, now), &mut paths.applied_in_parallel)
        };
        left.clear();
        let blocks = blocks.into_iter();
        let blocks = blocks.map(|block| block.into_inner().unwrap_or_else(PoisonError::into_inner));
        left.extend(blocks.map(|block| block.left));
        let left: u64 = left.iter().map(|bits| u64::from(bits.count_ones())).sum();
        *applied += all as u64 - left;
        writes
    }

    /// Goes over the invocations and looks up their entities.
    fn look_up(
        &self,
        world: &mut World,
        query: &mut PlainQuery,
        blocks: &[Mutex<OutcomeBlock<'_>>],
        now: Tick,
    ) -> u64 {
        let mut outcomes = OutcomeLocks::new(blocks);
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

    /// Goes over the entities in the order in which they lie in memory, and finds their invocations.
    fn sweep(
        &self,
        world: &mut World,
        query: &mut PlainQuery,
        blocks: &[Mutex<OutcomeBlock<'_>>],
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
        let chunks = chunks(tables.iter_mut().map(|(entities, states, transforms)| {
            let states = (&mut *states.0, states.1.changed_mut());
            let transforms = transforms.as_mut().map(|it| (&mut *it.0, it.1.changed_mut()));
            (*entities, (states, transforms))
        }));
        let writes = AtomicU64::new(0);
        // Those that stop come first, and are not in the order of entities.
        let is_stop = |it: &&Invocation| it.is_due_alone(Callback::Stop);
        let first = self.invocations.iter().take_while(is_stop).count();
        let chunks = chunks.into_iter().map(|chunk| (chunk, ()));
        sweep(self.threads, chunks, &self.invocations[first..], |chunk, (), invocations| {
            let written =
                self.apply_chunk(chunk, first, invocations, OutcomeLocks::new(blocks), now);
            writes.fetch_add(written, Ordering::Relaxed);
        });
        writes.into_inner()
    }

    /// Applies the plain outcomes of some entities, whose invocations come after the `first` ones.
    fn apply_chunk(
        &self,
        chunk: TableChunk<'_, PlainColumns<'_>>,
        first: usize,
        mut invocations: SortedCursor<'_, Invocation>,
        mut outcomes: OutcomeLocks<'_, '_>,
        now: Tick,
    ) -> u64 {
        let TableChunk { entities, columns: ((states, states_changed), transforms) } = chunk;
        let (transforms, transforms_changed) = transforms.unwrap_or_default();
        let mut writes = 0;
        for (row, entity) in entities.iter().enumerate() {
            if let Some(states) = states.get(row + PREFETCHED_ROWS)
                && let Some(state) = states.states.first()
                && let Some((_, value)) = state.fields.fields.at(0)
            {
                prefetch(value);
            }
            let Some(number) = invocations.find(*entity) else { continue };
            let number = first + number;
            let changed = outcomes.apply(number, |outcome| {
                self.apply_one(
                    &self.invocations[number],
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
        invocation.more.is_none() && invocation.is_due_alone(self.stage.callback())
    }

    /// Applies the outcome of an invocation if it is plain, and gives what that changed. If it isn't, nothing has
    /// changed.
    #[inline]
    fn apply_one(
        &self,
        invocation: &Invocation,
        outcome: &mut InvocationOutcome,
        states: &mut ScriptStates,
        states_changed: Tick,
        transform: Option<&mut Transform>,
        now: Tick,
    ) -> Option<AppliedChange> {
        let plain = self.may_be_plain(invocation)
            && outcome.more.is_none()
            && outcome.started
            && !(outcome.deferred || outcome.unfinished || outcome.failing)
            && (self.contended.is_empty() || !self.contended.contains(&invocation.entity));
        // The game may have changed the state since the runs ended.
        if !plain || states_changed.is_newer_than(self.executed, now) {
            return None;
        }
        let write = match outcome.writes.as_slice() {
            [] => None,
            [write] if write.entity == invocation.entity => Some((write, transform?)),
            _ => return None,
        };
        let program = &self.programs.list[invocation.program as usize].program;
        let state = states.states.get_mut(invocation.slot())?;
        let attached = &mut state.attached;
        if attached.program.as_ref().is_none_or(|known| !Arc::ptr_eq(known, program))
            || !state.started
            || attached.backoff.is_put_aside()
        {
            return None;
        }
        let mut changed = AppliedChange::default();
        if let Some((write, transform)) = write {
            changed.transform = write.write_to_transform(self.fields, transform)?;
            outcome.writes.pop_scalar();
        }
        // Nearly always both are zero already: what isn't written needn't go back to memory.
        let (waiting, pending_delta) = (
            &mut attached.waiting[self.stage as usize],
            &mut attached.pending_delta[self.stage as usize],
        );
        if *waiting != 0 || *pending_delta != 0.0 {
            (*waiting, *pending_delta) = (0, 0.0);
        }
        if outcome.runs > 0 && attached.backoff.has_failures() {
            attached.backoff.succeeded(self.stage.callback(), self.retry);
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

/// The outcomes of all invocations as one thread reaches them. It holds the lock of one block at a time.
struct OutcomeLocks<'b, 'o> {
    blocks: &'b [Mutex<OutcomeBlock<'o>>],
    held: Option<(usize, MutexGuard<'b, OutcomeBlock<'o>>)>,
}

impl<'b, 'o> OutcomeLocks<'b, 'o> {
    fn new(blocks: &'b [Mutex<OutcomeBlock<'o>>]) -> Self {
        Self { blocks, held: None }
    }

    /// Applies the outcome of an invocation, and notes it if that was possible. Gives what changed.
    fn apply(
        &mut self,
        number: usize,
        apply: impl FnOnce(&mut InvocationOutcome) -> Option<AppliedChange>,
    ) -> AppliedChange {
        let (block, bit) = (number / BLOCK, number % BLOCK);
        if self.held.as_ref().is_none_or(|(held, _)| *held != block) {
            // Release one block before locking another: two threads could wait for each other.
            self.held = None;
            let locked = self.blocks[block].lock().unwrap_or_else(PoisonError::into_inner);
            self.held = Some((block, locked));
        }
        let Some((_, held)) = &mut self.held else { return AppliedChange::default() };
        let Some(changed) = apply(&mut held.outcomes[bit]) else {
            return AppliedChange::default();
        };
        held.left &= !(1 << bit);
        changed
    }
}

/// The numbers of the bits that are set.
pub(super) fn set_bits(blocks: &[u64]) -> impl Iterator<Item = usize> {
    (0..).step_by(BLOCK).zip(blocks).filter(|(_, bits)| **bits != 0).flat_map(|(first, bits)| {
        (0..BLOCK).filter(move |bit| bits & 1 << bit != 0).map(move |bit| first + bit)
    })
}

#[cfg(test)]
mod tests;
