//! [`ScriptTable`]: its elements and fields.

use bevy::prelude::Entity;

use super::types::{ScriptFields, ScriptKey, ScriptTable, ScriptValue};

impl ScriptTable {
    /// The value of a field, or of an element by its number, counted from 1; [`ScriptValue::Nil`] if there is none.
    #[must_use]
    pub fn get(&self, key: impl Into<ScriptKey>) -> &ScriptValue {
        let key = key.into();
        match self.array_index(&key) {
            Some(index) => &self.array[index],
            None => self.fields.get(&key).unwrap_or(&ScriptValue::Nil),
        }
    }

    /// Sets a field, or an element by its number; [`ScriptValue::Nil`] removes it. To set many fields at once, collect
    /// them.
    pub fn set(&mut self, key: impl Into<ScriptKey>, value: impl Into<ScriptValue>) {
        let (key, value) = (key.into(), value.into());
        if let Some(index) = self.array_index(&key) {
            self.set_element(index, value);
            return;
        }
        if key == ScriptKey::Number(self.array.len() as f64 + 1.0) && value != ScriptValue::Nil {
            self.fields.remove(&key);
            self.array.push(value);
            self.move_fields_to_array();
            return;
        }
        match value {
            ScriptValue::Nil => {
                self.fields.remove(&key);
            }
            value => {
                self.fields.insert(key, value);
            }
        }
    }

    /// Appends an element.
    pub fn push(&mut self, value: impl Into<ScriptValue>) {
        self.array.push(value.into());
    }

    /// The approximate size of its elements and fields in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let elements: usize = self.array.iter().map(ScriptValue::size).sum();
        let fields = self.fields.iter().map(|(key, value)| {
            let text = if let ScriptKey::String(text) = key { text.len() } else { 0 };
            size_of::<ScriptKey>() + text + value.size()
        });
        elements + fields.sum::<usize>()
    }

    /// Whether the tables hold identical values; see [`ScriptValue::is_identical`].
    #[must_use]
    pub fn is_identical(&self, other: &Self) -> bool {
        let same = |(a, b): (&ScriptValue, &ScriptValue)| a.is_identical(b);
        self.array.len() == other.array.len()
            && self.fields.len() == other.fields.len()
            && self.array.iter().zip(&other.array).all(same)
            // Number keys compare by their bits: equal keys are identical.
            && self.fields.keys().eq(other.fields.keys())
            && self.fields.values().zip(other.fields.values()).all(same)
    }

    /// Whether there are neither elements nor fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.array.is_empty() && self.fields.is_empty()
    }

    /// Replaces every entity in this table, including those in nested tables and in keys.
    pub fn map_entities(&mut self, map: &mut impl FnMut(Entity) -> Entity) {
        for value in self.array.iter_mut().chain(self.fields.values_mut()) {
            value.map_entities(map);
        }
        if self.fields.keys().any(|key| matches!(key, ScriptKey::Entity(_))) {
            self.fields = std::mem::take(&mut self.fields)
                .into_iter()
                .map(|(key, value)| match key {
                    ScriptKey::Entity(entity) => (ScriptKey::Entity(map(entity)), value),
                    other => (other, value),
                })
                .collect();
        }
    }

    /// Moves fields whose keys continue the array to the array: of an array of two elements and the fields 3, 4 and 6,
    /// the fields 3 and 4.
    pub(crate) fn move_fields_to_array(&mut self) {
        let mut next = self.array.len() as f64 + 1.0;
        if !self.fields.contains_key(&ScriptKey::Number(next)) {
            return;
        }
        let fields = std::mem::take(&mut self.fields);
        let mut rest = Vec::new();
        // Fields are sorted, so the numbers come in ascending order.
        for (key, value) in fields {
            if key == ScriptKey::Number(next) {
                self.array.push(value);
                next += 1.0;
            } else {
                rest.push((key, value));
            }
        }
        self.fields = rest.into();
    }

    /// The index in `array` of the element with this key, if there is one.
    fn array_index(&self, key: &ScriptKey) -> Option<usize> {
        let ScriptKey::Number(number) = key else { return None };
        let index = (*number as usize).checked_sub(1)?;
        (index < self.array.len() && (index + 1) as f64 == *number).then_some(index)
    }

    /// Sets an element. Nil ends the array there: the elements behind it become fields.
    fn set_element(&mut self, index: usize, value: ScriptValue) {
        if value != ScriptValue::Nil {
            self.array[index] = value;
            return;
        }
        let mut position = index as f64 + 1.0;
        for value in self.array.split_off(index).into_iter().skip(1) {
            position += 1.0;
            self.fields.insert(ScriptKey::Number(position), value);
        }
    }
}

