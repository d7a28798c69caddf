//! [`ValueServer`]: live values of the host behind `Namespace.path.to.value`.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::host::Live;
use crate::error::{ScriptError, suggest};
use crate::value::{ScriptKey, ScriptTable, ScriptValue};

/// Values of the host that scripts read when they need them: `Game.player.health`.
///
/// Nothing is copied when it is registered; every read calls it, with the path below its namespace. Several
/// threads may call it at once. A panic in it fails the run that reads.
///
/// For entity scripts, its values should not change while a stage runs, or the result depends on the order of
/// runs. Change them in a system that doesn't run together with the scripts.
///
/// A closure `Fn(&[&str]) -> Served` is a server that lists no names; [`SharedValues`] is one that
/// Rust writes to.
pub trait ValueServer: Send + Sync + 'static {
    /// What is at `path`, which has at least one part.
    fn read(&self, path: &[&str]) -> Served;

    /// The names below `path`, or those of the namespace itself if it is empty: for iteration, and
    /// to suggest the right name for a wrong one. Default: none.
    fn names(&self, path: &[&str]) -> Vec<String> {
        let _ = path;
        Vec::new()
    }
}

/// What a [`ValueServer`] has at a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Served {
    /// A value. A table is copied: if the script changes it, that changes the copy alone.
    Value(ScriptValue),
    /// More names, to be read with a longer path.
    Namespace,
    /// Nothing: an error in the script.
    Missing,
}

impl<F> ValueServer for F
where
    F: Fn(&[&str]) -> Served + Send + Sync + 'static,
{
    fn read(&self, path: &[&str]) -> Served {
        self(path)
    }
}

/// A server and the name of its namespace. The name stays when the server is removed.
#[derive(Clone)]
pub(crate) struct NamedServer {
    name: Arc<str>,
    server: Option<Arc<dyn ValueServer>>,
}

impl NamedServer {
    pub(crate) fn new(name: &str, server: Arc<dyn ValueServer>) -> Self {
        Self { name: name.into(), server: Some(server) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_there(&self) -> bool {
        self.server.is_some()
    }

    pub(crate) fn put(&mut self, server: Arc<dyn ValueServer>) {
        self.server = Some(server);
    }

    /// Removes the server. Gives whether there was one.
    pub(crate) fn remove(&mut self) -> bool {
        self.server.take().is_some()
    }

    fn server(&self) -> Result<&dyn ValueServer, ScriptError> {
        self.server
            .as_deref()
            .ok_or_else(|| ScriptError::Unregistered { name: self.name.to_string() })
    }

    pub(crate) fn live(&self, path: &[&str]) -> Result<Live, ScriptError> {
        let server = self.server()?;
        match server.read(path) {
            Served::Value(value) => Ok(Live::Value(value)),
            Served::Namespace => Ok(Live::Namespace),
            Served::Missing => Err(self.missing(server, path)),
        }
    }

    pub(crate) fn names(&self, path: &[&str]) -> Result<Vec<String>, ScriptError> {
        Ok(self.server()?.names(path))
    }

    fn missing(&self, server: &dyn ValueServer, path: &[&str]) -> ScriptError {
        let (field, above) = path.split_last().map_or(("", path), |(field, above)| (*field, above));
        let mut owner = self.name.to_string();
        for part in above {
            owner.push('.');
            owner.push_str(part);
        }
        let names = server.names(above);
        let similar = suggest(field, names.iter().map(String::as_str));
        ScriptError::UnknownField { owner, field: field.to_owned(), similar }
    }
}

impl fmt::Debug for NamedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedServer")
            .field("name", &self.name)
            .field("is_there", &self.is_there())
            .finish_non_exhaustive()
    }
}

/// A tree of values that Rust writes at any time and scripts read. Clones share one tree.
///
/// A table whose keys are all strings is a namespace. One with other keys, or an empty one, is a value, which is
/// copied when it is read.
///
/// ```
/// use bevy_lua_pool::{LuaEngine, vm::SharedValues};
///
/// let game = SharedValues::new();
/// game.set("player.health", 80.0);
/// let mut engine = LuaEngine::new()?;
/// engine.register_server("Game", game.clone())?;
/// assert_eq!(engine.evaluate("Game.player.health")?, 80.0.into());
/// game.set("player.health", 75.0);
/// assert_eq!(engine.evaluate("Game.player.health")?, 75.0.into());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SharedValues {
    values: Arc<RwLock<ScriptTable>>,
}

