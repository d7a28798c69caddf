//! [`ScriptKey`]: its order, and what converts to and from it.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use bevy::prelude::Entity;
use smol_str::SmolStr;

use super::types::{ScriptKey, ScriptValue};

impl ScriptKey {
    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Number(_) => 1,
            Self::String(_) => 2,
            Self::Entity(_) => 3,
        }
    }
}

/// A total order: booleans, numbers by [`f64::total_cmp`], strings, entities.
impl Ord for ScriptKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::String(a), Self::String(b)) => a.cmp(b),
            (Self::Entity(a), Self::Entity(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for ScriptKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ScriptKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ScriptKey {}

impl Hash for ScriptKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Bool(key) => key.hash(state),
            // As `total_cmp` does, which tells numbers apart by their bits.
            Self::Number(key) => key.to_bits().hash(state),
            Self::String(key) => key.hash(state),
            Self::Entity(key) => key.hash(state),
        }
    }
}

macro_rules! from_small_numbers {
    ($($int:ty),*) => {$(
        impl From<$int> for ScriptKey {
            fn from(value: $int) -> Self {
                Self::Number(value.into())
            }
        }
    )*};
}
from_small_numbers!(i8, i16, i32, u8, u16, u32, f32);

macro_rules! from_content {
    ($($ty:ty, $variant:ident);* $(;)?) => {$(
        impl From<$ty> for ScriptKey {
            fn from(value: $ty) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}
from_content! {
    bool, Bool;
    f64, Number;
    &str, String;
    String, String;
    SmolStr, String;
    Entity, Entity;
}

impl From<&String> for ScriptKey {
    fn from(value: &String) -> Self {
        Self::String(value.into())
    }
}

impl From<ScriptKey> for ScriptValue {
    fn from(key: ScriptKey) -> Self {
        match key {
            ScriptKey::Bool(key) => Self::Bool(key),
            ScriptKey::Number(key) => Self::Number(key),
            ScriptKey::String(key) => Self::String(key.into()),
            ScriptKey::Entity(key) => Self::Entity(key),
        }
    }
}

/// Returns the value as the error if it can't be a key.
impl TryFrom<ScriptValue> for ScriptKey {
    type Error = ScriptValue;

    fn try_from(value: ScriptValue) -> Result<Self, ScriptValue> {
        match value {
            ScriptValue::Bool(value) => Ok(Self::Bool(value)),
            ScriptValue::Number(value) => Ok(Self::Number(value)),
            ScriptValue::String(value) => Ok(Self::String(value.into())),
            ScriptValue::Entity(value) => Ok(Self::Entity(value)),
            other => Err(other),
        }
    }
}
