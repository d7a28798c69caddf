//! [`Api`]: the names under which a VM offers what the host can do.

use std::collections::BTreeMap;

use super::sandbox::RESERVED;

/// The functions and the namespaces of live values that scripts can reach, by name.
///
/// A dotted name such as `game.damage` makes tables. The numbers are those that
/// [`Host::call`](super::Host::call) and [`Host::live`](super::Host::live) get.
#[derive(Clone, Debug, Default)]
pub struct Api {
    functions: Vec<String>,
    namespaces: Vec<String>,
    taken: BTreeMap<String, Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Table,
    Leaf,
}

/// Why a name can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not made of Lua identifiers joined by dots.
    #[error("`{name}` is not a Lua name; use identifiers joined by dots, such as `game.damage`")]
    Malformed {
        /// The name.
        name: String,
    },
    /// Somebody was there before.
    #[error("`{name}` is taken by `{by}`; choose another name")]
    Taken {
        /// The name.
        name: String,
        /// The name that is in its way.
        by: String,
    },
}

impl Api {
    /// Adds a function and returns its number.
    ///
    /// # Errors
    /// If the name is no Lua name, or taken: by another function, a library, a Lua keyword.
    pub fn add_function(&mut self, name: &str) -> Result<u32, NameError> {
        self.claim(name, Kind::Leaf)?;
        self.functions.push(name.to_owned());
        Ok(self.functions.len() as u32 - 1)
    }

    /// Adds a namespace of live values and returns its number.
    ///
    /// # Errors
    /// As [`Api::add_function`].
    pub fn add_namespace(&mut self, name: &str) -> Result<u32, NameError> {
        self.claim(name, Kind::Table)?;
        self.namespaces.push(name.to_owned());
        Ok(self.namespaces.len() as u32 - 1)
    }

    /// The functions and their numbers.
    pub fn functions(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(self.functions.iter().map(String::as_str))
    }

    /// The namespaces and their numbers.
    pub fn namespaces(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(self.namespaces.iter().map(String::as_str))
    }

    fn claim(&mut self, name: &str, kind: Kind) -> Result<(), NameError> {
        let taken = |by: &str| NameError::Taken { name: name.to_owned(), by: by.to_owned() };
        if !name.split('.').all(is_identifier) {
            return Err(NameError::Malformed { name: name.to_owned() });
        }
        let root = name.split('.').next().unwrap_or(name);
        if RESERVED.contains(&root) || super::sandbox::defines(root) {
            return Err(taken(root));
        }
        // Every prefix must be a table, and the name itself must be new.
        for (dot, _) in name.match_indices('.') {
            if self.taken.get(&name[..dot]) == Some(&Kind::Leaf) {
                return Err(taken(&name[..dot]));
            }
        }
        if self.taken.contains_key(name) {
            return Err(taken(name));
        }
        for (dot, _) in name.match_indices('.') {
            self.taken.insert(name[..dot].to_owned(), Kind::Table);
        }
        self.taken.insert(name.to_owned(), kind);
        Ok(())
    }
}

fn is_identifier(part: &str) -> bool {
    const KEYWORDS: [&str; 21] = [
        "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in",
        "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
    ];
    let mut chars = part.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|char| char.is_ascii_alphanumeric() || char == '_')
        && !KEYWORDS.contains(&part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_lua_names_are_refused() {
        for name in ["", "a.", ".a", "a..b", "1a", "a-b", "end", "game.end", "hé"] {
            let error = Api::default().add_function(name);
            assert!(matches!(error, Err(NameError::Malformed { .. })), "{name:?}: {error:?}");
        }
    }

    #[test]
    fn a_name_is_never_taken_from_another() {
        let mut api = Api::default();
        assert_eq!(api.add_function("game.damage"), Ok(0));
        assert_eq!(api.add_function("game.heal"), Ok(1));
        for name in
            ["game", "game.damage", "game.damage.now", "math.sin", "print", "entity", "log.x"]
        {
            let error = api.add_function(name);
            assert!(matches!(error, Err(NameError::Taken { .. })), "{name:?}: {error:?}");
        }
        assert_eq!(api.functions().count(), 2, "a refused name leaves nothing behind");
    }
}
