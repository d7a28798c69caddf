//! [`Atom`]: a name of the host, as a small number.
//!
//! Luau can keep a number with each string, which it asks us for once. So the names of components and fields
//! need no comparison of strings when a script uses them.

use std::sync::{PoisonError, RwLock};

use bevy::platform::collections::HashMap;

/// A name of a component or field, as a small number: the same in all VMs of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Atom(i16);

/// The number of a string that is no such name.
pub(super) const NO_ATOM: i16 = -1;

static NAMES: RwLock<Option<HashMap<Box<[u8]>, Atom>>> = RwLock::new(None);

impl Atom {
    /// The atom of a name, made if it has none yet. `None` if 32,768 names have one already: others are
    /// compared as strings.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let mut names = NAMES.write().unwrap_or_else(PoisonError::into_inner);
        let names = names.get_or_insert_default();
        if let Some(known) = names.get(name.as_bytes()) {
            return Some(*known);
        }
        let atom = Self(i16::try_from(names.len()).ok()?);
        names.insert(name.as_bytes().into(), atom);
        Some(atom)
    }

    /// The atom that Luau keeps with a string.
    #[inline]
    pub(super) fn from_luau(number: i32) -> Option<Self> {
        i16::try_from(number).ok().filter(|number| *number >= 0).map(Self)
    }

    /// Its number, from 0.
    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0.unsigned_abs())
    }
}

/// The number that Luau is to keep with a string.
pub(super) fn atom_of_string(text: &[u8]) -> i16 {
    let names = NAMES.read().unwrap_or_else(PoisonError::into_inner);
    names.as_ref().and_then(|names| names.get(text)).map_or(NO_ATOM, |atom| atom.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_for_ever() {
        let [a, b] = ["atoms_a", "atoms_b"].map(|name| Atom::of(name).expect("few names"));
        assert_ne!(a, b);
        assert_eq!(Atom::of("atoms_a"), Some(a));
        assert_eq!(Atom::from_luau(atom_of_string(b"atoms_b").into()), Some(b));
        assert_eq!(atom_of_string(b"atoms_c"), NO_ATOM);
        assert_eq!(Atom::from_luau(NO_ATOM.into()), None);
    }
}
