//! Writing fields of components.

use bevy::reflect::{PartialReflect, ReflectRef};
use smallvec::smallvec;

use super::ScriptContext;
use crate::bindings::effects::{Change, Draft, FieldValue, LeafValue, ScalarWrite};
use crate::bindings::field_ids::KnownField;
use crate::bindings::reflect::{self, TypedScalar};
use crate::error::ScriptError;
use crate::value::ScriptValue;
use crate::vm::{FieldId, FieldRef, Host};

impl ScriptContext<'_> {
    /// Writes the value at a place into a copy of the component.
    pub(super) fn edit(&mut self, place: FieldRef, value: ScriptValue) -> Result<(), ScriptError> {
        self.must_exist(place.entity)?;
        let exposed = self.exposure.get(place.component);
        if exposed.read_only {
            return Err(ScriptError::ReadOnly { name: exposed.name.to_owned() });
        }
        if let Some(error) = self.not_finite(place, &value) {
            return Err(error);
        }
        let index = match self.draft_index(place.entity, place.component) {
            Some(index) => index,
            None => {
                if self.edit_leaf(place, &value) {
                    return Ok(());
                }
                if let Some((spot, copy)) = self.copy_field(place) {
                    return self.edit_field(place, spot, copy, value);
                }
                self.open_draft(place)?
            }
        };
        let name =
            self.name_for(place, matches!(value, ScriptValue::Table(_) | ScriptValue::String(_)));
        let registry = self.registry;
        let (copy, paths) = match &mut self.effects.drafts[index].change {
            Change::Edited { copy, paths } => (copy, Some(paths)),
            Change::Inserted(value) => (value, None),
            Change::Removed => return Err(self.lost(place)),
        };
        // A leaf is written as a whole or not at all; a table may be found wrong halfway.
        let before = matches!(value, ScriptValue::Table(_))
            .then(|| exposed.duplicate(copy.as_partial_reflect(), registry))
            .transpose()?;
        let Some(target) = reflect::at_mut(copy.as_partial_reflect_mut(), place.path.steps())
        else {
            return Err(self.lost(place));
        };
        if let Err(error) = reflect::write(target, value, &name, registry) {
            if let Some(before) = before {
                *copy = before;
            }
            return Err(self.named(place, error));
        }
        if let Some(paths) = paths
            && !paths.iter().any(|path| path.contains(&place.path))
        {
            paths.retain(|path| !place.path.contains(path));
            paths.push(place.path);
        }
        Ok(())
    }

    /// Writes a small leaf of a component that has no draft; gives whether it is one and takes the value.
    pub(super) fn edit_leaf(&mut self, place: FieldRef, value: &ScriptValue) -> bool {
        let FieldRef { entity, component, path } = place;
        let Some(spot) = self.exposure.fields.at(component, path) else { return false };
        let mut leaves = self.effects.leaves.iter_mut();
        if let Some(leaf) = leaves.find(|leaf| leaf.entity == entity && leaf.spot == spot) {
            return match &mut leaf.value {
                LeafValue::Small(leaf) => leaf.set(value),
                LeafValue::Field(_) => false,
            };
        }
        let made = self.look(entity, component, |component| {
            TypedScalar::new(reflect::at(component, path.steps())?, value)
        });
        let Some(Some(value)) = made else { return false };
        let value = LeafValue::Small(value);
        self.effects.leaves.push(ScalarWrite { entity, spot, value });
        true
    }

    /// A copy of the field at a place, if it is always there, is written as a whole, and can be copied.
    pub(super) fn copy_field(&self, place: FieldRef) -> Option<(FieldId, Box<dyn PartialReflect>)> {
        let FieldRef { entity, component, path } = place;
        let spots = &self.exposure.fields;
        let spot = spots.at(component, path)?;
        // What is written may name entities that were spawned, for which the whole has to be looked through.
        if path.steps().is_empty() || spots.has_fields(spot) || !self.effects.spawned.is_empty() {
            return None;
        }
        let written = |leaf: &&ScalarWrite| leaf.entity == entity && leaf.spot == spot;
        let copy =
            |value: &dyn PartialReflect| Some(value.reflect_clone().ok()?.into_partial_reflect());
        let copy = match self.effects.leaves.iter().find(written) {
            Some(leaf) => copy(leaf.value.as_partial_reflect()),
            None => self
                .look(entity, component, |component| copy(reflect::at(component, path.steps())?))?,
        };
        Some((spot, copy?))
    }

    /// Writes a value into a copy of a field, and keeps that.
    pub(super) fn edit_field(
        &mut self,
        place: FieldRef,
        spot: FieldId,
        mut copy: Box<dyn PartialReflect>,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        let text = matches!(value, ScriptValue::String(_));
        let enumeration = matches!(copy.reflect_ref(), ReflectRef::Enum(_));
        let name =
            self.name_for(place, matches!(value, ScriptValue::Table(_)) || text && enumeration);
        let size = value.size();
        reflect::write(copy.as_mut(), value, &name, self.registry)
            .map_err(|error| self.named(place, error))?;
        let FieldRef { entity, .. } = place;
        let value = LeafValue::Field(Box::new(FieldValue { value: copy, size }));
        let leaves = &mut self.effects.leaves;
        match leaves.iter_mut().find(|leaf| leaf.entity == entity && leaf.spot == spot) {
            Some(leaf) => leaf.value = value,
            None => leaves.push(ScalarWrite { entity, spot, value }),
        }
        Ok(())
    }

    /// The name of a place if it is needed: it costs an allocation, and comes up in errors alone.
    pub(super) fn name_for(&self, place: FieldRef, needed: bool) -> String {
        if needed { self.name(place) } else { String::new() }
    }

    /// Names the place in an error that doesn't.
    pub(super) fn named(&self, place: FieldRef, error: ScriptError) -> ScriptError {
        match error {
            ScriptError::WrongType { place: at, expected, got } if at.is_empty() => {
                ScriptError::WrongType { place: self.name(place), expected, got }
            }
            error => error,
        }
    }

    /// Makes a draft of the component at a place, with the leaves that were written; gives its number.
    pub(super) fn open_draft(&mut self, place: FieldRef) -> Result<usize, ScriptError> {
        let FieldRef { entity, component, .. } = place;
        let exposed = self.exposure.get(component);
        let mut copy =
            exposed.copy(self.world, entity, self.registry).ok_or_else(|| self.lost(place))??;
        let mut paths = smallvec![];
        self.effects.leaves.retain(|leaf| {
            let spot = self.exposure.fields.get(leaf.spot);
            let belongs = leaf.entity == entity && spot.component == component;
            if belongs {
                let path = spot.path;
                let target = reflect::at_mut(copy.as_partial_reflect_mut(), path.steps());
                let written = target.and_then(|target| leaf.value.write_to(target));
                debug_assert!(written.is_some(), "a leaf is where it was found");
                paths.push(path);
            }
            !belongs
        });
        let change = Change::Edited { copy, paths };
        self.effects.drafts.push(Draft { entity, component, change });
        Ok(self.effects.drafts.len() - 1)
    }

    /// Makes drafts of all components of which leaves were written.
    pub(in crate::bindings) fn open_drafts(&mut self) {
        for leaf in self.effects.leaves.clone() {
            let KnownField { component, path, .. } = *self.exposure.fields.get(leaf.spot);
            if self.draft_index(leaf.entity, component).is_none() {
                // If it can't be copied, nobody but scripts can see what they wrote.
                let _ = self.open_draft(FieldRef { entity: leaf.entity, component, path });
            }
        }
    }
}
