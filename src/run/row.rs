//! [`UnitRow`]: units that are alike, one after another, as a VM takes them.

use super::execute::{Counts, ExecutingStage};
use super::frame::{Unit, UnitOutcome};
use crate::bindings::ScriptContext;
use crate::script::ScriptStates;
use crate::vm::{Callback, Row, StateChange, Turn};

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
}

impl<'s> UnitRow<'_, 's> {
    /// The unit whose turn is next, if it is of this kind and may run now. The first one may.
    fn next(&mut self) -> Option<(usize, &'s Unit)> {
        let stage = self.stage;
        if self.done >= self.outcomes.len() {
            return None;
        }
        let place = self.first + self.done;
        let index = self.order.map_or(place, |order| order[place]);
        let unit = &stage.frame.units[index];
        let alike = unit.program == self.program && unit.only_ticks();
        let first = self.current.is_none();
        let runs = alike && (first || !self.counts.is_late(stage) && stage.may_run(unit));
        runs.then_some((index, unit))
    }
}

impl<'s> Row<'s, ScriptContext<'s>> for UnitRow<'_, 's> {
    fn turn(&mut self, context: &mut ScriptContext<'s>) -> Option<Turn<'s>> {
        let (index, unit) = self.next()?;
        let entity = context.turn_to(unit.entity, unit.spawns())?;
        let states = entity.get::<ScriptStates>()?;
        let state = &states.states.get(unit.slot())?.fields;
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
