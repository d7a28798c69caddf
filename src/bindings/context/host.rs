//! How a VM reaches the world during a run.

use bevy::prelude::Entity;

use super::ScriptContext;
use crate::bindings::effects::{Change, LeafValue, ScalarWrite};
use crate::bindings::exposure::PROPERTIES;
use crate::bindings::field_ids::KnownField;
use crate::bindings::reflect;
use crate::error::{ScriptError, Setting};
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::{
    Atom, Field, FieldId, FieldPath, FieldRef, Host, Live, LogLevel, LogLine, ReadResult,
    RunRandom, Scalar, ScalarRead,
};

impl ScriptContext<'_> {
    /// Whether all components are as they are in the world, but for leaves that were written.
    fn is_untouched(&self) -> bool {
        self.effects.drafts.is_empty() && self.effects.commands.is_empty()
    }

    /// What was written to a leaf of the own entity.
    fn own_leaf(&mut self, spot: FieldId) -> Option<&mut LeafValue> {
        let entity = self.entity;
        let mut leaves = self.effects.leaves.iter_mut();
        leaves.find(|leaf| leaf.spot == spot && leaf.entity == entity).map(|leaf| &mut leaf.value)
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
        self.put(entity, component, Change::Removed)
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
        if !self.is_untouched() {
            return None;
        }
        let spots = &self.exposure.fields;
        let spot = spots.component(name)?;
        self.find_own(spots.get(spot).component).map(|_| spot)
    }

    fn own_field(&mut self, within: FieldId, name: Atom) -> Option<ScalarRead> {
        let spots = &self.exposure.fields;
        let spot = spots.field(within, name)?;
        let KnownField { component, path, leaf, of_transform, .. } = spots.get(spot);
        if !self.is_untouched() {
            return None;
        }
        let Some(kind) = leaf else {
            return spots.has_fields(spot).then_some(ScalarRead::FieldId(spot));
        };
        if let Some(written) = self.own_leaf(spot) {
            return match written {
                LeafValue::Small(leaf) => leaf.read().map(ScalarRead::Scalar),
                LeafValue::Field(_) => None,
            };
        }
        let found = self.find_own(*component)?;
        if let (Some(vector), Some(transform)) = (of_transform, found.transform) {
            return Some(ScalarRead::Scalar(Scalar::Vector(vector.of(transform))));
        }
        kind.read(reflect::at(found.value, path.steps())?).map(ScalarRead::Scalar)
    }

    fn set_own_field(&mut self, within: FieldId, name: Atom, value: Scalar) -> bool {
        let exposure = &self.exposure;
        let Some(spot) = exposure.fields.field(within, name) else { return false };
        let KnownField { component, leaf, .. } = exposure.fields.get(spot);
        let read_only = exposure.get(*component).read_only;
        let Some(value) = leaf.and_then(|kind| kind.take(value)) else { return false };
        // What is not finite takes the way that tells what is wrong.
        if !self.is_untouched() || read_only || !(value.is_finite() || self.allow_non_finite) {
            return false;
        }
        if let Some(written) = self.own_leaf(spot) {
            *written = LeafValue::Small(value);
            return true;
        }
        if self.find_own(*component).is_none() {
            return false;
        }
        self.effects.leaves.push(ScalarWrite {
            entity: self.entity,
            spot,
            value: LeafValue::Small(value),
        });
        true
    }

    fn own_place(&self, spot: FieldId) -> FieldRef {
        let KnownField { component, path, .. } = *self.exposure.fields.get(spot);
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
        // Whether a run begins once more depends on the VM; what its unit handed over must not.
        (self.bytes, self.copied) = (self.base.bytes, self.base.copied);
        self.begin_run();
    }
}
