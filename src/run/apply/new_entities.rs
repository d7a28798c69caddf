//! Replaces the stand-ins of spawned entities, which scripts were given, with the entities in the world.

use bevy::prelude::Entity;

use crate::bindings::{Command, new_entity_index};
use crate::run::outcome::OutcomeExtras;
use crate::vm::StateChange;

/// The entity that a stand-in stands for; any other entity is itself. `new` are the entities that the invocation
/// spawned.
pub(super) fn resolve(entity: Entity, new: &[Entity]) -> Entity {
    new_entity_index(entity).and_then(|index| new.get(index)).copied().unwrap_or(entity)
}

/// Replaces all stand-ins in an outcome, except in components: those are replaced when they are written.
pub(super) fn resolve_all(state: &mut StateChange, more: &mut OutcomeExtras) {
    let OutcomeExtras { new, effects, .. } = more;
    let resolve_new = &mut |entity| resolve(entity, new);
    state.map_entities(resolve_new);
    for mail in &mut effects.messages {
        mail.to = resolve(mail.to, new);
        mail.payload.map_entities(resolve_new);
    }
    for (_, payload) in &mut effects.emitted {
        payload.map_entities(resolve_new);
    }
    for command in &mut effects.commands {
        if let Command::Despawn(entity) = command {
            *entity = resolve(*entity, new);
        }
    }
}
