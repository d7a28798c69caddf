//! [`Effects`]: what an invocation wants to change. Plain data, applied after all runs of the stage.

use bevy::prelude::{Entity, World};
use bevy::reflect::TypeRegistry;

use super::write_log::WriteLog;
use crate::value::ScriptValue;
use crate::vm::LogLine;

/// Everything that an invocation wants to change: the runs of one script on one entity in one stage.
#[derive(Default)]
pub(crate) struct Effects {
    /// Components that are written, inserted and removed.
    pub(crate) writes: WriteLog,
    /// The entities that it spawns, in order.
    pub(crate) spawned: Vec<Spawn>,
    /// Despawns and host commands, in order. Applied after the components.
    pub(crate) commands: Vec<Command>,
    pub(crate) messages: Vec<Mail>,
    pub(crate) emitted: Vec<(String, ScriptValue)>,
    pub(crate) logs: Vec<LogLine>,
}

/// An entity to spawn. Its components are in the write log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spawn {
    pub(crate) parent: Option<Entity>,
    /// Its level below the root of its hierarchy, as the script sees it.
    pub(crate) level: usize,
    pub(crate) scripts: Vec<String>,
    /// How many of these names are new.
    pub(crate) unknown: usize,
}

pub(crate) enum Command {
    Despawn(Entity),
    Host(Box<dyn FnOnce(&mut World) + Send + Sync>),
}

/// A message to the scripts of an entity.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mail {
    pub(crate) to: Entity,
    pub(crate) name: String,
    pub(crate) payload: ScriptValue,
    pub(crate) sender: Option<Entity>,
    /// The line that sent it, if it was recorded.
    pub(crate) line: Option<u32>,
}

/// The effects at some moment, to return to.
#[derive(Default)]
pub(crate) struct Checkpoint {
    writes: WriteLog,
    spawned: usize,
    commands: usize,
    messages: usize,
    emitted: usize,
}

impl Effects {
    /// Whether there is no effect at all.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.is_plain()
    }

    /// Whether there is nothing but writes to components.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.spawned.is_empty()
            && self.commands.is_empty()
            && self.messages.is_empty()
            && self.emitted.is_empty()
            && self.logs.is_empty()
    }

    /// Copies what [`Effects::roll_back`] needs to return here.
    pub(super) fn checkpoint(&self, registry: &TypeRegistry) -> Checkpoint {
        Checkpoint {
            writes: self.writes.duplicate(registry),
            spawned: self.spawned.len(),
            commands: self.commands.len(),
            messages: self.messages.len(),
            emitted: self.emitted.len(),
        }
    }

    /// Drops all that came after the checkpoint, except log lines: they tell of the failure.
    pub(crate) fn roll_back(&mut self, to: Checkpoint) {
        self.writes = to.writes;
        self.spawned.truncate(to.spawned);
        self.commands.truncate(to.commands);
        self.messages.truncate(to.messages);
        self.emitted.truncate(to.emitted);
    }
}

/// How many entities one invocation can spawn, so that their stand-ins fit a reserved range.
pub(crate) const MAX_NEW_ENTITIES: usize = 1 << 16;

/// The stand-in for the entity that an invocation spawned as number `index`. The entity itself is allocated when the
/// stage is applied, so that entity ids don't depend on the order of threads.
///
/// Stand-ins use the highest indices, which no world reaches.
pub(crate) fn new_entity(index: usize) -> Entity {
    let index = u32::MAX - 2 - u32::try_from(index).expect("below `MAX_NEW_ENTITIES`");
    Entity::from_raw_u32(index).expect("every index but `u32::MAX` is valid")
}

/// The `index` of a stand-in; `None` if the entity is none.
pub(crate) fn new_entity_index(entity: Entity) -> Option<usize> {
    let index = (u32::MAX - 2).checked_sub(entity.index_u32())? as usize;
    (index < MAX_NEW_ENTITIES).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_are_told_from_real_entities() {
        for index in [0, 1, MAX_NEW_ENTITIES - 1] {
            assert_eq!(new_entity_index(new_entity(index)), Some(index));
        }
        let real = Entity::from_raw_u32(1_000_000).expect("a small index");
        assert_eq!(new_entity_index(real), None);
        assert_eq!(new_entity_index(Entity::PLACEHOLDER), None);
    }
}
