//! What a unit of runs wants to change: plain data, applied after all runs of the stage.

use bevy::prelude::{Entity, Reflect, World};
use bevy::reflect::PartialReflect;
use smallvec::SmallVec;

use super::reflect::{TypedScalar, assign_if_it_differs};
use crate::value::ScriptValue;
use crate::vm::{FieldId, FieldPath, LogLine};

/// Everything that the runs of one script on one entity want to change in one stage.
#[derive(Default)]
pub(crate) struct Effects {
    /// Leaves that were written, of components that have no draft.
    pub(crate) leaves: Leaves,
    pub(crate) drafts: Vec<Draft>,
    /// The entities that it spawned, by the order in which it did.
    pub(crate) spawned: Vec<Spawn>,
    /// What comes after the drafts, in the order in which the script asked for it.
    pub(crate) commands: Vec<Command>,
    pub(crate) messages: Vec<Mail>,
    pub(crate) emitted: Vec<(String, ScriptValue)>,
    pub(crate) logs: Vec<LogLine>,
}

pub(crate) type Leaves = SmallVec<[ScalarWrite; 1]>;

/// A leaf of a present component that has a new value.
#[derive(Clone, Debug)]
pub(crate) struct ScalarWrite {
    pub(crate) entity: Entity,
    pub(crate) spot: FieldId,
    pub(crate) value: LeafValue,
}

/// A component that was written.
pub(crate) struct Draft {
    pub(crate) entity: Entity,
    pub(crate) component: u32,
    pub(crate) change: Change,
}

pub(crate) enum Change {
    /// Places of a present component have new values.
    Edited {
        copy: Box<dyn Reflect>,
        paths: SmallVec<[FieldPath; 2]>,
    },
    /// The component is inserted, or replaced as a whole.
    Inserted(Box<dyn Reflect>),
    Removed,
}

/// An entity to spawn. Its components are drafts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spawn {
    pub(crate) parent: Option<Entity>,
    /// Its level below the root of its hierarchy, as the script saw that.
    pub(crate) level: usize,
    pub(crate) scripts: Vec<String>,
    /// How many of these are not known yet.
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
    /// The line that sent it, if that was noted.
    pub(crate) line: Option<u32>,
}

/// What a leaf is to be.
#[derive(Debug)]
pub(crate) enum LeafValue {
    Small(TypedScalar),
    /// A text, an enum, a list, a map: whatever has no leaves of its own that could be written one by one.
    Field(Box<FieldValue>),
}

#[derive(Debug)]
pub(crate) struct FieldValue {
    pub(crate) value: Box<dyn PartialReflect>,
    /// Roughly the bytes that the script handed over for it.
    pub(crate) size: usize,
}

impl LeafValue {
    pub(super) fn as_partial_reflect(&self) -> &dyn PartialReflect {
        match self {
            Self::Small(leaf) => leaf.as_partial_reflect(),
            Self::Field(field) => field.value.as_ref(),
        }
    }

    /// Roughly the bytes that the script handed over for it, if it can be large.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Small(_) => 0,
            Self::Field(field) => field.size,
        }
    }

    /// Writes it to where it belongs if that differs; `None` if that is of another type.
    pub(super) fn write_to(&self, target: &mut dyn PartialReflect) -> Option<bool> {
        match self {
            Self::Small(leaf) => leaf.write_to(target),
            Self::Field(field) => Some(assign_if_it_differs(target, field.value.as_ref())),
        }
    }
}

impl Clone for LeafValue {
    fn clone(&self) -> Self {
        match self {
            Self::Small(leaf) => Self::Small(*leaf),
            Self::Field(field) => {
                let FieldValue { value, size } = &**field;
                let copy = value.reflect_clone().map(PartialReflect::into_partial_reflect);
                let value = copy.unwrap_or_else(|_| value.to_dynamic());
                Self::Field(Box::new(FieldValue { value, size: *size }))
            }
        }
    }
}

/// A point to return to.
#[derive(Default)]
pub(crate) struct Checkpoint {
    leaves: Leaves,
    drafts: Vec<Draft>,
    spawned: usize,
    commands: usize,
    messages: usize,
    emitted: usize,
}

impl Effects {
    /// Whether there is nothing at all.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.is_plain()
    }

    /// Whether there is nothing but leaves.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.drafts.is_empty()
            && self.spawned.is_empty()
            && self.commands.is_empty()
            && self.messages.is_empty()
            && self.emitted.is_empty()
            && self.logs.is_empty()
    }

    /// Notes where the effects stand; `copy` copies a component.
    pub(super) fn checkpoint(
        &self,
        copy: impl Fn(u32, &dyn PartialReflect) -> Box<dyn Reflect>,
    ) -> Checkpoint {
        Checkpoint {
            leaves: self.leaves.clone(),
            drafts: self.drafts.iter().map(|draft| draft.duplicate(&copy)).collect(),
            spawned: self.spawned.len(),
            commands: self.commands.len(),
            messages: self.messages.len(),
            emitted: self.emitted.len(),
        }
    }

    /// Takes back all that came after the checkpoint. Log lines stay: they tell of the failure.
    pub(crate) fn roll_back(&mut self, to: Checkpoint) {
        self.leaves = to.leaves;
        self.drafts = to.drafts;
        self.spawned.truncate(to.spawned);
        self.commands.truncate(to.commands);
        self.messages.truncate(to.messages);
        self.emitted.truncate(to.emitted);
    }
}

impl Draft {
    fn duplicate(&self, copy: impl Fn(u32, &dyn PartialReflect) -> Box<dyn Reflect>) -> Self {
        let clone = |value: &dyn Reflect| copy(self.component, value.as_partial_reflect());
        let change = match &self.change {
            Change::Edited { copy, paths } => {
                Change::Edited { copy: clone(copy.as_ref()), paths: paths.clone() }
            }
            Change::Inserted(value) => Change::Inserted(clone(value.as_ref())),
            Change::Removed => Change::Removed,
        };
        Self { entity: self.entity, component: self.component, change }
    }
}

/// How many entities one unit can spawn in a stage, so that their stand-ins fit a reserved range.
pub(crate) const MAX_NEW_ENTITIES: usize = 1 << 16;

/// The stand-in for the entity that a run spawned as number `index`: it gets its place in the world
/// when the stage is applied, so that the numbers of entities don't depend on threads.
///
/// Stand-ins lie at the end of the range of indices, where no world gets.
pub(crate) fn new_entity(index: usize) -> Entity {
    let index = u32::MAX - 2 - u32::try_from(index).expect("below `MAX_NEW_ENTITIES`");
    Entity::from_raw_u32(index).expect("every index but `u32::MAX` is valid")
}

/// The number of a stand-in, if this is one.
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
