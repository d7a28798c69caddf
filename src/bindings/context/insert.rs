//! Inserting, replacing and removing components.

use bevy::prelude::Entity;
use bevy::reflect::{PartialReflect, Reflect};

use super::ScriptContext;
use super::relations::parent_named_by;
use crate::bindings::effects::new_entity_index;
use crate::bindings::reflect::{self, ValuePath};
use crate::bindings::write_log::ComponentWrite;
use crate::bindings::written_value::{WholeValue, WrittenValue};
use crate::error::ScriptError;
use crate::value::ScriptValue;
use crate::vm::{FieldPath, FieldRef};

impl ScriptContext<'_> {
    /// Replaces or inserts a component.
    pub(super) fn assign(
        &mut self,
        entity: Entity,
        component: u32,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        let exposed = self.exposure.get(component);
        if exposed.fixed {
            return Err(ScriptError::ReadOnly { name: exposed.name.to_owned() });
        }
        let present = self.look(entity, component, |_| ()).is_some();
        if present && !exposed.read_only {
            return self.edit(FieldRef { entity, component, path: FieldPath::default() }, value);
        }
        let size = value.size();
        let not_finite = self.not_finite_in(exposed.name, &value);
        let root = ValuePath::Root(exposed.name);
        let made = reflect::construct(exposed.info, value, &root, self.registry)?;
        if let Some(error) = not_finite {
            return Err(error);
        }
        let value = self.make_concrete(made, component)?;
        // It must be possible to copy it: a checkpoint does, so that a later run can be rolled back.
        exposed.duplicate(value.as_partial_reflect(), self.registry)?;
        self.log_component(
            entity,
            component,
            WrittenValue::Insert(Box::new(WholeValue {
                value: value.into_partial_reflect(),
                size,
            })),
        )
    }

    pub(super) fn make_concrete(
        &self,
        made: Box<dyn PartialReflect>,
        component: u32,
    ) -> Result<Box<dyn Reflect>, ScriptError> {
        let exposed = self.exposure.get(component);
        let made = match made.try_into_reflect() {
            Ok(made) => exposed.can_be_inserted(self.registry).then_some(made),
            Err(made) => reflect::duplicate(made.as_ref(), self.registry),
        };
        made.ok_or_else(|| ScriptError::Host {
            message: format!(
                "`{}` can't be made by reflection; let it derive `FromReflect`, or give it \
                 `#[reflect(Default)]`",
                exposed.name
            ),
        })
    }

    /// Logs that a component is inserted, replaced or removed.
    pub(super) fn log_component(
        &mut self,
        entity: Entity,
        component: u32,
        value: WrittenValue,
    ) -> Result<(), ScriptError> {
        if self.exposure.child_of() == Some(component)
            && let Some(parent) = parent_named_by(&value)
        {
            let name = self.exposure.get(component).name;
            let refused = |why: String| ScriptError::Host { message: format!("`{name}`: {why}") };
            if !self.exists(parent) {
                let why =
                    format!("entity {parent} does not exist (any more), so it has no children");
                return Err(refused(why));
            }
            self.level_below(parent, Some(entity)).map_err(|error| refused(error.to_string()))?;
        }
        // The components of a new entity count as part of its spawn.
        if new_entity_index(entity).is_none() {
            self.count_command()?;
            self.base.changes += 1;
        }
        let (fields, writes) = (&self.exposure.fields, &mut self.effects.writes);
        let path = FieldPath::default();
        writes.remove_within(fields, FieldRef { entity, component, path });
        writes.push(ComponentWrite { entity, field: fields.component_field(component), value });
        Ok(())
    }
}
