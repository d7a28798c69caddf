//! [`ScriptFields`]: a sorted list of keys and values.

use std::{fmt, iter, slice, vec};

use super::types::{FieldEntry, ScriptFields, ScriptKey, ScriptValue};

impl ScriptFields {
    /// Up to this many fields, the capacity grows by one field at a time.
    const EXACT: usize = 4;

    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// No fields, with capacity for `fields`.
    #[must_use]
    pub fn with_capacity(fields: usize) -> Self {
        Self { list: Vec::with_capacity(fields) }
    }

    /// The number of fields.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are no fields.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, key: &ScriptKey) -> Option<&ScriptValue> {
        self.position(key).ok().map(|position| &self.list[position].1)
    }

    /// The value of a field, by mutable reference.
    pub fn get_mut(&mut self, key: &ScriptKey) -> Option<&mut ScriptValue> {
        self.position(key).ok().map(|position| &mut self.list[position].1)
    }

    /// Whether there is a field with this key.
    #[must_use]
    pub fn contains_key(&self, key: &ScriptKey) -> bool {
        self.position(key).is_ok()
    }

    /// The key and the value at a position in the order of the keys.
    #[must_use]
    #[inline]
    pub fn at(&self, position: usize) -> Option<(&ScriptKey, &ScriptValue)> {
        self.list.get(position).map(|(key, value)| (key, value))
    }

    /// The value at a position in the order of the keys, by mutable reference.
    pub fn value_at_mut(&mut self, position: usize) -> Option<&mut ScriptValue> {
        self.list.get_mut(position).map(|(_, value)| value)
    }

    /// Sets a field and returns its previous value.
    pub fn insert(&mut self, key: ScriptKey, value: ScriptValue) -> Option<ScriptValue> {
        match self.position(&key) {
            Ok(position) => Some(std::mem::replace(&mut self.list[position].1, value)),
            Err(position) => {
                if self.list.len() < Self::EXACT {
                    self.list.reserve_exact(1);
                }
                self.list.insert(position, (key, value));
                None
            }
        }
    }

    /// Removes a field and returns its value.
    pub fn remove(&mut self, key: &ScriptKey) -> Option<ScriptValue> {
        self.position(key).ok().map(|position| self.list.remove(position).1)
    }

    /// Keeps the fields for which `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(&ScriptKey, &mut ScriptValue) -> bool) {
        self.list.retain_mut(|(key, value)| keep(key, value));
    }

    /// All fields, in the order of the keys.
    pub fn iter(&self) -> <&Self as IntoIterator>::IntoIter {
        self.list.iter().map(|(key, value)| (key, value))
    }

    /// All fields, in the order of the keys, with mutable values.
    pub fn iter_mut(&mut self) -> <&mut Self as IntoIterator>::IntoIter {
        self.list.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// All keys, in order.
    #[inline]
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &ScriptKey> + ExactSizeIterator + Clone {
        self.list.iter().map(|(key, _)| key)
    }

    /// All values, in the order of the keys.
    #[inline]
    pub fn values(
        &self,
    ) -> impl DoubleEndedIterator<Item = &ScriptValue> + ExactSizeIterator + Clone {
        self.list.iter().map(|(_, value)| value)
    }

    /// All values, in the order of the keys, by mutable reference.
    pub fn values_mut(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = &mut ScriptValue> + ExactSizeIterator {
        self.list.iter_mut().map(|(_, value)| value)
    }

    /// Makes fields of a list in any order.
    ///
    /// # Errors
    /// If a key comes twice.
    pub(super) fn distinct(list: Vec<FieldEntry>) -> Result<Self, String> {
        let mut list = list;
        list.sort_by(|(a, _), (b, _)| a.cmp(b));
        list.shrink_to_fit();
        match list.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(format!("the key `{}` comes twice", pair[0].0)),
            None => Ok(Self { list }),
        }
    }

    /// The position of a key, or the position where it would be inserted.
    fn position(&self, key: &ScriptKey) -> Result<usize, usize> {
        self.list.binary_search_by(|(known, _)| known.cmp(key))
    }

    /// Sorts the list; of equal keys the last one stays.
    fn sort(&mut self) {
        if self.list.is_sorted_by(|(a, _), (b, _)| a < b) {
            return;
        }
        // Stable: equal keys stay in the order in which they came.
        self.list.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.list.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
    }
}

