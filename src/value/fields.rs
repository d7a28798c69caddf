//! [`ScriptFields`]: the fields of a table, side by side in memory.

mod reflect;

use std::{fmt, iter, slice, vec};

use super::{ScriptKey, ScriptValue};
use bevy::reflect::TypePath;

/// The fields of a [`ScriptTable`](super::ScriptTable), sorted by key.
///
/// They lie side by side, keys and values, with next to no room to spare: entities keep few fields, are
/// many, and every frame goes through all of them. So finding a field takes a binary search; adding or
/// removing one moves those behind it. Many are added at once by collecting or [extending](Extend), in any
/// order.
///
/// ```
/// use bevy_lua_pool::{ScriptFields, ScriptKey, ScriptValue};
///
/// let fields: ScriptFields = [("y", 2.0), ("x", 1.0), ("y", 3.0)]
///     .map(|(key, value)| (ScriptKey::from(key), ScriptValue::from(value)))
///     .into_iter()
///     .collect();
/// assert_eq!(fields.get(&"y".into()), Some(&ScriptValue::Number(3.0)));
/// assert_eq!(fields.at(0), Some((&"x".into(), &ScriptValue::Number(1.0))));
/// ```
#[derive(Clone, Default, PartialEq, TypePath)]
pub struct ScriptFields {
    /// Sorted by key; no key is there twice.
    list: Vec<Field>,
}

type Field = (ScriptKey, ScriptValue);

impl ScriptFields {
    /// Up to so many fields, each one that is inserted makes room for itself alone.
    const EXACT: usize = 4;

    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// No fields, and room for so many.
    #[must_use]
    pub fn with_capacity(fields: usize) -> Self {
        Self { list: Vec::with_capacity(fields) }
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, key: &ScriptKey) -> Option<&ScriptValue> {
        self.place(key).ok().map(|place| &self.list[place].1)
    }

    /// The value of a field, to be changed.
    pub fn get_mut(&mut self, key: &ScriptKey) -> Option<&mut ScriptValue> {
        self.place(key).ok().map(|place| &mut self.list[place].1)
    }

    /// Whether there is a field with this key.
    #[must_use]
    pub fn contains_key(&self, key: &ScriptKey) -> bool {
        self.place(key).is_ok()
    }

    /// The key and the value at a place in the order of the keys.
    #[must_use]
    #[inline]
    pub fn at(&self, place: usize) -> Option<(&ScriptKey, &ScriptValue)> {
        self.list.get(place).map(|(key, value)| (key, value))
    }

    /// The value at a place in the order of the keys, to be changed.
    pub fn value_at_mut(&mut self, place: usize) -> Option<&mut ScriptValue> {
        self.list.get_mut(place).map(|(_, value)| value)
    }

    /// Sets a field; gives the value that it had.
    pub fn insert(&mut self, key: ScriptKey, value: ScriptValue) -> Option<ScriptValue> {
        match self.place(&key) {
            Ok(place) => Some(std::mem::replace(&mut self.list[place].1, value)),
            Err(place) => {
                if self.list.len() < Self::EXACT {
                    self.list.reserve_exact(1);
                }
                self.list.insert(place, (key, value));
                None
            }
        }
    }

    /// Removes a field; gives the value that it had.
    pub fn remove(&mut self, key: &ScriptKey) -> Option<ScriptValue> {
        self.place(key).ok().map(|place| self.list.remove(place).1)
    }

    /// Keeps the fields of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&ScriptKey, &mut ScriptValue) -> bool) {
        self.list.retain_mut(|(key, value)| keep(key, value));
    }

    /// All fields, in the order of the keys.
    pub fn iter(&self) -> <&Self as IntoIterator>::IntoIter {
        self.list.iter().map(|(key, value)| (key, value))
    }

    /// All fields, in the order of the keys, with the values to be changed.
    pub fn iter_mut(&mut self) -> <&mut Self as IntoIterator>::IntoIter {
        self.list.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// All keys, in their order.
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

    /// All values, in the order of the keys, to be changed.
    pub fn values_mut(
        &mut self,
    ) -> impl DoubleEndedIterator<Item = &mut ScriptValue> + ExactSizeIterator {
        self.list.iter_mut().map(|(_, value)| value)
    }

    /// In any order; each key is there once.
    ///
    /// # Errors
    /// If one is there twice.
    pub(super) fn distinct(list: Vec<Field>) -> Result<Self, String> {
        let mut list = list;
        list.sort_by(|(a, _), (b, _)| a.cmp(b));
        list.shrink_to_fit();
        match list.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(format!("the key `{}` comes twice", pair[0].0)),
            None => Ok(Self { list }),
        }
    }

    /// Where a key is, or would be.
    fn place(&self, key: &ScriptKey) -> Result<usize, usize> {
        self.list.binary_search_by(|(known, _)| known.cmp(key))
    }

    /// Sorts what was added in any order; of equal keys the last stays.
    fn arrange(&mut self) {
        if self.list.is_sorted_by(|(a, _), (b, _)| a < b) {
            return;
        }
        // A stable sort: equal keys stay in the order in which they came.
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

/// In any order; of equal keys the last stays.
impl From<Vec<(ScriptKey, ScriptValue)>> for ScriptFields {
    fn from(list: Vec<(ScriptKey, ScriptValue)>) -> Self {
        let mut fields = Self { list };
        fields.arrange();
        fields.list.shrink_to_fit();
        fields
    }
}

/// In any order; of equal keys the last stays.
impl FromIterator<(ScriptKey, ScriptValue)> for ScriptFields {
    fn from_iter<I: IntoIterator<Item = (ScriptKey, ScriptValue)>>(fields: I) -> Self {
        Vec::from_iter(fields).into()
    }
}

/// In any order; of equal keys the last stays.
impl Extend<(ScriptKey, ScriptValue)> for ScriptFields {
    fn extend<I: IntoIterator<Item = (ScriptKey, ScriptValue)>>(&mut self, fields: I) {
        self.list.extend(fields);
        self.arrange();
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
    type IntoIter = iter::Map<slice::Iter<'f, Field>, fn(&'f Field) -> Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'f> IntoIterator for &'f mut ScriptFields {
    type Item = (&'f ScriptKey, &'f mut ScriptValue);
    type IntoIter = iter::Map<slice::IterMut<'f, Field>, fn(&'f mut Field) -> Self::Item>;

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
    use crate::value::ScriptTable;

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
        for (place, (key, value)) in map.iter_mut().enumerate() {
            assert_eq!(fields.at(place), Some((key, &*value)));
            assert_eq!(fields.value_at_mut(place), Some(value));
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
        assert_eq!(size_of::<ScriptKey>(), 24);
        assert_eq!(size_of::<ScriptTable>(), 48);
        assert_eq!(size_of::<ScriptValue>(), 48);
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
