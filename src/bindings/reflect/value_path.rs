//! [`ValuePath`]: the path of a value within another, for error messages.

use std::fmt;

use crate::value::ScriptValue;

/// The path from the value that is written to a value within it. A linked list on the stack; it is formatted only for
/// an error.
#[derive(Clone, Copy)]
pub(crate) enum ValuePath<'p> {
    /// The name of the value itself. If it is empty, the caller prepends the name to the error.
    Root(&'p str),
    /// `.name`
    Field(&'p Self, &'p str),
    /// `[1]`. The index here counts from 0.
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
            // Keys can be long; show the beginning.
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