/// Takes fields in any order; of equal keys the last one stays.
impl From<Vec<(ScriptKey, ScriptValue)>> for ScriptFields {
    fn from(list: Vec<(ScriptKey, ScriptValue)>) -> Self {
        let mut fields = Self { list };
        fields.sort();
        fields.list.shrink_to_fit();
        fields
    }
}

/// Takes fields in any order; of equal keys the last one stays.
impl FromIterator<(ScriptKey, ScriptValue)> for ScriptFields {
    fn from_iter<I: IntoIterator<Item = (ScriptKey, ScriptValue)>>(fields: I) -> Self {
        Vec::from_iter(fields).into()
    }
}

/// Takes fields in any order; of equal keys the last one stays.
impl Extend<(ScriptKey, ScriptValue)> for ScriptFields {
    fn extend<I: IntoIterator<Item = (ScriptKey, ScriptValue)>>(&mut self, fields: I) {
        self.list.extend(fields);
        self.sort();
    }
}

impl IntoIterator for ScriptFields {
    type Item = (ScriptKey, ScriptValue);
    type IntoIter = vec::IntoIter<(ScriptKey, ScriptValue)>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'f> IntoIterator for &'f ScriptFields {
    type Item = (&'f ScriptKey, &'f ScriptValue);
    type IntoIter = iter::Map<slice::Iter<'f, FieldEntry>, fn(&'f FieldEntry) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'f> IntoIterator for &'f mut ScriptFields {
    type Item = (&'f ScriptKey, &'f mut ScriptValue);
    type IntoIter = iter::Map<slice::IterMut<'f, FieldEntry>, fn(&'f mut FieldEntry) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl fmt::Debug for ScriptFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bevy::prelude::Entity;

    use super::*;
    use crate::value::types::ScriptTable;

    fn fields<const N: usize>(fields: [(&str, f64); N]) -> ScriptFields {
        fields.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
    }

    /// Keys of every kind, in a mixed order: the same for every run, and many of them twice.
    fn mixed(count: u64) -> impl Iterator<Item = (ScriptKey, ScriptValue)> {
        (0..count).map(|number| {
            // Multiples of the golden ratio spread evenly (Knuth, TAOCP vol. 3, 6.4).
            let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let id = (spread % 50_000) as u32;
            let key = match spread % 7 {
                0 => ScriptKey::Bool(id.is_multiple_of(2)),
                1 | 2 => ScriptKey::Number(f64::from(id) - 25_000.5),
                3 => Entity::from_raw_u32(id).expect("a small index").into(),
                4 => format!("a key that is too long to lie in the field {id}").into(),
                _ => format!("k{id}").into(),
            };
            (key, ScriptValue::from(number as f64))
        })
    }

    #[track_caller]
    fn assert_same(fields: &ScriptFields, map: &BTreeMap<ScriptKey, ScriptValue>) {
        assert!(fields.iter().eq(map), "a sorted map has others");
    }

