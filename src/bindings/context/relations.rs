//! Parents and children as a script sees them.

use bevy::ecs::entity::EntityIndexMap;
use bevy::prelude::{ChildOf, Children, Entity};

use super::ScriptContext;
use crate::bindings::effects::{new_entity, new_entity_index};
use crate::bindings::hierarchy::{MAX_LEVELS, Misfit, level_below};
use crate::bindings::written_value::WrittenValue;
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue};

impl ScriptContext<'_> {
    /// The level at which a child of `parent` would be, as the script sees the hierarchy.
    pub(super) fn level_below(
        &self,
        parent: Entity,
        child: Option<Entity>,
    ) -> Result<usize, ScriptError> {
        let misfit = |misfit: Misfit| ScriptError::Host { message: misfit.to_string() };
        let moved = self.exposure.child_of().is_some_and(|number| {
            let whole = self.exposure.fields.component_field(number);
            self.effects.writes.iter().any(|write| write.field == whole)
        });
        // The level of a new entity is known, unless the invocation moved any entity.
        if !moved
            && let Some(index) = new_entity_index(parent)
            && let Some(spawn) = self.effects.spawned.get(index)
        {
            let level = spawn.level + 1;
            return if level > MAX_LEVELS { Err(misfit(Misfit::TooDeep)) } else { Ok(level) };
        }
        level_below(parent, child, |entity| self.parent(entity)).map_err(misfit)
    }

    /// The parent of an entity, as the script sees it.
    pub(super) fn parent(&self, entity: Entity) -> Option<Entity> {
        let moved =
            self.exposure.child_of().and_then(|number| self.written_component(entity, number));
        match (moved, new_entity_index(entity)) {
            (Some(written), _) => parent_named_by(written),
            (None, Some(index)) => self.effects.spawned.get(index)?.parent,
            (None, None) => self.world.get::<ChildOf>(entity).map(ChildOf::parent),
        }
    }

    /// The children of an entity, as the script sees them: those in the world, those that it spawned, and those that
    /// it moved here.
    pub(super) fn children(&self, entity: Entity) -> Vec<Entity> {
        let child_of =
            self.exposure.child_of().map(|number| self.exposure.fields.component_field(number));
        let moved: EntityIndexMap<_> = (self.effects.writes.iter())
            .filter(|write| Some(write.field) == child_of)
            .map(|write| (write.entity, parent_named_by(&write.value)))
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

/// The parent that a write to [`ChildOf`] gives an entity.
pub(super) fn parent_named_by(written: &WrittenValue) -> Option<Entity> {
    written.value()?.try_downcast_ref().map(ChildOf::parent)
}
