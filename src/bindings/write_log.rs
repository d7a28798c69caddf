//! [`WriteLog`]: what the runs of an invocation write to components.
//!
//! An entry says which field of which entity gets which value. No two entries of a component overlap: a value that is
//! written to a field replaces the entries of all fields within, and a write within a field that has an entry changes
//! the value of that one. So at most one entry tells what a field is to be, and the order of the entries of one
//! component doesn't matter. The entries of different components are in the order in which each was first written.

use bevy::prelude::{Entity, Transform};
use bevy::reflect::TypeRegistry;
use smallvec::SmallVec;

use super::field_ids::{FieldIds, KnownField};
use super::scalar_fields::ScalarFields;
use super::written_value::WrittenValue;
use crate::vm::{FieldId, FieldRef};

/// What runs write to components.
#[derive(Debug, Default)]
pub(crate) struct WriteLog(SmallVec<[ComponentWrite; 1]>);

/// A new value of a field, or of a whole component.
#[derive(Debug)]
pub(crate) struct ComponentWrite {
    pub(crate) entity: Entity,
    pub(crate) field: FieldId,
    pub(crate) value: WrittenValue,
}

impl WriteLog {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[ComponentWrite] {
        &self.0
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ComponentWrite> {
        self.0.iter()
    }

    #[inline]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ComponentWrite> {
        self.0.iter_mut()
    }

    /// Takes all entries out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = ComponentWrite> {
        self.0.drain(..)
    }

    /// Forgets the last entry, which is a scalar.
    #[inline]
    pub(crate) fn pop_scalar(&mut self) {
        let last = self.0.pop();
        debug_assert!(last.as_ref().is_none_or(|last| last.value.is_scalar()));
        // A scalar owns nothing, so there is no need to look whether there is something to drop.
        std::mem::forget(last);
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&mut ComponentWrite) -> bool) {
        self.0.retain(keep);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Adds an entry, which overlaps with no other.
    #[inline(always)]
    pub(super) fn push(&mut self, write: ComponentWrite) {
        self.0.push(write);
    }

    /// The entry of a field, or of one around it.
    pub(super) fn around(&self, fields: &FieldIds, place: FieldRef) -> Option<&ComponentWrite> {
        self.0.iter().find(|write| write.is_around(fields, place))
    }

    /// The entry of a field, or of one around it, to be changed.
    pub(super) fn around_mut(
        &mut self,
        fields: &FieldIds,
        place: FieldRef,
    ) -> Option<&mut ComponentWrite> {
        self.0.iter_mut().find(|write| write.is_around(fields, place))
    }

    /// The entries of a field and of all within it.
    pub(super) fn within<'l>(
        &'l self,
        fields: &'l FieldIds,
        place: FieldRef,
    ) -> impl Iterator<Item = &'l ComponentWrite> {
        self.0.iter().filter(move |write| write.is_within(fields, place))
    }

    /// Forgets the entries of a field and of all within it.
    pub(super) fn remove_within(&mut self, fields: &FieldIds, place: FieldRef) {
        self.0.retain(|write| !write.is_within(fields, place));
    }

    /// The entry of a whole component.
    pub(super) fn of_component(
        &self,
        fields: &FieldIds,
        entity: Entity,
        component: u32,
    ) -> Option<&ComponentWrite> {
        let whole = fields.component_field(component);
        self.0.iter().find(|write| write.entity == entity && write.field == whole)
    }

    /// Copies all of it.
    pub(super) fn duplicate(&self, registry: &TypeRegistry) -> Self {
        let copy = |write: &ComponentWrite| ComponentWrite {
            value: write.value.duplicate(registry),
            ..*write
        };
        Self(self.0.iter().map(copy).collect())
    }
}

impl ComponentWrite {
    /// Writes it to a [`Transform`], if it is one of its scalars; gives whether the value differed. The caller marks
    /// the component as changed.
    #[inline(always)]
    pub(crate) fn write_to_transform(
        &self,
        fields: &FieldIds,
        transform: &mut Transform,
    ) -> Option<bool> {
        let KnownField { component, path, .. } = fields.get(self.field);
        match self.value {
            WrittenValue::Scalar(value) if fields.is_transform(*component) => {
                transform.set_scalar(path, value)
            }
            _ => None,
        }
    }

    fn is_around(&self, fields: &FieldIds, place: FieldRef) -> bool {
        self.entity == place.entity && {
            let field = fields.get(self.field);
            field.component == place.component && field.path.contains(&place.path)
        }
    }

    fn is_within(&self, fields: &FieldIds, place: FieldRef) -> bool {
        self.entity == place.entity && {
            let field = fields.get(self.field);
            field.component == place.component && place.path.contains(&field.path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<ComponentWrite>(), 32);
        assert!(size_of::<WriteLog>() <= 48);
    }
}