    #[test]
    fn fields_are_sorted_by_key_and_the_last_of_equal_keys_stays() {
        let table = fields([("c", 1.0), ("a", 2.0), ("c", 3.0), ("b", 4.0), ("a", 5.0)]);
        assert_eq!(table.keys().map(ToString::to_string).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(table.values().cloned().collect::<Vec<_>>(), [5.0, 4.0, 3.0].map(Into::into));
        let entity = Entity::from_raw_u32(1).expect("a small index");
        let keys: [ScriptKey; 6] =
            [true.into(), (-0.0).into(), 0.0.into(), "".into(), "a".into(), entity.into()];
        let mixed: ScriptFields = keys.iter().rev().map(|key| (key.clone(), true.into())).collect();
        assert!(mixed.keys().eq(&keys), "{mixed:?}");
    }

    #[test]
    fn a_hundred_thousand_fields_in_any_order_come_to_the_same_as_one_by_one() {
        const COUNT: u64 = 100_000;
        let map: BTreeMap<_, _> = mixed(COUNT).collect();
        assert!(map.len() > 20_000 && map.len() < COUNT as usize, "{}", map.len());
        let collected: ScriptFields = mixed(COUNT).collect();
        assert_same(&collected, &map);
        let mut extended: ScriptFields = mixed(COUNT / 2).collect();
        extended.extend(mixed(COUNT).skip(COUNT as usize / 2));
        assert_eq!(extended, collected);
        let mut sorted = ScriptFields::new();
        for (key, value) in map {
            assert_eq!(sorted.insert(key, value), None);
        }
        assert_eq!(sorted, collected);

        const FEW: u64 = 3_000;
        let mut one_by_one = ScriptFields::new();
        for (key, value) in mixed(FEW) {
            one_by_one.insert(key, value);
        }
        assert_eq!(one_by_one, mixed(FEW).collect());
    }

    #[test]
    fn every_step_does_what_it_would_do_to_a_sorted_map() {
        let (mut fields, mut map) = (ScriptFields::new(), BTreeMap::new());
        for (step, (key, value)) in mixed(4_000).enumerate() {
            assert_eq!(fields.contains_key(&key), map.contains_key(&key));
            assert_eq!(fields.insert(key.clone(), value.clone()), map.insert(key.clone(), value));
            if step % 3 == 0 {
                assert_eq!(fields.remove(&key), map.remove(&key));
                assert_eq!(fields.remove(&key), None);
            }
            assert_eq!(fields.get(&key), map.get(&key));
            assert_eq!(fields.get_mut(&key), map.get_mut(&key));
            assert_eq!((fields.len(), fields.is_empty()), (map.len(), map.is_empty()));
        }
        assert_same(&fields, &map);
        for (position, (key, value)) in map.iter_mut().enumerate() {
            assert_eq!(fields.at(position), Some((key, &*value)));
            assert_eq!(fields.value_at_mut(position), Some(value));
        }
        assert_eq!(fields.at(map.len()), None);
        assert_eq!(fields.value_at_mut(map.len()), None);
        fields.iter_mut().for_each(|(_, value)| *value = ScriptValue::Nil);
        map.values_mut().for_each(|value| *value = ScriptValue::Nil);
        assert_same(&fields, &map);
        fields.retain(|key, _| matches!(key, ScriptKey::Number(_)));
        map.retain(|key, _| matches!(key, ScriptKey::Number(_)));
        assert!(!map.is_empty());
        assert!(fields.into_iter().eq(map));
    }

    #[test]
    fn a_field_takes_room_for_itself_alone() {
        let mut table = ScriptTable::default();
        for (count, key) in (1..).zip(["a", "b", "c", "d"]) {
            table.set(key, 1.0);
            assert_eq!(table.fields.list.capacity(), count);
        }
        assert_eq!(fields([("b", 1.0), ("a", 1.0), ("b", 1.0)]).list.capacity(), 2);
        assert_eq!(table.clone().fields.list.capacity(), 4);
    }

    #[test]
    fn the_text_of_a_save_is_that_of_a_list_of_pairs() {
        let fields = fields([("b", 2.0), ("a", 1.0)]);
        let text = ron::to_string(&fields).expect("plain data serializes");
        assert_eq!(text, r#"[(String("a"),Number(1.0)),(String("b"),Number(2.0))]"#);
        assert_eq!(ron::from_str::<ScriptFields>(&text).expect("and comes back"), fields);
        let many: ScriptFields = mixed(1_000).collect();
        let text = serde_json::to_string(&many).expect("plain data serializes");
        let pairs: Vec<_> = many.iter().collect();
        assert_eq!(text, serde_json::to_string(&pairs).expect("plain data serializes"));
        assert_eq!(serde_json::from_str::<ScriptFields>(&text).expect("and comes back"), many);
        let unsorted = r#"[(Number(2.0),Bool(true)),(Bool(false),Nil)]"#;
        let read: ScriptFields = ron::from_str(unsorted).expect("any order will do");
        assert!(read.keys().is_sorted());
    }
}
