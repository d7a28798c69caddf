//! [`Api`]: the names under which a VM offers what the host can do.

use std::collections::{BTreeMap, BTreeSet};

use super::libraries::{self, RESERVED};
use crate::sandbox::{Library, SandboxConfig};
use crate::value::ScriptValue;

/// The functions, constants, and namespaces of live values that scripts can reach, by name.
///
/// A dotted name such as `game.damage` makes tables. The numbers are those that
/// [`Host::call`](super::Host::call) and [`Host::live`](super::Host::live) get. Numbers are never reused, so
/// a VM that was made from an earlier state of the API stays valid.
#[derive(Clone, Debug, Default)]
pub struct Api {
    functions: Vec<String>,
    namespaces: Vec<(String, NamespaceKind)>,
    constants: Vec<(String, ScriptValue)>,
    taken: BTreeMap<String, NameKind>,
    /// The module of each name that belongs to one.
    modules: BTreeMap<String, String>,
    /// The modules that the sandbox allows; `None` for all.
    allowed_modules: Option<BTreeSet<String>>,
    /// The libraries that the sandbox leaves out.
    missing: Vec<Library>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameKind {
    Table,
    Scalar,
}

/// What a namespace looks like in Lua.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamespaceKind {
    /// A table, which may hold functions too.
    Table,
    /// A handle that asks a [`ValueServer`](super::ValueServer).
    Server,
}

/// How much an [`Api`] held at some moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ApiMark {
    functions: usize,
    namespaces: usize,
    constants: usize,
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
    /// Taken by another name.
    #[error("`{name}` is taken by `{by}`; choose another name")]
    Taken {
        /// The name.
        name: String,
        /// The name that takes it.
        by: String,
    },
}

impl Api {
    /// Adds a function and returns its number.
    ///
    /// # Errors
    /// If the name is no Lua name, or taken: by another function, a library, a Lua keyword.
    pub fn add_function(&mut self, name: &str) -> Result<u32, NameError> {
        self.claim(name, NameKind::Scalar, Reach::Own)?;
        self.functions.push(name.to_owned());
        Ok(self.functions.len() as u32 - 1)
    }

    /// Adds a function as [`Api::add_function`] does, or one that extends the library `math` or
    /// `string`, such as `math.mean`.
    ///
    /// # Errors
    /// As [`Api::add_function`]; a member that the library has already is taken.
    pub fn add_library_function(&mut self, name: &str) -> Result<u32, NameError> {
        self.claim(name, NameKind::Scalar, Reach::Libraries)?;
        self.functions.push(name.to_owned());
        Ok(self.functions.len() as u32 - 1)
    }

    /// Adds a value that never changes, where [`Api::add_library_function`] may add functions.
    /// Scripts can't change it either.
    ///
    /// # Errors
    /// As [`Api::add_library_function`].
    pub fn add_constant(&mut self, name: &str, value: ScriptValue) -> Result<(), NameError> {
        self.claim(name, NameKind::Scalar, Reach::Libraries)?;
        self.constants.push((name.to_owned(), value));
        Ok(())
    }

    /// Adds a namespace of live values and returns its number.
    ///
    /// # Errors
    /// As [`Api::add_function`].
    pub fn add_namespace(&mut self, name: &str) -> Result<u32, NameError> {
        self.claim(name, NameKind::Table, Reach::Own)?;
        Ok(self.push_namespace(name, NamespaceKind::Table))
    }

    /// Adds the namespace of a [`ValueServer`](super::ValueServer) and returns its number, which is
    /// one of the namespaces' numbers. Nothing can be added below it.
    ///
    /// # Errors
    /// As [`Api::add_function`].
    pub fn add_server(&mut self, name: &str) -> Result<u32, NameError> {
        self.claim(name, NameKind::Scalar, Reach::Own)?;
        Ok(self.push_namespace(name, NamespaceKind::Server))
    }

    fn push_namespace(&mut self, name: &str, kind: NamespaceKind) -> u32 {
        self.namespaces.push((name.to_owned(), kind));
        self.namespaces.len() as u32 - 1
    }

