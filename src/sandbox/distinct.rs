//! Lists and maps that name nothing twice: of two rules for one path, one would be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A set that is written as a list. What the list names twice is an error.
pub(super) struct Distinct<T>(pub(super) BTreeSet<T>);

impl<'de, T: Deserialize<'de> + Ord + Debug> Deserialize<'de> for Distinct<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SetVisitor(PhantomData)).map(Self)
    }
}

struct SetVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Ord + Debug> Visitor<'de> for SetVisitor<T> {
    type Value = BTreeSet<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = list.next_element::<T>()? {
            if names.contains(&name) {
                return Err(twice(&name));
            }
            names.insert(name);
        }
        Ok(names)
    }
}

/// Reads a map. A key that it has twice is an error.
pub(super) fn map<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    deserializer.deserialize_map(MapVisitor(PhantomData))
}

struct MapVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for MapVisitor<V> {
    type Value = BTreeMap<String, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of paths")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut rules = BTreeMap::new();
        while let Some(path) = map.next_key::<String>()? {
            if rules.contains_key(&path) {
                return Err(twice(&path));
            }
            rules.insert(path, map.next_value()?);
        }
        Ok(rules)
    }
}

fn twice<E: Error>(name: &impl Debug) -> E {
    E::custom(format_args!("{name:?} is there twice; remove one of the two"))
}
