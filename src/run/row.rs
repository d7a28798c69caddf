//! [`UnitRow`]: units that are alike, one after another, as a VM takes them.

use bevy::prelude::EntityRef;

use super::execute::{Counts, ExecutingStage};
use super::frame::{Unit, UnitOutcome};
use crate::bindings::ScriptContext;
use crate::value::ScriptTable;
use crate::vm::{Callback, Row, StateChange, Turn, prefetch};

/// Units of one program for which nothing is due but `on_update`, or `on_fixed_update`: nearly all are of this
/// kind.
pub(super) struct UnitRow<'r, 's> {
    pub(super) stage: &'s ExecutingStage<'s>,
    pub(super) counts: &'r mut Counts,
    /// The order of the units, if it is not their own.
    pub(super) order: Option<&'r [usize]>,
    /// The place of the first outcome in that order.
    pub(super) first: usize,
    pub(super) outcomes: &'r mut [UnitOutcome],
    /// The outcomes that are done.
    pub(super) done: usize,
    /// The number of the program.
    pub(super) program: u32,
    pub(super) callback: Callback,
    /// The unit whose turn it is.
    pub(super) current: Option<usize>,
    /// The one whose turn is next, once it was looked up.
    pub(super) next: Option<Found<'s>>,
}

/// A unit of this kind, and what it needs from the world.
pub(super) struct Found<'s> {
    index: usize,
    unit: &'s Unit,
    entity: EntityRef<'s>,
    state: &'s ScriptTable,
}

impl<'s> UnitRow<'_, 's> {
    /// Looks up the unit of an outcome, if it is of this kind.
    fn find(&self, outcome: usize) -> Option<Found<'s>> {
        let stage = self.stage;
        if outcome >= self.outcomes.len() {
            return None;
        }
        let place = self.first + outcome;
        let index = self.order.map_or(place, |order| order[place]);
        let unit = &stage.frame.units[index];
        if unit.program != self.program || !unit.only_ticks() {
            return None;
        }
        let entity = stage.world.get_entity(unit.entity).ok()?;
        let states = stage.states.get(entity.location())?;
        let state = &states.states.get(unit.slot())?.fields;
        Some(Found { index, unit, entity, state })
    }
}

impl<'s> Row<'s, ScriptContext<'s>> for UnitRow<'_, 's> {
    fn turn(&mut self, context: &mut ScriptContext<'s>) -> Option<Turn<'s>> {
        let found = self.next.take().or_else(|| self.find(self.done))?;
        let Found { index, unit, entity, state } = found;
        // The first one may run.
        let may_run =
            self.current.is_none() || !self.counts.is_late(self.stage) && self.stage.may_run(unit);
        if !may_run {
            return None;
        }
        // By the time that this one is done, what the next one needs is here.
        self.next = self.find(self.done + 1);
        if let Some((_, value)) = self.next.as_ref().and_then(|next| next.state.fields.at(0)) {
            prefetch(value);
        }
        context.turn_to(unit.entity, Some(entity), unit.spawns());
        self.current = Some(index);
        self.counts.stopwatch.start(unit.more.is_some());
        Some(Turn {
            entity: unit.entity,
            state,
            argument: unit.delta,
            seed: self.stage.seed(unit, self.callback, 0),
        })
    }

    fn done(&mut self, context: &mut ScriptContext<'s>, change: StateChange) {
        let Some(index) = self.current else { return };
        let unit = &self.stage.frame.units[index];
        self.counts.ran(self.stage, unit);
        let outcome = &mut self.outcomes[self.done];
        outcome.state = change;
        outcome.set_ran(false);
        self.stage.hand_over(unit, context, outcome);
        self.counts.note_reach(index, unit, outcome);
        self.done += 1;
    }
}
