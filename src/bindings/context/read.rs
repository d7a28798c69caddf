//! Reading components.

use bevy::prelude::Entity;
use bevy::reflect::{PartialReflect, Reflect};

use super::ScriptContext;
use crate::bindings::component::FoundComponent;
use crate::bindings::reflect::{self, ValueForm, ValuePath};
use crate::bindings::stage_columns::StageColumns;
use crate::bindings::written_value::WrittenValue;
use crate::error::ScriptError;
use crate::vm::{Field, FieldPath, FieldRef, Host, ReadResult};

impl<'w> ScriptContext<'w> {
    /// The log entry of a whole component: written, inserted or removed.
    pub(super) fn written_component(
        &self,
        entity: Entity,
        component: u32,
    ) -> Option<&WrittenValue> {
        let written = self.effects.writes.of_component(&self.exposure.fields, entity, component);
        written.map(|write| &write.value)
    }

    /// Whether the script wrote to any field of a component.
    pub(super) fn writes_fields_of(&self, entity: Entity, component: u32) -> bool {
        let place = FieldRef { entity, component, path: FieldPath::default() };
        self.effects.writes.within(&self.exposure.fields, place).next().is_some()
    }

    /// Shows a component to `look`; `None` if the script sees none. Its structure is up to date, but single fields that
    /// the script wrote may have their old values.
    pub(super) fn look<R>(
        &self,
        entity: Entity,
        component: u32,
        look: impl FnOnce(&dyn PartialReflect) -> R,
    ) -> Option<R> {
        match self.written_component(entity, component) {
            Some(written) => written.value().map(look),
            None => self.exposure.get(component).look(self.world, entity, look),
        }
    }

    /// Shows the value at a place to `look`, with the script's own writes.
    pub(super) fn look_at<R>(
        &self,
        place: FieldRef,
        look: impl FnOnce(&dyn PartialReflect) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        let (fields, writes) = (&self.exposure.fields, &self.effects.writes);
        if writes.is_empty() {
            return self.look_at_structure(place, look);
        }
        self.must_exist(place.entity)?;
        let lost = || self.lost(place);
        if let Some(write) = writes.around(fields, place) {
            let within = &place.path.steps()[fields.get(write.field).path.steps().len()..];
            let value = write.value.value().ok_or_else(lost)?;
            return look(reflect::at(value, within).ok_or_else(lost)?);
        }
        if writes.within(fields, place).next().is_none() {
            return self.look_at_structure(place, look);
        }
        let copy = self.edited_copy(place.entity, place.component)?;
        look(reflect::at(copy.as_partial_reflect(), place.path.steps()).ok_or_else(lost)?)
    }

    /// As `look_at`, but single fields that the script wrote may have their old values.
    pub(super) fn look_at_structure<R>(
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

    /// A copy of a component that includes what the script wrote to its fields. Made once, then kept up to date.
    pub(super) fn edited_copy(
        &self,
        entity: Entity,
        component: u32,
    ) -> Result<&dyn Reflect, ScriptError> {
        self.copies.get_or_make(entity, component, || {
            let place = FieldRef { entity, component, path: FieldPath::default() };
            let exposed = self.exposure.get(component);
            let copy = |value: &dyn PartialReflect| exposed.duplicate(value, self.registry);
            let mut copy =
                exposed.look(self.world, entity, copy).ok_or_else(|| self.lost(place))??;
            self.write_to_copy(place, copy.as_partial_reflect_mut());
            Ok(copy)
        })
    }

    /// Applies the script's writes within a place to a copy of the value there.
    pub(super) fn write_to_copy(&self, place: FieldRef, copy: &mut dyn PartialReflect) {
        let fields = &self.exposure.fields;
        for write in self.effects.writes.within(fields, place) {
            let path = fields.get(write.field).path;
            let target = reflect::at_mut(copy, &path.steps()[place.path.steps().len()..]);
            let written = target.and_then(|target| write.value.write_to(target));
            debug_assert!(written.is_some(), "a field is where it was found");
        }
    }

    pub(super) fn lost(&self, place: FieldRef) -> ScriptError {
        ScriptError::NoComponent {
            entity: place.entity,
            component: self.exposure.get(place.component).name.to_owned(),
        }
    }

    /// A component of the entity that the script runs for, as it is in the world.
    #[inline]
    pub(super) fn find_own(&mut self, component: u32) -> Option<FoundComponent<'w>> {
        match self.found {
            Some((number, found)) if number == component => Some(found),
            _ => self.look_up_own(component),
        }
    }

    /// Whether the own entity has a component in the world.
    #[inline]
    pub(super) fn own_has(&mut self, component: u32) -> bool {
        matches!(self.found, Some((number, _)) if number == component)
            || self.look_up_own(component).is_some()
    }

    /// Finds a component of the own entity, which was not found last.
    #[inline(never)]
    fn look_up_own(&mut self, component: u32) -> Option<FoundComponent<'w>> {
        self.look_up_own_here(component)
    }

    /// As [`Self::look_up_own`], inlined: for the first use of a component in a run.
    #[inline(always)]
    pub(super) fn look_up_own_here(&mut self, component: u32) -> Option<FoundComponent<'w>> {
        let own = self.own.as_ref()?;
        let columns: &'w StageColumns<'w> = self.columns;
        let found = match columns.get(component) {
            Some(column) => FoundComponent::Typed(column.get(own.location())?),
            None => {
                columns.note_use(component);
                self.find_by_reflection(component)?
            }
        };
        self.found = Some((component, found));
        Some(found)
    }

    #[cold]
    fn find_by_reflection(&self, component: u32) -> Option<FoundComponent<'w>> {
        self.exposure.get(component).find(self.own?)
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

    /// The place of a field of the value at a place.
    pub(super) fn within(
        &self,
        place: FieldRef,
        field: Field<'_>,
    ) -> Result<FieldRef, ScriptError> {
        let step = self.look_at_structure(place, |value| {
            let step = reflect::step(value, field, &ValuePath::Root(""));
            step.map_err(|error| self.named(place, error))
        })?;
        let path = place.path.then(step).ok_or_else(|| ScriptError::Host {
            message: format!("`{}` is nested too deeply", self.name(place)),
        })?;
        Ok(FieldRef { path, ..place })
    }
}
