//! [`ScriptFields`] by reflection: a map, whose keys can't be changed in place.

use bevy::reflect::map::{DynamicMap, Map, MapInfo, map_partial_cmp, map_partial_eq};
use bevy::reflect::utility::NonGenericTypeInfoCell;
use bevy::reflect::{
    ApplyError, FromReflect, PartialReflect, ReflectDeserialize, ReflectSerialize, TypeInfo,
    TypePath, Typed,
};

use super::implement::{reflect_as, reflect_registration, replacement};
use crate::value::types::{ScriptFields, ScriptKey, ScriptValue};

type BoxedReflect = Box<dyn PartialReflect>;

impl Map for ScriptFields {
    fn get(&self, key: &dyn PartialReflect) -> Option<&dyn PartialReflect> {
        let value = Self::get(self, key.try_downcast_ref()?)?;
        Some(value)
    }

    fn get_mut(&mut self, key: &dyn PartialReflect) -> Option<&mut dyn PartialReflect> {
        let value = Self::get_mut(self, key.try_downcast_ref()?)?;
        Some(value)
    }

    fn len(&self) -> usize {
        Self::len(self)
    }

    fn iter(&self) -> Box<dyn Iterator<Item = (&dyn PartialReflect, &dyn PartialReflect)> + '_> {
        Box::new(Self::iter(self).map(|(key, value)| (key.as_partial_reflect(), value as _)))
    }

    fn drain(&mut self) -> Vec<(BoxedReflect, BoxedReflect)> {
        let fields = std::mem::take(self).into_iter();
        fields
            .map(|(key, value)| (Box::new(key) as BoxedReflect, Box::new(value) as BoxedReflect))
            .collect()
    }

    fn retain(
        &mut self,
        keep: &mut dyn FnMut(&dyn PartialReflect, &mut dyn PartialReflect) -> bool,
    ) {
        Self::retain(self, |key, value| keep(key, value));
    }

    fn to_dynamic_map(&self) -> DynamicMap {
        let mut map = DynamicMap::default();
        map.set_represented_type(Some(Self::type_info()));
        for (key, value) in self {
            // Keys stay concrete: a dynamic key can't be hashed if it is a number.
            map.insert_boxed(Box::new(key.clone()), value.to_dynamic());
        }
        map
    }

    fn insert_boxed(&mut self, key: BoxedReflect, value: BoxedReflect) -> Option<BoxedReflect> {
        fn take<T: FromReflect + TypePath>(value: BoxedReflect) -> T {
            T::take_from_reflect(value).unwrap_or_else(|value| {
                panic!("a {} is no {}", value.reflect_type_path(), T::type_path())
            })
        }
        self.insert(take(key), take(value)).map(|value| Box::new(value) as BoxedReflect)
    }

    fn remove(&mut self, key: &dyn PartialReflect) -> Option<BoxedReflect> {
        let removed = match key.try_downcast_ref() {
            Some(key) => Self::remove(self, key),
            None => Self::remove(self, &ScriptKey::from_reflect(key)?),
        };
        removed.map(|value| Box::new(value) as BoxedReflect)
    }
}

/// Replaces the fields.
fn apply_fields(it: &mut ScriptFields, value: &dyn PartialReflect) -> Result<(), ApplyError> {
    value.reflect_ref().as_map()?;
    *it = replacement(value)?;
    Ok(())
}

reflect_as!(Map, ScriptFields, apply_fields, map_partial_eq, map_partial_cmp);

impl Typed for ScriptFields {
    fn type_info() -> &'static TypeInfo {
        static CELL: NonGenericTypeInfoCell = NonGenericTypeInfoCell::new();
        CELL.get_or_set(|| TypeInfo::Map(MapInfo::new::<Self, ScriptKey, ScriptValue>()))
    }
}

impl FromReflect for ScriptFields {
    fn from_reflect(value: &dyn PartialReflect) -> Option<Self> {
        if let Some(it) = value.try_downcast_ref::<Self>() {
            return Some(it.clone());
        }
        let map = value.reflect_ref().as_map().ok()?;
        map.iter()
            .map(|(key, value)| {
                Some((ScriptKey::from_reflect(key)?, ScriptValue::from_reflect(value)?))
            })
            .collect()
    }
}

reflect_registration!(ScriptFields { ScriptKey, ScriptValue } ReflectSerialize, ReflectDeserialize);

#[cfg(test)]
mod tests {
    use bevy::reflect::TypeRegistry;
    use bevy::reflect::serde::{ReflectDeserializer, ReflectSerializer};
    use serde::de::DeserializeSeed;

    use super::*;
    use crate::value::types::ScriptTable;

    fn table() -> ScriptTable {
        let mut table = ScriptTable::from([("a", ScriptValue::from(1.0)), ("b", "text".into())]);
        table.set(0.5, true);
        table.set("nested", ScriptTable::from([("x", 2.0)]));
        table.push("element");
        table
    }

    #[test]
    fn a_table_survives_reflection() {
        let table = table();
        let dynamic = table.to_dynamic();
        assert_eq!(dynamic.reflect_partial_eq(&table), Some(true));
        assert_eq!(ScriptTable::from_reflect(dynamic.as_ref()), Some(table.clone()));
        let cloned = table.reflect_clone().expect("plain data can be cloned");
        assert_eq!(cloned.downcast_ref(), Some(&table));
        let mut other = ScriptTable::from([("a", 9.0), ("gone", 9.0)]);
        other.apply(&table);
        assert_eq!(other.fields, table.fields);

        let mut registry = TypeRegistry::new();
        registry.register::<ScriptTable>();
        let text = ron::to_string(&ReflectSerializer::new(&table, &registry));
        let text = text.expect("plain data serializes");
        let mut from = ron::Deserializer::from_str(&text).expect("it is RON");
        let read = ReflectDeserializer::new(&registry).deserialize(&mut from);
        let read = read.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(ScriptTable::from_reflect(read.as_ref()), Some(table));
    }

    #[test]
    fn fields_are_a_map_by_reflection_and_stay_sorted() {
        let mut fields = table().fields;
        let map: &mut dyn Map = &mut fields;
        let key = |key: &str| ScriptKey::from(key);
        assert!(map.insert_boxed(Box::new(key("A")), Box::new(ScriptValue::Nil)).is_none());
        let old = map.insert_boxed(Box::new(key("a")), Box::new(ScriptValue::from(3.0)));
        assert_eq!(old.and_then(|old| old.try_take().ok()), Some(ScriptValue::from(1.0)));
        let value = map.get_mut(&key("b")).expect("it is there");
        value.apply(&ScriptValue::from("other"));
        let removed = map.remove(key("nested").to_dynamic().as_ref());
        assert!(removed.is_some() && map.get(&key("nested")).is_none());
        map.retain(&mut |key, _| key.try_downcast_ref() != Some(&ScriptKey::from(0.5)));
        let expected = [("A", ScriptValue::Nil), ("a", 3.0.into()), ("b", "other".into())];
        assert_eq!(fields, expected.map(|(key, value)| (key.into(), value)).into_iter().collect());
        let map: &mut dyn Map = &mut fields;
        assert_eq!((map.drain().len(), map.len()), (3, 0));
    }
}