    /// The functions and their numbers.
    pub fn functions(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(self.functions.iter().map(String::as_str))
    }

    /// The namespaces and their numbers.
    pub fn namespaces(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..).zip(self.namespaces.iter().map(|(name, _)| name.as_str()))
    }

    /// The constants.
    pub fn constants(&self) -> impl Iterator<Item = (&str, &ScriptValue)> {
        self.constants.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Adds all of a module, or nothing. Its functions get consecutive numbers.
    ///
    /// # Errors
    /// As [`Api::add_library_function`].
    pub(crate) fn add_module<'m>(
        &mut self,
        module: &str,
        functions: impl Iterator<Item = &'m str>,
        constants: impl Iterator<Item = (&'m str, &'m ScriptValue)>,
    ) -> Result<(), NameError> {
        let mark = self.mark();
        let added = self.add_parts(module, functions, constants);
        if added.is_err() {
            self.roll_back(mark);
        }
        added
    }

    fn add_parts<'m>(
        &mut self,
        module: &str,
        functions: impl Iterator<Item = &'m str>,
        constants: impl Iterator<Item = (&'m str, &'m ScriptValue)>,
    ) -> Result<(), NameError> {
        for name in functions {
            self.add_library_function(name)?;
            self.modules.insert(name.to_owned(), module.to_owned());
        }
        for (name, value) in constants {
            self.add_constant(name, value.clone())?;
            self.modules.insert(name.to_owned(), module.to_owned());
        }
        Ok(())
    }

    /// Removes what was added after `mark`. Takes time in proportion to what is left.
    pub(crate) fn roll_back(&mut self, mark: ApiMark) {
        let functions = self.functions.drain(mark.functions..);
        let constants = self.constants.drain(mark.constants..).map(|(name, _)| name);
        for name in functions.chain(constants) {
            self.modules.remove(&name);
        }
        self.namespaces.truncate(mark.namespaces);
        self.taken.clear();
        let leaves = self.functions.iter().chain(self.constants.iter().map(|(name, _)| name));
        let leaves = leaves.map(|name| (name, NameKind::Scalar));
        let namespaces = self.namespaces.iter().map(|(name, namespace)| match namespace {
            NamespaceKind::Table => (name, NameKind::Table),
            NamespaceKind::Server => (name, NameKind::Scalar),
        });
        for (name, kind) in leaves.chain(namespaces) {
            for (dot, _) in name.match_indices('.') {
                self.taken.insert(name[..dot].to_owned(), NameKind::Table);
            }
            self.taken.insert(name.clone(), kind);
        }
    }

    /// The part of it that a sandbox allows. The numbers stay the same.
    #[must_use]
    pub fn within(&self, sandbox: &SandboxConfig) -> Self {
        let missing = Library::ALL.into_iter().filter(|it| !sandbox.libraries.contains(it));
        Self {
            missing: missing.collect(),
            allowed_modules: sandbox.modules.clone(),
            ..self.clone()
        }
    }

    /// The libraries that the sandbox leaves out.
    pub(super) fn missing_libraries(&self) -> &[Library] {
        &self.missing
    }

    fn is_offered(&self, name: &str) -> bool {
        match (&self.allowed_modules, self.modules.get(name)) {
            (Some(allowed), Some(module)) => allowed.contains(module),
            _ => true,
        }
    }

    /// How much it holds now.
    pub(crate) fn mark(&self) -> ApiMark {
        ApiMark {
            functions: self.functions.len(),
            namespaces: self.namespaces.len(),
            constants: self.constants.len(),
        }
    }

    /// The functions that were added after `mark`.
    pub(super) fn functions_since(&self, mark: ApiMark) -> impl Iterator<Item = (u32, &str)> {
        let names = self.functions[mark.functions..].iter().map(String::as_str);
        (mark.functions as u32..).zip(names).filter(|(_, name)| self.is_offered(name))
    }

    pub(super) fn namespaces_since(
        &self,
        mark: ApiMark,
    ) -> impl Iterator<Item = (u32, &str, NamespaceKind)> {
        let added = self.namespaces[mark.namespaces..].iter();
        (mark.namespaces as u32..).zip(added).map(|(number, (name, kind))| (number, &**name, *kind))
    }

    pub(super) fn constants_since(
        &self,
        mark: ApiMark,
    ) -> impl Iterator<Item = (&str, &ScriptValue)> {
        let added = self.constants[mark.constants..].iter();
        added.map(|(name, value)| (&**name, value)).filter(|(name, _)| self.is_offered(name))
    }

    fn claim(&mut self, name: &str, kind: NameKind, reach: Reach) -> Result<(), NameError> {
        let taken = |by: &str| NameError::Taken { name: name.to_owned(), by: by.to_owned() };
        if !name.split('.').all(is_identifier) {
            return Err(NameError::Malformed { name: name.to_owned() });
        }
        let root = name.split('.').next().unwrap_or(name);
        let extends = reach == Reach::Libraries && libraries::can_be_extended(root);
        if extends && (name == root || libraries::has_member(name)) {
            return Err(taken(name));
        }
        if RESERVED.contains(&root) || (libraries::defines(root) && !extends) {
            return Err(taken(root));
        }
        // Every prefix must be a table, and the name itself must be new.
        for (dot, _) in name.match_indices('.') {
            if self.taken.get(&name[..dot]) == Some(&NameKind::Scalar) {
                return Err(taken(&name[..dot]));
            }
        }
        if self.taken.contains_key(name) {
            return Err(taken(name));
        }
        for (dot, _) in name.match_indices('.') {
            self.taken.insert(name[..dot].to_owned(), NameKind::Table);
        }
        self.taken.insert(name.to_owned(), kind);
        Ok(())
    }
}

