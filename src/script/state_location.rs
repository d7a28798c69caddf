//! [`StateLocation`]: tells whether a state is still where it was matched with its script.

use bevy::ecs::change_detection::Tick;
use bevy::prelude::Entity;

/// Where a state was when it was matched with its script.
///
/// It is stored in the state. As long as it is equal to the state's current location, the match and the program's
/// number are still right. A state that the game cloned, moved or put back has another location, and is matched anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateLocation {
    entity: Entity,
    /// Which numbering of programs; each app has its own.
    numbering: u64,
    /// When the entity's list of scripts was last changed.
    changed: Tick,
    /// Its index among the entity's states.
    slot: u32,
}

impl StateLocation {
    pub(crate) fn new(entity: Entity, numbering: u64, changed: Tick, slot: usize) -> Self {
        // An entity has fewer scripts than `u32::MAX`.
        Self { entity, numbering, changed, slot: slot as u32 }
    }
}

impl Default for StateLocation {
    /// Nowhere.
    fn default() -> Self {
        Self::new(Entity::PLACEHOLDER, 0, Tick::default(), 0)
    }
}
