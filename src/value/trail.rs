//! [`Trail`]: where in a value its reader or writer is, for errors such as `items[3].count`.

use std::borrow::Cow;
use std::fmt::Write;

use super::types::ScriptKey;

/// A place in a value that is being read or written: a linked list on the stack, so that no text is made unless there
/// is an error.
#[derive(Clone, Debug)]
pub(super) struct Trail<'a> {
    pub(super) step: PathStep<'a>,
    pub(super) parent: Option<&'a Self>,
}

/// One step of the path to a place in a value.
#[derive(Clone, Debug)]
pub(super) enum PathStep<'a> {
    /// `[3]`
    Element(usize),
    /// `.name`
    Field(Cow<'a, str>),
    /// `.name` or `[0.5]`. The key may come from an untrusted save: it is escaped and cut.
    Key(&'a ScriptKey),
}

impl<'a> Trail<'a> {
    /// The steps from the root to the place.
    pub(super) fn steps<'t>(trail: Option<&'t Self>) -> Vec<&'t PathStep<'a>> {
        let mut steps = Vec::new();
        let mut place = trail;
        while let Some(Self { step, parent }) = place {
            steps.push(step);
            place = *parent;
        }
        steps.reverse();
        steps
    }
}

/// `items[3].count`; `value` for the root.
pub(super) fn show_path<'t, 'a: 't>(steps: impl IntoIterator<Item = &'t PathStep<'a>>) -> String {
    /// Characters of a key that are shown.
    const MAX_KEY_CHARS: usize = 60;
    let mut path = String::new();
    for step in steps {
        let name = match step {
            PathStep::Element(number) => {
                let _ = write!(path, "[{number}]");
                continue;
            }
            PathStep::Key(ScriptKey::String(key)) => {
                Cow::Owned(key.chars().take(MAX_KEY_CHARS).flat_map(char::escape_debug).collect())
            }
            PathStep::Key(key) => {
                let _ = write!(path, "[{key}]");
                continue;
            }
            PathStep::Field(name) => Cow::Borrowed(&**name),
        };
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(&name);
    }
    if path.is_empty() || path.starts_with('[') {
        path.insert_str(0, "value");
    }
    path
}
