//! Options, lists and maps.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use super::traits::{FromScript, IntoScript};
use crate::error::ScriptError;
use crate::value::types::{ScriptKey, ScriptTable, ScriptValue};

impl<T: FromScript> FromScript for Option<T> {
    fn expected() -> String {
        format!("{} or nil", T::expected())
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Nil => Ok(None),
            value => T::from_script(value).map(Some),
        }
    }
}

impl<T: IntoScript> IntoScript for Option<T> {
    fn into_script(self) -> Result<ScriptValue, ScriptError> {
        self.map_or(Ok(ScriptValue::Nil), T::into_script)
    }
}

impl<T: Into<ScriptValue>> From<Option<T>> for ScriptValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, T::into)
    }
}

impl<T: FromScript> FromScript for Vec<T> {
    fn expected() -> String {
        format!("list of {}", T::expected())
    }
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Table(table) if table.fields.is_empty() => {
                table.array.into_iter().map(T::from_script).collect()
            }
            other => Err(other),
        }
    }
}

/// A list as a table. Nil ends the array, as in Lua: the elements behind it become fields.
fn list(elements: impl IntoIterator<Item = ScriptValue>) -> ScriptTable {
    let mut table = ScriptTable::default();
    let mut rest = Vec::new();
    for (element, position) in elements.into_iter().zip(1_usize..) {
        if element == ScriptValue::Nil {
            continue;
        }
        if table.array.len() + 1 == position {
            table.array.push(element);
        } else {
            rest.push((ScriptKey::Number(position as f64), element));
        }
    }
    table.fields = rest.into();
    table
}

macro_rules! lists {
    ($($list:ty, [$($generic:tt)*]);* $(;)?) => {$(
        impl<T: IntoScript, $($generic)*> IntoScript for $list {
            fn into_script(self) -> Result<ScriptValue, ScriptError> {
                let elements = self.into_iter().map(T::into_script).collect::<Result<Vec<_>, _>>()?;
                Ok(ScriptValue::Table(list(elements)))
            }
        }

        impl<T: Into<ScriptValue>, $($generic)*> From<$list> for ScriptValue {
            fn from(elements: $list) -> Self {
                Self::Table(list(elements.into_iter().map(T::into)))
            }
        }
    )*};
}
lists! {
    Vec<T>, [];
    [T; N], [const N: usize];
}

impl<T: Into<ScriptValue> + Clone> From<&[T]> for ScriptValue {
    fn from(elements: &[T]) -> Self {
        Self::Table(list(elements.iter().map(|element| element.clone().into())))
    }
}

impl<T: Into<ScriptValue>> From<Vec<T>> for ScriptTable {
    fn from(elements: Vec<T>) -> Self {
        list(elements.into_iter().map(T::into))
    }
}

macro_rules! string_maps {
    ($($map:ty, [$($generic:tt)*]);* $(;)?) => {$(
        impl<V: FromScript, $($generic)*> FromScript for $map {
            fn expected() -> String {
                format!("table of {} by string", V::expected())
            }
            fn from_script(value: ScriptValue) -> Result<Self, ScriptValue> {
                match value {
                    ScriptValue::Table(table) if table.array.is_empty() => table
                        .fields
                        .into_iter()
                        .map(|(key, value)| match key {
                            ScriptKey::String(key) => Ok((key.into(), V::from_script(value)?)),
                            _ => Err(value),
                        })
                        .collect(),
                    other => Err(other),
                }
            }
        }
    )*};
}
string_maps! {
    BTreeMap<String, V>, [];
    HashMap<String, V, S>, [S: BuildHasher + Default];
}

macro_rules! maps {
    ($($map:ty, [$($generic:tt)*]);* $(;)?) => {$(
        impl<K: Into<ScriptKey>, V: IntoScript, $($generic)*> IntoScript for $map {
            fn into_script(self) -> Result<ScriptValue, ScriptError> {
                let pairs = self.into_iter().map(|(key, value)| Ok((key, value.into_script()?)));
                let mut table: ScriptTable = pairs.collect::<Result<_, ScriptError>>()?;
                table.move_fields_to_array();
                Ok(table.into())
            }
        }

        impl<K: Into<ScriptKey>, V: Into<ScriptValue>, $($generic)*> From<$map> for ScriptTable {
            fn from(map: $map) -> Self {
                let mut table: Self = map.into_iter().collect();
                table.move_fields_to_array();
                table
            }
        }

        impl<K: Into<ScriptKey>, V: Into<ScriptValue>, $($generic)*> From<$map> for ScriptValue {
            fn from(map: $map) -> Self {
                Self::Table(map.into())
            }
        }
    )*};
}
maps! {
    BTreeMap<K, V>, [];
    HashMap<K, V, S>, [S];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_maps_options_and_all_numbers_become_values() {
        let list = ScriptValue::from(vec![1_usize, 2]);
        assert_eq!(list.to_string(), "{1, 2}");
        assert_eq!(
            ScriptValue::from([Some("a"), None, Some("c")]).to_string(),
            "{\"a\", [3] = \"c\"}"
        );
        assert_eq!(ScriptValue::from(&[true][..]).to_string(), "{true}");
        assert_eq!(ScriptValue::from(None::<f32>), ScriptValue::Nil);
        let scores = HashMap::from([("ann", 3_u64), ("bob", 4)]);
        assert_eq!(ScriptValue::from(scores).to_string(), "{ann = 3, bob = 4}");
        let rows = BTreeMap::from([(1, vec!["x"]), (2, vec![]), (7, vec!["y"])]);
        let shown = "{{\"x\"}, {}, [7] = {\"y\"}}";
        assert_eq!(ScriptTable::from(rows.clone()).to_string(), shown);
        assert_eq!(rows.into_script().expect("it is data").to_string(), shown);
        assert_eq!(ScriptTable::from(()), ScriptTable::default());
        assert_eq!(ScriptValue::from(i64::MIN), (-9_223_372_036_854_775_808.0).into());
    }
}
