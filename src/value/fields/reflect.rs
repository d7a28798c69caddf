//! [`ScriptFields`] by reflection: a map, of which keys can't be changed in place.

use std::any::Any;
use std::cmp::Ordering;

use bevy::reflect::map::{
    DynamicMap, Map, MapInfo, map_apply, map_partial_cmp, map_partial_eq, map_try_apply,
};
use bevy::reflect::utility::NonGenericTypeInfoCell;
use bevy::reflect::{
    ApplyError, FromReflect, FromType, GetTypeRegistration, PartialReflect, Reflect,
    ReflectCloneError, ReflectFromPtr, ReflectFromReflect, ReflectKind, ReflectMut, ReflectOwned,
    ReflectRef, TypeInfo, TypePath, TypeRegistration, TypeRegistry, Typed,
};

use super::ScriptFields;
use crate::value::{ScriptKey, ScriptValue};

type Boxed = Box<dyn PartialReflect>;

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

    fn drain(&mut self) -> Vec<(Boxed, Boxed)> {
        let fields = std::mem::take(self).into_iter();
        fields.map(|(key, value)| (Box::new(key) as Boxed, Box::new(value) as Boxed)).collect()
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
            // Keys stay what they are: a dynamic one can't be hashed if it is a number.
            map.insert_boxed(Box::new(key.clone()), value.to_dynamic());
        }
        map
    }

    fn insert_boxed(&mut self, key: Boxed, value: Boxed) -> Option<Boxed> {
        fn take<T: FromReflect + TypePath>(value: Boxed) -> T {
            T::take_from_reflect(value).unwrap_or_else(|value| {
                panic!("a {} is no {}", value.reflect_type_path(), T::type_path())
            })
        }
        self.insert(take(key), take(value)).map(|value| Box::new(value) as Boxed)
    }

    fn remove(&mut self, key: &dyn PartialReflect) -> Option<Boxed> {
        let removed = match key.try_downcast_ref() {
            Some(key) => Self::remove(self, key),
            None => Self::remove(self, &ScriptKey::from_reflect(key)?),
        };
        removed.map(|value| Box::new(value) as Boxed)
    }
}

impl PartialReflect for ScriptFields {
    fn get_represented_type_info(&self) -> Option<&'static TypeInfo> {
        Some(Self::type_info())
    }

    fn into_partial_reflect(self: Box<Self>) -> Boxed {
        self
    }

    fn as_partial_reflect(&self) -> &dyn PartialReflect {
        self
    }

    fn as_partial_reflect_mut(&mut self) -> &mut dyn PartialReflect {
        self
    }

    fn try_into_reflect(self: Box<Self>) -> Result<Box<dyn Reflect>, Boxed> {
        Ok(self)
    }

    fn try_as_reflect(&self) -> Option<&dyn Reflect> {
        Some(self)
    }

    fn try_as_reflect_mut(&mut self) -> Option<&mut dyn Reflect> {
        Some(self)
    }

    fn apply(&mut self, value: &dyn PartialReflect) {
        map_apply(self, value);
    }

    fn try_apply(&mut self, value: &dyn PartialReflect) -> Result<(), ApplyError> {
        map_try_apply(self, value)
    }

    fn reflect_kind(&self) -> ReflectKind {
        ReflectKind::Map
    }

    fn reflect_ref(&self) -> ReflectRef<'_> {
        ReflectRef::Map(self)
    }

    fn reflect_mut(&mut self) -> ReflectMut<'_> {
        ReflectMut::Map(self)
    }

    fn reflect_owned(self: Box<Self>) -> ReflectOwned {
        ReflectOwned::Map(self)
    }

    fn reflect_clone(&self) -> Result<Box<dyn Reflect>, ReflectCloneError> {
        Ok(Box::new(self.clone()))
    }

    fn reflect_partial_eq(&self, value: &dyn PartialReflect) -> Option<bool> {
        map_partial_eq(self, value)
    }

    fn reflect_partial_cmp(&self, value: &dyn PartialReflect) -> Option<Ordering> {
        map_partial_cmp(self, value)
    }
}

impl Reflect for ScriptFields {
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_reflect(self: Box<Self>) -> Box<dyn Reflect> {
        self
    }

    fn as_reflect(&self) -> &dyn Reflect {
        self
    }

    fn as_reflect_mut(&mut self) -> &mut dyn Reflect {
        self
    }

    fn set(&mut self, value: Box<dyn Reflect>) -> Result<(), Box<dyn Reflect>> {
        *self = value.take()?;
        Ok(())
    }
}

impl Typed for ScriptFields {
    fn type_info() -> &'static TypeInfo {
        static CELL: NonGenericTypeInfoCell = NonGenericTypeInfoCell::new();
        CELL.get_or_set(|| TypeInfo::Map(MapInfo::new::<Self, ScriptKey, ScriptValue>()))
    }
}

impl FromReflect for ScriptFields {
    fn from_reflect(value: &dyn PartialReflect) -> Option<Self> {
        let map = value.reflect_ref().as_map().ok()?;
        map.iter()
            .map(|(key, value)| {
                Some((ScriptKey::from_reflect(key)?, ScriptValue::from_reflect(value)?))
            })
            .collect()
    }
}

impl GetTypeRegistration for ScriptFields {
    fn get_type_registration() -> TypeRegistration {
        let mut registration = TypeRegistration::of::<Self>();
        registration.insert::<ReflectFromPtr>(FromType::<Self>::from_type());
        registration.insert::<ReflectFromReflect>(FromType::<Self>::from_type());
        registration
    }

    fn register_type_dependencies(registry: &mut TypeRegistry) {
        registry.register::<ScriptKey>();
        registry.register::<ScriptValue>();
    }
}

#[cfg(test)]
mod tests {
    use bevy::reflect::serde::{ReflectDeserializer, ReflectSerializer};
    use serde::de::DeserializeSeed;

    use super::*;
    use crate::value::ScriptTable;

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
