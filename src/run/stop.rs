//! `on_stop`: the last states of scripts that were removed.

use std::sync::Arc;

use bevy::ecs::lifecycle::Remove;
use bevy::prelude::{Entity, On, Query, ResMut, Resource};

use super::frame::{Unit, UnitOutcome};
use crate::bindings::Amount;
use crate::script::{LuaScripts, ScriptState, ScriptStates};
use crate::value::ScriptTable;
use crate::vm::Program;

/// The scripts whose `on_stop` is due, in the order in which they were removed.
#[derive(Resource, Default)]
pub(crate) struct StopQueue {
    pub(crate) stopped: Vec<Stopped>,
}

pub(crate) struct Stopped {
    pub(crate) entity: Entity,
    pub(crate) program: Arc<Program>,
    pub(crate) state: ScriptTable,
}

/// As many may wait for their `on_stop`, with so many bytes: of scripts that make and leave more of them than can
/// be stopped, the latest are forgotten.
const MOST: Amount = Amount { count: 1 << 16, bytes: 32 * 1024 * 1024 };

impl Stopped {
    fn size(&self) -> usize {
        size_of::<Self>() + self.state.size()
    }
}

impl StopQueue {
    /// Forgets those for which there is no room; gives how many.
    pub(crate) fn shed(&mut self) -> usize {
        let mut all = Amount::default();
        let fits = |stopped: &Stopped| all.add(Amount { count: 1, bytes: stopped.size() }, MOST);
        let kept = self.stopped.iter().map(fits).take_while(|fits| *fits).count();
        let shed = self.stopped.len() - kept;
        self.stopped.truncate(kept);
        shed
    }

    /// Takes a state that has lost its script. One that never started has nothing to stop.
    pub(crate) fn push(&mut self, entity: Entity, state: &mut ScriptState) {
        let state = std::mem::take(state);
        if let (true, Some(program)) = (state.started, state.attached.program) {
            self.stopped.push(Stopped { entity, program, state: state.fields });
        }
    }

    /// Takes what a unit left whose script an earlier unit of the same stage has stopped.
    pub(crate) fn catch_up(
        &mut self,
        unit: &Unit,
        program: &Arc<Program>,
        outcome: &mut UnitOutcome,
    ) {
        let change = std::mem::take(&mut outcome.state);
        let entity = unit.entity;
        let queued = self
            .stopped
            .iter_mut()
            .find(|stopped| stopped.entity == entity && Arc::ptr_eq(&stopped.program, program));
        match queued {
            Some(stopped) => _ = change.apply(&mut stopped.state),
            // It has only just started, and was not queued for that.
            None if outcome.started && !unit.started => {
                let state = change.applied_to(&ScriptTable::default());
                self.stopped.push(Stopped { entity, program: program.clone(), state });
            }
            None => {}
        }
    }
}

/// `LuaScripts` goes, or the entity with it.
pub(crate) fn on_scripts_removed(
    removed: On<Remove, LuaScripts>,
    mut states: Query<&mut ScriptStates>,
    mut queue: ResMut<StopQueue>,
) {
    if let Ok(mut states) = states.get_mut(removed.entity) {
        for mut state in std::mem::take(&mut states.states) {
            queue.push(removed.entity, &mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_too_many_or_too_large_are_forgotten() {
        let program = Arc::new(Program::compile("a", "").expect("it compiles"));
        let stopped = |bytes: usize| Stopped {
            entity: Entity::PLACEHOLDER,
            program: Arc::clone(&program),
            state: ScriptTable::from([("text", "x".repeat(bytes))]),
        };
        let mut queue = StopQueue::default();
        queue.stopped.extend((0..1000).map(|_| stopped(60_000)));
        let shed = queue.shed();
        assert!((400..500).contains(&shed), "{shed}");
        assert_eq!(queue.shed(), 0);
        queue.stopped.clear();
        queue.stopped.extend((0..MOST.count + 7).map(|_| stopped(0)));
        assert_eq!(queue.shed(), 7);
    }
}
