//! Values, tables and keys as text.

use std::fmt;

use super::types::{ScriptKey, ScriptTable, ScriptValue};

/// Writes the value like a Lua literal, with strings in quotes.
impl fmt::Display for ScriptValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::String(value) => write!(f, "{value:?}"),
            Self::Bytes(value) => write!(f, "<{} bytes>", value.len()),
            Self::Vector(value) => write!(f, "({}, {}, {})", value.x, value.y, value.z),
            Self::Entity(value) => write!(f, "{value}"),
            Self::Table(value) => write!(f, "{value}"),
        }
    }
}

/// Writes the table like a Lua table constructor.
impl fmt::Display for ScriptTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        let mut separator = "";
        for value in &self.array {
            write!(f, "{separator}{value}")?;
            separator = ", ";
        }
        for (key, value) in &self.fields {
            match key {
                ScriptKey::String(key) => write!(f, "{separator}{key} = {value}")?,
                key => write!(f, "{separator}[{key}] = {value}")?,
            }
            separator = ", ";
        }
        f.write_str("}")
    }
}

impl fmt::Display for ScriptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::String(value) => f.write_str(value),
            Self::Entity(value) => write!(f, "{value}"),
        }
    }
}

/// The type of a value and, if it is short, the value: for errors.
pub(crate) fn describe(value: &ScriptValue) -> String {
    match value {
        ScriptValue::Nil => "nil".to_owned(),
        ScriptValue::Table(_) | ScriptValue::Bytes(_) => value.type_name().to_owned(),
        ScriptValue::String(text) if text.chars().count() > 40 => {
            format!("string {:?}…", text.chars().take(40).collect::<String>())
        }
        value => format!("{} {value}", value.type_name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_shown_as_lua_would_write_it() {
        let mut table = ScriptTable::from([("a", ScriptValue::from("x"))]);
        table.push(1.0);
        assert_eq!(table.to_string(), "{1, a = \"x\"}");
    }
}
