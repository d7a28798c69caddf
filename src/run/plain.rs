//! What most units come to, applied in parallel: a few fields of the own `self` have other values, and the
//! own entity is somewhere else.
//!
//! The order in which such outcomes are applied can't be seen: each changes its own entity alone, which
//! no other unit touches, and no code of the game runs meanwhile. All others are applied after them, on one
//! thread and in order.

use std::sync::atomic::{AtomicU8, Ordering};

use bevy::ecs::change_detection::{DetectChanges, DetectChangesMut, Tick};
use bevy::ecs::query::QueryState;
use bevy::prelude::{Entity, Mut, Transform, World};

use super::collect::order;
use super::frame::{Programs, Stage, Unit, UnitOutcome};
use crate::bindings::{Spots, write_transform};
use crate::script::{Patience, ScriptStates};
use crate::vm::StateChange;

/// With fewer units there is nothing to share out.
const ENOUGH: usize = 256;

/// The entities that plain outcomes change.
pub(crate) type PlainQuery =
    QueryState<(Entity, &'static mut ScriptStates, Option<&'static mut Transform>)>;

/// A stage whose plain outcomes are applied.
pub(super) struct PlainStage<'s> {
    pub(super) units: &'s [Unit],
    pub(super) outcomes: &'s [UnitOutcome],
    pub(super) programs: &'s Programs,
    pub(super) spots: &'s Spots,
    /// Whether other units may write to an entity.
    pub(super) is_contended: &'s (dyn Fn(Entity) -> bool + Sync),
    pub(super) stage: Stage,
    pub(super) patience: &'s Patience,
    /// When the runs had ended.
    pub(super) executed: Tick,
}

/// What became of a unit: not applied, or applied with so many writes to components, less one.
pub(super) type Mark = AtomicU8;

impl PlainStage<'_> {
    /// Applies what is plain, and marks the units of which all is applied.
    pub(super) fn apply(&self, world: &mut World, query: &mut PlainQuery, marks: &mut Vec<Mark>) {
        marks.clear();
        marks.resize_with(self.units.len(), Mark::default);
        if self.units.len() < ENOUGH {
            return;
        }
        let now = world.change_tick();
        let first = self.units.iter().take_while(|unit| unit.stop.is_some()).count();
        let marks = &*marks;
        query.par_iter_mut(world).for_each_init(
            || first,
            |next, (entity, states, transform)| {
                // Entities often come in the order of the units.
                let expected = self.units.get(*next).is_some_and(|unit| unit.entity == entity);
                let found = if expected { Some(*next) } else { self.find(first, entity) };
                if let Some(number) = found {
                    *next = number + 1;
                    if let Some(writes) = self.apply_one(number, states, transform, now) {
                        marks[number].store(writes + 1, Ordering::Relaxed);
                    }
                }
            },
        );
    }

    /// The unit of an entity, after those that stop.
    fn find(&self, first: usize, entity: Entity) -> Option<usize> {
        let key = order(entity);
        let found = self.units[first..].binary_search_by_key(&key, |unit| order(unit.entity));
        found.ok().map(|number| first + number)
    }

    /// Gives the writes to components, or `None` if it isn't plain: then nothing has changed.
    fn apply_one(
        &self,
        number: usize,
        mut states: Mut<'_, ScriptStates>,
        transform: Option<Mut<'_, Transform>>,
        now: Tick,
    ) -> Option<u8> {
        let (unit, outcome) = (&self.units[number], &self.outcomes[number]);
        let plain = outcome.more.is_none()
            && !(outcome.deferred || outcome.unfinished || outcome.failing || unit.reload)
            && unit.mail.is_empty()
            && unit.started
            && outcome.started
            && !matches!(outcome.state, StateChange::Replaced(_))
            && !(self.is_contended)(unit.entity);
        // The game may have changed it since the runs ended.
        if !plain || states.last_changed().is_newer_than(self.executed, now) {
            return None;
        }
        let leaf = match outcome.leaves.as_slice() {
            [] => None,
            [leaf] if leaf.entity == unit.entity => Some((leaf, transform?)),
            _ => return None,
        };
        let program = &self.programs.list[unit.program as usize].program;
        let state = states.bypass_change_detection().states.get_mut(unit.slot())?;
        let attached = &mut state.attached;
        if attached.program.as_ref().is_none_or(|known| known.id() != program.id())
            || !state.started
            || attached.aside.is_put_aside()
        {
            return None;
        }
        let written = match leaf {
            Some((leaf, transform)) => write_transform(self.spots, leaf, transform)?,
            None => false,
        };
        attached.waiting = 0;
        attached.owed[self.stage as usize] = 0.0;
        if outcome.ran {
            attached.aside.succeeded(self.stage as usize, self.patience);
        }
        if outcome.state.apply_again(&mut state.fields) {
            states.set_changed();
        }
        Some(written.into())
    }
}
