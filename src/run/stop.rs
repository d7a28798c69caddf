//! [`StopQueue`]: scripts that were removed, until their `on_stop` has run.

use std::sync::Arc;

use bevy::ecs::change_detection::{DetectChanges, Tick};
use bevy::ecs::lifecycle::Remove;
use bevy::prelude::{Entity, On, Query, ResMut, Resource};

use crate::bindings::{Amount, SpawnedByScript};
use crate::run::invocation::Invocation;
use crate::run::last_state::{LastPlace, LastState};
use crate::run::outcome::InvocationOutcome;
use crate::script::{LuaScripts, ScriptState, ScriptStates};
use crate::value::ScriptTable;
use crate::vm::{Callback, Program, StateChange};

/// The scripts whose `on_stop` is due, in the order in which they were removed.
#[derive(Resource, Default)]
pub(crate) struct StopQueue {
    pub(crate) stopped: Vec<Stopped>,
}

/// A script that was removed from an entity.
pub(crate) struct Stopped {
    pub(crate) entity: Entity,
    pub(crate) program: Arc<Program>,
    pub(crate) last: LastState,
}

/// What tells which scripts were removed, and which states changed, after a stage was collected.
pub(super) struct SinceCollected {
    /// How many stops were queued when it was collected: they are none of its own.
    pub(super) known_stops: usize,
    /// When the runs had ended.
    pub(super) executed: Tick,
    pub(super) now: Tick,
}

/// How many may wait for their `on_stop`. If scripts come and go faster than they can be stopped, the latest are
/// forgotten.
const MOST: Amount = Amount { count: 1 << 16, bytes: 32 * 1024 * 1024 };

impl Stopped {
    fn size(&self) -> usize {
        size_of::<Self>() + self.last.fields.size()
    }
}

impl StopQueue {
    /// Forgets those that exceed the limit. Gives how many.
    pub(crate) fn shed(&mut self) -> usize {
        let mut all = Amount::default();
        let fits = |stopped: &Stopped| all.add(Amount { count: 1, bytes: stopped.size() }, MOST);
        let kept = self.stopped.iter().map(fits).take_while(|fits| *fits).count();
        let shed = self.stopped.len() - kept;
        self.stopped.truncate(kept);
        shed
    }

    /// Queues a state whose script was removed, if it had started.
    pub(crate) fn push(
        &mut self,
        entity: Entity,
        at: LastPlace,
        state: &mut ScriptState,
        origin: Option<Entity>,
    ) {
        let state = std::mem::take(state);
        let draws = state.draws();
        if let (true, Some(program)) = (state.started, state.attached.program) {
            let last = LastState::new(state.fields, draws, origin, at);
            self.stopped.push(Stopped { entity, program, last });
        }
    }

    /// Keeps what an invocation did to its state, which was removed after the invocation was collected. Gives whether
    /// that conflicts with a change that the game made: then the game's stays.
    pub(super) fn catch_up(
        &mut self,
        invocation: &Invocation,
        program: &Arc<Program>,
        outcome: &mut InvocationOutcome,
        origin: Option<Entity>,
        since: &SinceCollected,
    ) -> bool {
        let change = std::mem::take(&mut outcome.state);
        let SinceCollected { known_stops, executed, now } = *since;
        let known_stops = known_stops.min(self.stopped.len());
        let is_its = |stopped: &&mut Stopped| {
            stopped.entity == invocation.entity
                && stopped.last.at.slot == invocation.slot
                && Arc::ptr_eq(&stopped.program, program)
        };
        match self.stopped[known_stops..].iter_mut().find(is_its) {
            Some(Stopped { last, .. }) => {
                last.draws += u64::from(outcome.drew);
                if last.at.changed.is_newer_than(executed, now) {
                    return change != StateChange::Unchanged;
                }
                change.apply(&mut last.fields);
            }
            // It was not queued: it had not started before this stage.
            None if outcome.started && invocation.due.contains(Callback::Start) => {
                let fields = change.applied_to(&ScriptTable::default());
                let at = LastPlace { slot: invocation.slot, changed: now };
                let last = LastState::new(fields, u64::from(outcome.drew), origin, at);
                self.stopped.push(Stopped {
                    entity: invocation.entity,
                    program: program.clone(),
                    last,
                });
            }
            None => {}
        }
        false
    }
}

/// Queues the scripts of an entity when `LuaScripts` or `ScriptStates` is removed or the entity is despawned,
/// whichever comes first.
pub(crate) fn on_scripts_removed(
    removed: On<Remove, (LuaScripts, ScriptStates)>,
    mut states: Query<(&mut ScriptStates, Option<&SpawnedByScript>)>,
    mut queue: ResMut<StopQueue>,
) {
    if let Ok((mut states, spawned)) = states.get_mut(removed.entity) {
        let origin = states.origin.or(spawned.map(|spawned| spawned.origin));
        let changed = states.last_changed();
        let states = std::mem::take(&mut states.states);
        for (slot, mut state) in (0..).zip(states) {
            queue.push(removed.entity, LastPlace { slot, changed }, &mut state, origin);
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
            last: LastState::new(
                ScriptTable::from([("text", "x".repeat(bytes))]),
                0,
                None,
                LastPlace { slot: 0, changed: Tick::default() },
            ),
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
