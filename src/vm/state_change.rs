//! [`StateChange`]: what a run did to its `self`.

use bevy::prelude::Entity;

use crate::value::{ScriptTable, ScriptValue};

/// What a run did to its `self`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum StateChange {
    #[default]
    Unchanged,
    /// One field has another number. Fields are given by their position in the order of the keys.
    Number(u16, f64),
    /// Some fields have other values; none was added or removed.
    Fields(Box<[(u16, ScriptValue)]>),
    /// It is this table now.
    Replaced(Box<ScriptTable>),
}

impl StateChange {
    /// Applies the change to the state that the run began with. Gives whether it differs now.
    pub(crate) fn apply(self, state: &mut ScriptTable) -> bool {
        match self {
            Self::Unchanged => return false,
            Self::Replaced(table) => {
                let changed = !table.is_identical(state);
                *state = *table;
                return changed;
            }
            Self::Number(place, value) => set(state, place, value.into()),
            Self::Fields(changed) => {
                changed.into_iter().for_each(|(place, value)| set(state, place, value));
            }
        }
        true
    }

    /// Replaces every entity in the new values.
    pub(crate) fn map_entities(&mut self, map: &mut impl FnMut(Entity) -> Entity) {
        match self {
            Self::Unchanged | Self::Number(..) => {}
            Self::Replaced(table) => table.map_entities(map),
            Self::Fields(changed) => {
                changed.iter_mut().for_each(|(_, value)| value.map_entities(map));
            }
        }
    }

    /// The state after the change.
    pub(crate) fn applied_to(self, before: &ScriptTable) -> ScriptTable {
        match self {
            Self::Replaced(table) => *table,
            change => {
                let mut state = before.clone();
                change.apply(&mut state);
                state
            }
        }
    }
}

fn set(state: &mut ScriptTable, place: u16, value: ScriptValue) {
    let field = state.fields.value_at_mut(usize::from(place));
    debug_assert!(field.is_some(), "the state is not the one that the run began with");
    if let Some(field) = field {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_fields_leaves_the_others() {
        let before = ScriptTable::from([("a", 1.0), ("b", 2.0), ("c", 3.0)]);
        let change = StateChange::Fields([(0, 10.0.into()), (2, "x".into())].into());
        let after = ScriptTable::from_iter([
            ("a", ScriptValue::from(10.0)),
            ("b", 2.0.into()),
            ("c", "x".into()),
        ]);
        assert_eq!(change.applied_to(&before), after);
        let number = StateChange::Number(1, 5.0).applied_to(&before);
        assert_eq!(number, ScriptTable::from([("a", 1.0), ("b", 5.0), ("c", 3.0)]));
        assert_eq!(StateChange::Unchanged.applied_to(&before), before);
        assert_eq!(StateChange::Replaced(after.clone().into()).applied_to(&before), after);
    }
}
