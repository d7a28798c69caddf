//! [`ValuePath`]: the way to a value within another, for messages.

use std::fmt;

use crate::value::ScriptValue;

/// The way from a value that is written to a value within. It is on the stack, and becomes text only in an error.
#[derive(Clone, Copy)]
pub(crate) enum ValuePath<'p> {
    /// The value itself, and its name. Where that is empty, it is added to the error.
    Root(&'p str),
    /// `.name`
    Field(&'p Self, &'p str),
    /// `[1]`, counted from 0 here.
    Element(&'p Self, usize),
    /// `[key]`
    Key(&'p Self, &'p ScriptValue),
}

impl fmt::Display for ValuePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => f.write_str(name),
            Self::Field(within, name) => write!(f, "{within}.{name}"),
            Self::Element(within, index) => write!(f, "{within}[{}]", index + 1),
            // A key can be as long as a text; messages show its beginning.
            Self::Key(within, key) => write!(f, "{within}[{:.80}]", key.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_scripts_write_it() {
        let root = ValuePath::Root("Bag");
        let items = ValuePath::Field(&root, "items");
        let first = ValuePath::Element(&items, 0);
        let key = ScriptValue::from("x".repeat(100));
        let by_key = ValuePath::Key(&first, &key);
        assert_eq!(first.to_string(), "Bag.items[1]");
        assert!(by_key.to_string().starts_with("Bag.items[1]["));
        assert!(by_key.to_string().len() < 100);
    }
}
