//! Writing fields of components.

use bevy::prelude::Entity;
use bevy::reflect::PartialReflect;

use super::ScriptContext;
use crate::bindings::reflect::{self, ValuePath, as_scalar};
use crate::bindings::write_log::ComponentWrite;
use crate::bindings::written_value::{WholeValue, WrittenValue};
use crate::error::ScriptError;
use crate::value::ScriptValue;
use crate::vm::{FieldId, FieldRef, Host};

impl ScriptContext<'_> {
    /// Writes a value to a place in a component that exists.
    pub(super) fn edit(&mut self, place: FieldRef, value: ScriptValue) -> Result<(), ScriptError> {
        self.must_exist(place.entity)?;
        let exposed = self.exposure.get(place.component);
        if exposed.read_only {
            return Err(ScriptError::ReadOnly { name: exposed.name.to_owned() });
        }
        if let Some(error) = self.not_finite(place, &value) {
            return Err(error);
        }
        let fields = &self.exposure.fields;
        match self.effects.writes.around(fields, place) {
            None => self.edit_field(place, value),
            Some(ComponentWrite { value: WrittenValue::Scalar(_), .. }) => {
                self.edit_field(place, value)
            }
            Some(ComponentWrite { value: WrittenValue::Remove, .. }) => Err(self.lost(place)),
            Some(_) => self.edit_within(place, value),
        }
    }

    /// Writes a value to a field that is in no whole value of the log: as a scalar, or into a copy of the field.
    fn edit_field(&mut self, place: FieldRef, value: ScriptValue) -> Result<(), ScriptError> {
        let FieldRef { entity, component, path } = place;
        let fields = &self.exposure.fields;
        let id = fields.at(component, path);
        let kind = id.and_then(|id| fields.get(id).scalar);
        if let (Some(id), Some(kind)) = (id, kind)
            && let Some(scalar) = as_scalar(&value).and_then(|value| kind.take(value))
        {
            if self.look(entity, component, |_| ()).is_none() {
                return Err(self.lost(place));
            }
            self.log_value(entity, id, WrittenValue::Scalar(scalar));
            return Ok(());
        }
        let (id, mut copy) = self.copy_field(place)?;
        let size = value.size();
        let around = fields.get(id).path.steps().len();
        let target = reflect::at_mut(copy.as_mut(), &path.steps()[around..])
            .ok_or_else(|| self.lost(place))?;
        reflect::write(target, value, &ValuePath::Root(""), self.registry)
            .map_err(|error| self.named(place, error))?;
        let scalar = fields.get(id).scalar.and_then(|kind| kind.copy(copy.as_ref()));
        let whole = || WrittenValue::Whole(Box::new(WholeValue { value: copy, size }));
        self.log_value(entity, id, scalar.map_or_else(whole, WrittenValue::Scalar));
        Ok(())
    }

    /// A copy of the field at a place with the script's writes, or of the nearest field around it that can be copied.
    fn copy_field(
        &self,
        place: FieldRef,
    ) -> Result<(FieldId, Box<dyn PartialReflect>), ScriptError> {
        let FieldRef { entity, component, .. } = place;
        let (exposed, fields) = (self.exposure.get(component), &self.exposure.fields);
        let mut id = fields.nearest(component, place.path);
        loop {
            let path = fields.get(id).path;
            let copied = self.look(entity, component, |component| {
                let value = reflect::at(component, path.steps())?;
                Some(reflect::copy_value(value, self.registry))
            });
            let copied = copied.flatten().ok_or_else(|| self.lost(place))?;
            if let Some(mut copy) = copied {
                self.write_to_copy(FieldRef { path, ..place }, copy.as_mut());
                return Ok((id, copy));
            }
            id = fields.around(id).ok_or_else(|| exposed.cannot_be_copied())?;
        }
    }

    /// Logs a value for a field, in place of earlier entries for it and the fields within.
    fn log_value(&mut self, entity: Entity, field: FieldId, value: WrittenValue) {
        let fields = &self.exposure.fields;
        let known = fields.get(field);
        let place = FieldRef { entity, component: known.component, path: known.path };
        if let Some(copy) = self.copies.get_mut(entity, place.component)
            && let Some(target) = reflect::at_mut(copy.as_partial_reflect_mut(), place.path.steps())
        {
            let _ = value.write_to(target);
        }
        let writes = &mut self.effects.writes;
        if let Some(write) = writes.iter_mut().find(|it| it.field == field && it.entity == entity) {
            write.value = value;
            return;
        }
        if known.is_compound {
            writes.remove_within(fields, place);
        }
        writes.push(ComponentWrite { entity, field, value });
    }

    /// Writes a value into the whole value that the log has for the field or for one around it.
    fn edit_within(&mut self, place: FieldRef, value: ScriptValue) -> Result<(), ScriptError> {
        let exposed = self.exposure.get(place.component);
        let fields = &self.exposure.fields;
        let (lost, registry) = (self.lost(place), self.registry);
        let Some(write) = self.effects.writes.around_mut(fields, place) else { return Err(lost) };
        let path = fields.get(write.field).path;
        let Some(whole) = write.value.whole_mut() else { return Err(lost) };
        // A table may turn out wrong halfway, so keep a copy to restore.
        let before = matches!(value, ScriptValue::Table(_)).then(|| {
            reflect::copy_value(whole.value.as_ref(), registry)
                .ok_or_else(|| exposed.cannot_be_copied())
        });
        let before = before.transpose()?;
        let within = &place.path.steps()[path.steps().len()..];
        let Some(target) = reflect::at_mut(whole.value.as_mut(), within) else { return Err(lost) };
        let size = value.size();
        if let Err(error) = reflect::write(target, value, &ValuePath::Root(""), registry) {
            if let Some(before) = before {
                whole.value = before;
            }
            return Err(self.named(place, error));
        }
        if within.is_empty() {
            whole.size = size;
        }
        if let Some(copy) = self.copies.get_mut(place.entity, place.component)
            && let Some(target) = reflect::at_mut(copy.as_partial_reflect_mut(), path.steps())
        {
            let _ = write.value.write_to(target);
        }
        Ok(())
    }

    /// Prepends the name of a place to the path in an error.
    pub(super) fn named(&self, place: FieldRef, mut error: ScriptError) -> ScriptError {
        if let ScriptError::WrongType { place: within, .. }
        | ScriptError::UnknownField { owner: within, .. }
        | ScriptError::ReadOnly { name: within } = &mut error
        {
            *within = self.name(place) + within;
        }
        error
    }
}
