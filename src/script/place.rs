//! [`StateLocation`]: where a state was found when it was matched with its script.

use bevy::ecs::change_detection::Tick;
use bevy::prelude::Entity;

/// Where a state was found when it was matched with its script, and under which number its program is
/// known.
///
/// As long as the state is still there, nothing has come between it and its script. It goes where the state
/// goes: so a state that the game cloned, moved, or put back into an earlier one's place is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateLocation {
    entity: Entity,
    /// The numbering of programs; each app has others.
    numbering: u64,
    /// When the entity's list of scripts was last changed.
    changed: Tick,
    /// Its place among the entity's states.
    slot: u32,
}

impl StateLocation {
    pub(crate) fn new(entity: Entity, numbering: u64, changed: Tick, slot: usize) -> Self {
        // An entity has fewer scripts than that.
        Self { entity, numbering, changed, slot: slot as u32 }
    }
}

impl Default for StateLocation {
    /// Nowhere.
    fn default() -> Self {
        Self::new(Entity::PLACEHOLDER, 0, Tick::default(), 0)
    }
}
