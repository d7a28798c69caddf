//! [`Library`]: the libraries of Luau that scripts may find.

use serde::{Deserialize, Serialize};

/// A library of Luau. In RON by its name: `math`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Library {
    /// `bit32`
    Bit32,
    /// `buffer`
    Buffer,
    /// `coroutine`
    Coroutine,
    /// `debug`, of which there is only `debug.traceback`.
    Debug,
    /// `math`, with a `math.random` that is seeded for each run.
    Math,
    /// `string`, and methods on texts: `("x"):rep(3)`.
    String,
    /// `table`
    Table,
    /// `utf8`
    Utf8,
    /// `vector`. Without it scripts still get vectors, such as `entity.Transform.translation`, and
    /// can calculate with them.
    Vector,
}

impl Library {
    /// Every library that there is.
    pub const ALL: [Self; 9] = [
        Self::Bit32,
        Self::Buffer,
        Self::Coroutine,
        Self::Debug,
        Self::Math,
        Self::String,
        Self::Table,
        Self::Utf8,
        Self::Vector,
    ];

    /// The name of its global.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bit32 => "bit32",
            Self::Buffer => "buffer",
            Self::Coroutine => "coroutine",
            Self::Debug => "debug",
            Self::Math => "math",
            Self::String => "string",
            Self::Table => "table",
            Self::Utf8 => "utf8",
            Self::Vector => "vector",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Library;

    #[test]
    fn a_library_is_written_by_its_name() {
        for library in Library::ALL {
            assert_eq!(ron::to_string(&library).as_deref(), Ok(library.name()));
            assert_eq!(ron::from_str(library.name()), Ok(library));
        }
    }
}
