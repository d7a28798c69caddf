//! [`Mutable`]: why a script can't have an image.

use std::fmt;

/// Why the file level of a script runs anew before every callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutable {
    /// A function that outlives the file level, or one that it makes, assigns a global or a variable of an
    /// enclosing function.
    Variables {
        /// Where it does that.
        line: Option<u32>,
    },
    /// The file level keeps something that can't be frozen.
    Values {
        /// A buffer, a coroutine, an iterator, or more than can be inspected.
        what: &'static str,
        /// Where the function that holds it is defined, if it is not a global.
        line: Option<u32>,
    },
    /// A callback changed, or tried to change, a table of the file level, or asked whether it is frozen.
    Tables {
        /// Where it did that, if that is known.
        line: Option<u32>,
    },
}

impl Mutable {
    /// The line that is the reason, if there is one.
    #[must_use]
    pub const fn line(self) -> Option<u32> {
        match self {
            Self::Variables { line } | Self::Values { line, .. } | Self::Tables { line } => line,
        }
    }
}

impl fmt::Display for Mutable {
    /// `line 12 assigns a variable that lives on`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.line().map(|line| format!("line {line}"));
        match self {
            Self::Variables { .. } => {
                let place = place.as_deref().unwrap_or("a function");
                write!(f, "{place} assigns a variable that lives on when the function returns")
            }
            Self::Values { what, .. } => match place {
                Some(place) => write!(f, "the function of {place} holds {what} of the file level"),
                None => write!(f, "the file level keeps {what}"),
            },
            Self::Tables { .. } => {
                let place = place.as_deref().unwrap_or("a callback");
                write!(f, "{place} changes a table of the file level, or asks if it is frozen")
            }
        }
    }
}
