//! [`Host`] for [`ScriptContext`]: what a VM asks of the world during a run.

use bevy::prelude::Entity;

use super::ScriptContext;
use crate::bindings::exposure::PROPERTIES;
use crate::bindings::field_ids::KnownField;
use crate::bindings::reflect;
use crate::bindings::write_log::ComponentWrite;
use crate::bindings::written_value::WrittenValue;
use crate::error::{ScriptError, Setting};
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::{
    Atom, Field, FieldId, FieldPath, FieldRef, Host, Live, LogLevel, LogLine, ReadResult,
    RunRandom, Scalar, ScalarRead,
};

/// What the write log says about a field of the entity that the script runs for.
enum OwnField<'l> {
    /// It was not written.
    InWorld,
    Written(&'l mut WrittenValue),
    /// A field around it was written as a whole, or the component was inserted or removed.
    Replaced,
}

impl ScriptContext<'_> {
    /// Looks up a field of the own entity in the write log.
    #[inline(always)]
    fn own_write(&mut self, field: FieldId) -> OwnField<'_> {
        let (entity, fields) = (self.entity, &self.exposure.fields);
        for write in self.effects.writes.iter_mut() {
            if write.entity != entity {
                continue;
            }
            if write.field == field {
                return OwnField::Written(&mut write.value);
            }
            // A scalar contains no other field.
            if !write.value.is_scalar() && fields.contains(write.field, field) {
                return OwnField::Replaced;
            }
        }
        OwnField::InWorld
    }
}

