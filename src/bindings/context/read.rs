//! Reading components.

use bevy::prelude::Entity;
use bevy::reflect::PartialReflect;

use super::{FoundComponent, ScriptContext};
use crate::bindings::effects::{Change, ScalarWrite};
use crate::bindings::reflect::{self, ValueForm};
use crate::error::ScriptError;
use crate::vm::{Field, FieldPath, FieldRef, Host, ReadResult};

impl<'w> ScriptContext<'w> {
    pub(super) fn draft_index(&self, entity: Entity, component: u32) -> Option<usize> {
        let drafts = &self.effects.drafts;
        drafts.iter().position(|draft| draft.entity == entity && draft.component == component)
    }

    pub(super) fn draft(&self, entity: Entity, component: u32) -> Option<&Change> {
        self.draft_index(entity, component).map(|index| &self.effects.drafts[index].change)
    }

    /// Shows a component as this script sees it; `None` if the entity has none. Leaves that the script
    /// wrote may have their old values still: good for a look at how it is made.
    pub(super) fn look<R>(
        &self,
        entity: Entity,
        component: u32,
        look: impl FnOnce(&dyn PartialReflect) -> R,
    ) -> Option<R> {
        match self.draft(entity, component) {
            Some(Change::Edited { copy, .. }) => Some(look(copy.as_partial_reflect())),
            Some(Change::Inserted(value)) => Some(look(value.as_partial_reflect())),
            Some(Change::Removed) => None,
            None => self.exposure.get(component).look(self.world, entity, look),
        }
    }

    /// Shows the value at a place, up to date.
    pub(super) fn look_at<R>(
        &mut self,
        place: FieldRef,
        look: impl FnOnce(&dyn PartialReflect) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        if !self.effects.leaves.is_empty() {
            self.must_exist(place.entity)?;
            let written = |leaf: &&ScalarWrite| {
                self.is_of(leaf, place.entity, place.component)
                    && place.path.contains(&self.path_of(leaf))
            };
            if let Some(leaf) = self.effects.leaves.iter().find(written) {
                if self.path_of(leaf) == place.path {
                    return look(leaf.value.as_partial_reflect());
                }
                self.open_draft(place)?;
            }
        }
        self.look_at_make(place, look)
    }

    /// As `look_at`, but leaves that the script wrote may have their old values still.
    pub(super) fn look_at_make<R>(
        &self,
        place: FieldRef,
        look: impl FnOnce(&dyn PartialReflect) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        self.must_exist(place.entity)?;
        self.look(place.entity, place.component, |component| {
            look(reflect::at(component, place.path.steps()).ok_or_else(|| self.lost(place))?)
        })
        .unwrap_or_else(|| Err(self.lost(place)))
    }

    pub(super) fn lost(&self, place: FieldRef) -> ScriptError {
        ScriptError::NoComponent {
            entity: place.entity,
            component: self.exposure.get(place.component).name.to_owned(),
        }
    }

    /// A component of the own entity as it is in the world, which doesn't change during a stage.
    #[inline]
    pub(super) fn find_own(&mut self, component: u32) -> Option<FoundComponent<'w>> {
        match self.found {
            Some(found) if found.component == component => Some(found),
            _ => {
                let exposure = &self.exposure;
                let own = self.own?;
                let found = if exposure.fields.is_transform(component) {
                    let transform = self.transforms.get(own.location())?;
                    FoundComponent { component, value: transform, transform: Some(transform) }
                } else {
                    let value = exposure.get(component).find(own)?;
                    FoundComponent { component, value, transform: None }
                };
                self.found = Some(found);
                Some(found)
            }
        }
    }

    pub(super) fn is_of(&self, leaf: &ScalarWrite, entity: Entity, component: u32) -> bool {
        leaf.entity == entity && self.exposure.fields.get(leaf.spot).component == component
    }

    pub(super) fn path_of(&self, leaf: &ScalarWrite) -> FieldPath {
        self.exposure.fields.get(leaf.spot).path
    }

    pub(super) fn reading(
        value: &dyn PartialReflect,
        place: FieldRef,
    ) -> Result<ReadResult, ScriptError> {
        Ok(match reflect::form(value)? {
            ValueForm::Plain(value) => ReadResult::Value(value),
            ValueForm::Fields => ReadResult::FieldRef(place),
            ValueForm::Table(table) => ReadResult::Table(table, place),
        })
    }

    /// The place of a field within a place.
    pub(super) fn within(
        &self,
        place: FieldRef,
        field: Field<'_>,
    ) -> Result<FieldRef, ScriptError> {
        let step = self.look_at_make(place, |value| {
            // Names cost an allocation and are only needed in errors.
            reflect::step(value, field, "")
                .or_else(|_| reflect::step(value, field, &self.name(place)))
        })?;
        let path = place.path.then(step).ok_or_else(|| ScriptError::Host {
            message: format!("`{}` is nested too deeply", self.name(place)),
        })?;
        Ok(FieldRef { path, ..place })
    }
}
