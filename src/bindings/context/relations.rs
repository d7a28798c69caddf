//! Parents and children as a script sees them.

use bevy::ecs::entity::EntityIndexMap;
use bevy::prelude::{ChildOf, Children, Entity, Reflect};

use super::ScriptContext;
use crate::bindings::effects::{Change, new_entity, new_entity_index};
use crate::bindings::hierarchy::{MAX_LEVELS, Misfit, level_below};
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue};

impl ScriptContext<'_> {
    /// The level of a child of an entity, as this script sees the hierarchy.
    pub(super) fn level_below(
        &self,
        parent: Entity,
        child: Option<Entity>,
    ) -> Result<usize, ScriptError> {
        let misfit = |misfit: Misfit| ScriptError::Host { message: misfit.to_string() };
        let moved = self
            .exposure
            .child_of()
            .filter(|number| self.effects.drafts.iter().any(|draft| draft.component == *number));
        // What this unit spawned is known by its level, unless it moved anything.
        if moved.is_none()
            && let Some(index) = new_entity_index(parent)
            && let Some(spawn) = self.effects.spawned.get(index)
        {
            let level = spawn.level + 1;
            return if level > MAX_LEVELS { Err(misfit(Misfit::TooDeep)) } else { Ok(level) };
        }
        level_below(parent, child, |entity| self.parent(entity)).map_err(misfit)
    }

    /// The parent of an entity, as this script sees it.
    pub(super) fn parent(&self, entity: Entity) -> Option<Entity> {
        let moved = self.exposure.child_of().and_then(|number| self.draft(entity, number));
        match (moved, new_entity_index(entity)) {
            (Some(change), _) => change.parent(),
            (None, Some(index)) => self.effects.spawned.get(index)?.parent,
            (None, None) => self.world.get::<ChildOf>(entity).map(ChildOf::parent),
        }
    }

    /// The children of an entity, as this script sees them: those that it had, that were spawned as such, and that
    /// were moved here.
    pub(super) fn children(&self, entity: Entity) -> Vec<Entity> {
        let child_of = self.exposure.child_of();
        let moved: EntityIndexMap<_> = (self.effects.drafts.iter())
            .filter(|draft| Some(draft.component) == child_of)
            .map(|draft| (draft.entity, draft.change.parent()))
            .collect();
        let present = self.world.get::<Children>(entity).into_iter().flatten().copied();
        let spawned = (0..)
            .zip(&self.effects.spawned)
            .filter(|(_, spawn)| spawn.parent == Some(entity))
            .map(|(index, _)| new_entity(index));
        let mut children: Vec<_> = present.chain(spawned).collect();
        if !moved.is_empty() {
            children.retain(|child| !moved.contains_key(child));
            let here = moved.iter().filter(|(_, parent)| **parent == Some(entity));
            children.extend(here.map(|(child, _)| *child));
        }
        children.retain(|child| !self.despawned(*child));
        children
    }

    pub(super) fn property(&self, entity: Entity, name: &str) -> ScriptValue {
        match name {
            "parent" => self.parent(entity).map_or(ScriptValue::Nil, Into::into),
            "children" => {
                let mut list = ScriptTable::default();
                self.children(entity).into_iter().for_each(|child| list.push(child));
                list.into()
            }
            _ => entity.into(),
        }
    }
}

impl Change {
    /// The parent that an entity has after a change of its [`ChildOf`].
    pub(super) fn parent(&self) -> Option<Entity> {
        match self {
            Self::Edited { copy, .. } => parent_named_by(copy.as_ref()),
            Self::Inserted(value) => parent_named_by(value.as_ref()),
            Self::Removed => None,
        }
    }
}

/// The parent that a [`ChildOf`] names.
pub(super) fn parent_named_by(value: &dyn Reflect) -> Option<Entity> {
    value.downcast_ref().map(ChildOf::parent)
}