impl Host for ScriptContext<'_> {
    fn entity(&self) -> Entity {
        self.entity
    }

    fn component(&mut self, entity: Entity, name: &str) -> Result<ReadResult, ScriptError> {
        if name == "id" {
            return Ok(ReadResult::Value(entity.into()));
        }
        self.must_exist(entity)?;
        if PROPERTIES.contains(&name) {
            return Ok(ReadResult::Value(self.property(entity, name)));
        }
        let component = self.exposure.number(name)?;
        let place = FieldRef { entity, component, path: FieldPath::default() };
        self.look(entity, component, |value| Self::reading(value, place))
            .unwrap_or(Ok(ReadResult::Value(ScriptValue::Nil)))
    }

    fn set_component(
        &mut self,
        entity: Entity,
        name: &str,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        self.must_exist(entity)?;
        if PROPERTIES.contains(&name) {
            return Err(ScriptError::ReadOnly { name: name.to_owned() });
        }
        let component = self.exposure.number(name)?;
        if value != ScriptValue::Nil {
            self.count_bytes("bytes in components", value.size())?;
            return self.assign(entity, component, value);
        }
        if self.exposure.get(component).fixed {
            return Err(ScriptError::ReadOnly { name: name.to_owned() });
        }
        if self.look(entity, component, |_| ()).is_none() {
            return Ok(());
        }
        self.log_component(entity, component, WrittenValue::Remove)
    }

    fn field(&mut self, place: FieldRef, field: Field<'_>) -> Result<ReadResult, ScriptError> {
        let inner = self.within(place, field)?;
        self.look_at(inner, |value| Self::reading(value, inner))
    }

    fn set_field(
        &mut self,
        place: FieldRef,
        field: Field<'_>,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        let inner = self.within(place, field)?;
        self.count_written(inner, &value)?;
        self.edit(inner, value)
    }

    fn copy(&mut self, place: FieldRef) -> Result<ScriptValue, ScriptError> {
        self.look_at(place, reflect::read)
    }

    fn replace(
        &mut self,
        place: FieldRef,
        value: ScriptValue,
        before: usize,
    ) -> Result<(), ScriptError> {
        self.count_replaced(place, value.size(), before)?;
        self.edit(place, value)
    }

    fn name(&self, place: FieldRef) -> String {
        let mut name = self.exposure.get(place.component).name.to_owned();
        self.look(place.entity, place.component, |component| {
            let steps = place.path.steps();
            for depth in 0..steps.len() {
                if let Some(value) = reflect::at(component, &steps[..depth]) {
                    name.push_str(&reflect::field_name(value, steps[depth]));
                }
            }
        });
        name
    }

    fn own_component(&mut self, name: Atom) -> Option<FieldId> {
        let fields = &self.exposure.fields;
        let field = fields.component(name)?;
        if !self.effects.commands.is_empty() || !matches!(self.own_write(field), OwnField::InWorld)
        {
            return None;
        }
        let component = fields.get(field).component;
        let is_there = matches!(self.found, Some((found, _)) if found == component)
            || self.look_up_own_here(component).is_some();
        is_there.then_some(field)
    }

    fn own_field(&mut self, within: FieldId, name: Atom) -> Option<ScalarRead> {
        let fields = &self.exposure.fields;
        let field = fields.field(within, name)?;
        let KnownField { component, path, scalar, .. } = fields.get(field);
        if !self.effects.commands.is_empty() {
            return None;
        }
        match self.own_write(field) {
            OwnField::InWorld => {}
            OwnField::Written(WrittenValue::Scalar(scalar)) => {
                return scalar.read().map(ScalarRead::Scalar);
            }
            OwnField::Written(_) | OwnField::Replaced => return None,
        }
        let Some(kind) = scalar else {
            return fields.has_fields(field).then_some(ScalarRead::FieldId(field));
        };
        self.find_own(*component)?.scalar(path, *kind).map(ScalarRead::Scalar)
    }

    fn set_own_field(&mut self, within: FieldId, name: Atom, value: Scalar) -> bool {
        let exposure = &self.exposure;
        let Some(field) = exposure.fields.field(within, name) else { return false };
        let KnownField { component, scalar, .. } = exposure.fields.get(field);
        let read_only = exposure.get(*component).read_only;
        let Some(value) = scalar.and_then(|kind| kind.take(value)) else { return false };
        // The general way reports numbers that are not finite, and keeps edited copies up to date.
        if !self.effects.commands.is_empty()
            || !self.copies.is_empty()
            || read_only
            || !(value.is_finite() || self.allow_non_finite)
        {
            return false;
        }
        match self.own_write(field) {
            OwnField::InWorld => {}
            OwnField::Written(WrittenValue::Scalar(written)) => {
                *written = value;
                return true;
            }
            OwnField::Written(_) | OwnField::Replaced => return false,
        }
        if !self.own_has(*component) {
            return false;
        }
        let value = WrittenValue::Scalar(value);
        self.effects.writes.push(ComponentWrite { entity: self.entity, field, value });
        true
    }

    fn own_place(&self, field: FieldId) -> FieldRef {
        let KnownField { component, path, .. } = *self.exposure.fields.get(field);
        FieldRef { entity: self.entity, component, path }
    }

    fn call(
        &mut self,
        function: u32,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
    ) -> Result<ScriptValues, ScriptError> {
        self.api.call(function, self, args, random)
    }

    fn live(&mut self, namespace: u32, path: &[&str]) -> Result<Live, ScriptError> {
        self.api.live(namespace, self, path)
    }

    fn live_names(&mut self, namespace: u32, path: &[&str]) -> Result<Vec<String>, ScriptError> {
        self.api.live_names(namespace, path)
    }

    fn log(&mut self, level: LogLevel, text: String, line: Option<u32>) -> Result<(), ScriptError> {
        let limit = self.limits.max_log_lines;
        if self.effects.logs.len() - self.base.logs >= limit {
            return Err(ScriptError::TooMuch {
                what: "log lines",
                limit,
                setting: Setting::MaxLogLines,
            });
        }
        self.effects.logs.push(LogLine { level, text, line });
        Ok(())
    }

    fn wants_line(&self) -> bool {
        self.notes_lines
    }

    fn note_line(&mut self, line: Option<u32>) {
        self.line = line;
    }

    fn begin(&mut self) {
        self.begin_run();
    }

    fn rewind(&mut self) {
        self.roll_back();
        self.effects.logs.truncate(self.base.logs);
        // Whether a run is restarted depends on the VM. The invocation's byte counts must not.
        (self.bytes, self.copied) = (self.base.bytes, self.base.copied);
        self.begin_run();
    }
}