impl SharedValues {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value at a dotted path such as `player.health`. Replaces what is no table on the way by one.
    /// [`ScriptValue::Nil`] removes.
    pub fn set(&self, path: &str, value: impl Into<ScriptValue>) {
        let value = value.into();
        self.update(|values| {
            let mut table = values;
            let mut parts = path.split('.').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_none() {
                    table.set(part, value);
                    return;
                }
                let key = ScriptKey::from(part);
                if !matches!(table.fields.get(&key), Some(ScriptValue::Table(_))) {
                    table.set(part, ScriptTable::default());
                }
                let Some(ScriptValue::Table(inner)) = table.fields.get_mut(&key) else { return };
                table = inner;
            }
        });
    }

    /// The value at a dotted path, or [`ScriptValue::Nil`].
    #[must_use]
    pub fn get(&self, path: &str) -> ScriptValue {
        let path: Vec<&str> = path.split('.').collect();
        self.look(&path, |value| value.cloned().unwrap_or_default())
    }

    /// Changes several values at once: no reader sees some of them changed and others not yet.
    /// `change` must not use this tree through a clone: that would deadlock.
    pub fn update<R>(&self, change: impl FnOnce(&mut ScriptTable) -> R) -> R {
        change(&mut self.values.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn look<R>(&self, path: &[&str], look: impl FnOnce(Option<&ScriptValue>) -> R) -> R {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        let Some((first, rest)) = path.split_first() else {
            return look(None);
        };
        let first = values.fields.get(&ScriptKey::from(*first));
        look(rest.iter().fold(first, |value, part| match value {
            Some(ScriptValue::Table(table)) => table.fields.get(&ScriptKey::from(*part)),
            _ => None,
        }))
    }
}

impl From<ScriptTable> for SharedValues {
    fn from(values: ScriptTable) -> Self {
        Self { values: Arc::new(RwLock::new(values)) }
    }
}

impl ValueServer for SharedValues {
    fn read(&self, path: &[&str]) -> Served {
        self.look(path, |value| match value {
            None | Some(ScriptValue::Nil) => Served::Missing,
            Some(ScriptValue::Table(table)) if is_namespace(table) => Served::Namespace,
            Some(value) => Served::Value(value.clone()),
        })
    }

    fn names(&self, path: &[&str]) -> Vec<String> {
        let names = |table: &ScriptTable| {
            let names = table.fields.keys().filter_map(|key| match key {
                ScriptKey::String(name) => Some(name.to_string()),
                _ => None,
            });
            names.collect()
        };
        if path.is_empty() {
            return names(&self.values.read().unwrap_or_else(PoisonError::into_inner));
        }
        self.look(path, |value| match value {
            Some(ScriptValue::Table(table)) => names(table),
            _ => Vec::new(),
        })
    }
}

fn is_namespace(table: &ScriptTable) -> bool {
    !table.fields.is_empty()
        && table.array.is_empty()
        && table.fields.keys().all(|key| matches!(key, ScriptKey::String(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rust_wrote_last_is_what_is_read() {
        let values = SharedValues::new();
        let reader = values.clone();
        values.set("player.health", 3.0);
        assert_eq!(reader.read(&["player"]), Served::Namespace);
        assert_eq!(reader.read(&["player", "health"]), Served::Value(3.0.into()));
        values.set("player.health", 2.0);
        assert_eq!(reader.get("player.health"), 2.0.into());
        values.set("player", 1.0);
        assert_eq!(reader.read(&["player", "health"]), Served::Missing);
        assert_eq!(reader.names(&[]), ["player"]);
    }

    #[test]
    fn a_list_is_a_value_and_not_a_namespace() {
        let values = SharedValues::new();
        let mut list = ScriptTable::default();
        list.push("sword");
        values.set("items", list.clone());
        assert_eq!(values.read(&["items"]), Served::Value(list.into()));
    }

    #[test]
    fn a_missing_name_is_an_error_that_suggests_one() {
        let values = SharedValues::new();
        values.set("player.health", 1.0);
        let server = NamedServer::new("Game", Arc::new(values));
        let error = server.live(&["player", "healt"]).expect_err("it is misspelt");
        assert_eq!(error.to_string(), "`Game.player` has no field `healt`, did you mean `health`?");
    }

    #[test]
    fn a_closure_is_a_server() {
        let server = NamedServer::new(
            "N",
            Arc::new(|path: &[&str]| Served::Value((path.len() as u32).into())),
        );
        assert_eq!(server.live(&["a", "b"]), Ok(Live::Value(2.0.into())));
    }
}