/// Where a name may be added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Under names that no library has.
    Own,
    /// In the libraries that can be extended too.
    Libraries,
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

    #[test]
    fn only_what_a_library_lacks_can_be_added_to_it() {
        let mut api = Api::default();
        assert_eq!(api.add_library_function("math.mean"), Ok(0));
        for name in ["math", "math.sin", "math.random", "math.mean", "table.sum", "debug.info"] {
            let error = api.add_library_function(name);
            assert!(matches!(error, Err(NameError::Taken { .. })), "{name:?}: {error:?}");
        }
        assert!(api.add_function("math.median").is_err(), "an app's functions stay outside");
        assert_eq!(api.add_constant("math.golden", 1.618.into()), Ok(()));
    }

    #[test]
    fn a_module_that_is_refused_leaves_nothing_behind() {
        let mut api = Api::default();
        api.add_function("game.damage").expect("the name is free");
        api.add_namespace("time").expect("the name is free");
        let one = ScriptValue::from(1.0);
        let constants = [("dice.faces", &one), ("game.damage", &one)];
        let added = api.add_module("dice", ["dice.roll"].into_iter(), constants.into_iter());
        assert!(matches!(added, Err(NameError::Taken { .. })), "{added:?}");
        assert_eq!((api.functions().count(), api.constants().count()), (1, 0));
        assert_eq!(api.add_function("dice"), Ok(1), "the name is free again");
        for name in ["game", "game.damage", "time"] {
            assert!(api.add_function(name).is_err(), "{name} is taken still");
        }
        assert_eq!(api.add_function("time.now"), Ok(2), "a namespace may hold functions still");
        assert_eq!(api.add_module("x", ["x.f"].into_iter(), [("x.c", &one)].into_iter()), Ok(()));
        assert_eq!((api.functions().count(), api.constants().count()), (4, 1));
    }

    #[test]
    fn nothing_can_be_added_below_a_server() {
        let mut api = Api::default();
        assert_eq!(api.add_namespace("time"), Ok(0));
        assert_eq!(api.add_server("Game"), Ok(1));
        assert!(matches!(api.add_function("Game.x"), Err(NameError::Taken { .. })));
        assert_eq!(api.add_function("time.now"), Ok(0));
    }
}
