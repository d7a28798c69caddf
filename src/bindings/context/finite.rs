//! Refuses to write NaN and infinite numbers to components.
//!
//! Such a number in a `Transform` nearly always comes from a division by zero. It spreads to all children and shows
//! up far from its cause: entities vanish, and physics and rendering may panic. So the script that writes it gets an
//! error that names the field, unless the setting `allow_non_finite` permits it.

use bevy::reflect::PartialReflect;

use super::ScriptContext;
use crate::bindings::reflect::{self, ValuePath};
use crate::error::ScriptError;
use crate::value::{ScriptKey, ScriptTable, ScriptValue};
use crate::vm::{FieldRef, Host};

impl ScriptContext<'_> {
    /// Sets whether the current script may write numbers that are not finite.
    pub(crate) fn set_allow_non_finite(&mut self, allow: bool) {
        self.allow_non_finite = allow;
    }

    /// The error if a number in `value` is not finite and may not be written to `place`. Numbers that were there
    /// before may stay. If the value doesn't fit there anyway, that is the error.
    pub(super) fn not_finite(
        &mut self,
        place: FieldRef,
        value: &ScriptValue,
    ) -> Option<ScriptError> {
        if self.allow_non_finite || is_finite(value) {
            return None;
        }
        let before = match value {
            ScriptValue::Table(_) => self.copy(place).unwrap_or_default(),
            _ => ScriptValue::Nil,
        };
        let mut name = self.name(place);
        let found = find(value, &before, &mut name)?;
        Some(
            self.misfit(place, value)
                .unwrap_or(ScriptError::NotFinite { place: name, value: found }),
        )
    }

    /// The error if `value` has the wrong type for `place`.
    fn misfit(&self, place: FieldRef, value: &ScriptValue) -> Option<ScriptError> {
        let name = self.name(place);
        let exposed = self.exposure.get(place.component);
        let copy = |component: &dyn PartialReflect| exposed.duplicate(component, self.registry);
        let mut copy = self.look(place.entity, place.component, copy)?.ok()?;
        let target = reflect::at_mut(copy.as_partial_reflect_mut(), place.path.steps())?;
        reflect::write(target, value.clone(), &ValuePath::Root(&name), self.registry).err()
    }

    /// As [`ScriptContext::not_finite`], for a component that is to be inserted.
    pub(super) fn not_finite_in(&self, name: &str, value: &ScriptValue) -> Option<ScriptError> {
        if self.allow_non_finite || is_finite(value) {
            return None;
        }
        let mut place = name.to_owned();
        let value = find(value, &ScriptValue::Nil, &mut place)?;
        Some(ScriptError::NotFinite { place, value })
    }
}

/// Whether all numbers in a value are finite. Keys are ignored.
fn is_finite(value: &ScriptValue) -> bool {
    match value {
        ScriptValue::Number(number) => number.is_finite(),
        ScriptValue::Vector(vector) => vector.is_finite(),
        ScriptValue::Table(table) => table.array.iter().chain(table.fields.values()).all(is_finite),
        _ => true,
    }
}

/// The first number that is not finite and was not there before, as text; appends its path to `place`.
fn find(value: &ScriptValue, before: &ScriptValue, place: &mut String) -> Option<String> {
    let ScriptValue::Table(table) = value else {
        let stays = is_finite(value) || value.is_identical(before);
        return (!stays).then(|| value.to_string());
    };
    let nothing = ScriptTable::default();
    let before = match before {
        ScriptValue::Table(before) => before,
        _ => &nothing,
    };
    let end = place.len();
    let mut within = |key: String, value: &ScriptValue, before: &ScriptValue| {
        place.push_str(&key);
        let found = find(value, before, place);
        if found.is_none() {
            place.truncate(end);
        }
        found
    };
    let elements = table.array.iter().enumerate().find_map(|(index, value)| {
        let before = before.array.get(index).unwrap_or(&ScriptValue::Nil);
        within(format!("[{}]", index + 1), value, before)
    });
    elements.or_else(|| {
        table.fields.iter().find_map(|(key, value)| {
            let before = before.fields.get(key).unwrap_or(&ScriptValue::Nil);
            let shown = match key {
                ScriptKey::String(key) => format!(".{key:.80}"),
                key => format!("[{key}]"),
            };
            within(shown, value, before)
        })
    })
}
