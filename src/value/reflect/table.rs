//! [`ScriptTable`] by reflection: a struct.

use bevy::reflect::{ReflectDeserialize, ReflectSerialize};

use super::implement::reflect_struct;
use crate::value::types::{ScriptFields, ScriptTable, ScriptValue};

reflect_struct!(ScriptTable { array: Vec<ScriptValue>, fields: ScriptFields }
    ReflectSerialize, ReflectDeserialize);