/// As if each field was [set](ScriptTable::set) in turn: the last of equal keys wins, and nil leaves no field.
impl<K: Into<ScriptKey>, V: Into<ScriptValue>> FromIterator<(K, V)> for ScriptTable {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(iter: I) -> Self {
        let pairs = iter.into_iter().map(|(key, value)| (key.into(), value.into()));
        let mut fields: ScriptFields = pairs.collect();
        fields.retain(|_, value| *value != ScriptValue::Nil);
        Self { array: Vec::new(), fields }
    }
}

impl<K: Into<ScriptKey>, V: Into<ScriptValue>, const N: usize> From<[(K, V); N]> for ScriptTable {
    fn from(fields: [(K, V); N]) -> Self {
        fields.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use bevy::prelude::Vec3;

    use super::*;

    fn everything() -> ScriptTable {
        let mut table = ScriptTable::default();
        table.push(1.5);
        table.push(true);
        table.set("text", "hé");
        table.set("where", Vec3::new(1.0, 2.0, 3.0));
        table.set("who", Entity::from_raw_u32(7).expect("a small index"));
        table.set(0.5, ScriptValue::Bytes(vec![0xff]));
        table.set("nested", ScriptTable::from([("a", 1.0)]));
        table
    }

    #[test]
    fn a_table_survives_a_save_and_a_load() {
        let text = ron::to_string(&everything()).expect("plain data serializes");
        assert_eq!(ron::from_str::<ScriptTable>(&text).expect("and comes back"), everything());
    }

    #[test]
    fn entities_are_replaced_in_keys_and_in_nested_tables() {
        let [a, b] = [1, 2].map(|i| Entity::from_raw_u32(i).expect("a small index"));
        let mut table = ScriptTable::from([(a, ScriptTable::from([("x", a)]))]);
        table.map_entities(&mut |_| b);
        assert_eq!(table, ScriptTable::from([(b, ScriptTable::from([("x", b)]))]));
    }

    #[test]
    fn fields_that_continue_the_array_become_elements() {
        let keys = [4.0, 2.5, 3.0, 0.0, 2.0, -1.0, 6.0];
        let mut table: ScriptTable = keys.into_iter().map(|key| (key, key)).collect();
        table.move_fields_to_array();
        assert_eq!(table.fields.len(), keys.len(), "1 is missing");
        table.push(1.0);
        table.move_fields_to_array();
        assert_eq!(table.to_string(), "{1, 2, 3, 4, [-1] = -1, [0] = 0, [2.5] = 2.5, [6] = 6}");
    }

    #[test]
    fn a_table_is_collected_as_if_each_field_was_set() {
        let pairs =
            [("b", 1.0.into()), ("a", 2.0.into()), ("b", ScriptValue::Nil), ("a", 3.0.into())];
        let mut one_by_one = ScriptTable::default();
        for (key, value) in pairs.clone() {
            one_by_one.set(key, value);
        }
        assert_eq!(ScriptTable::from(pairs), one_by_one);
        assert_eq!(one_by_one, ScriptTable::from([("a", 3.0)]));
    }

    #[test]
    fn elements_are_read_and_set_by_their_numbers() {
        let mut table = ScriptTable::from(vec!["a", "b", "c"]);
        assert_eq!(
            (table.get(2).as_str(), table.get(4), table.get(1.5)),
            (Some("b"), &ScriptValue::Nil, &ScriptValue::Nil)
        );
        table.set(2, "B");
        table.set(5, "e");
        table.set(4, "d");
        assert_eq!(table.to_string(), r#"{"a", "B", "c", "d", "e"}"#);
        table.set(3, ScriptValue::Nil);
        assert_eq!(table.to_string(), r#"{"a", "B", [4] = "d", [5] = "e"}"#);
        assert_eq!(table.get(5).as_str(), Some("e"));
        table.set(3, "c");
        assert_eq!(table.array.len(), 5);
        table.set(6, ScriptValue::Nil);
        assert_eq!(table.array.len(), 5);
    }
}
