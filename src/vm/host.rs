//! [`Host`]: what a VM asks of the world while a script runs.

use bevy::prelude::{Entity, Vec3};

use super::atom::Atom;
use super::random::RunRandom;
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue, ScriptValues};

/// The world as one run sees it.
///
/// Plain data goes in and out. A panic in any method fails the run, and the VM is thrown away after it.
pub trait Host {
    /// The entity that this run is for.
    fn entity(&self) -> Entity;

    /// Reads `entity.<name>`: a component, or one of the built-in properties.
    ///
    /// # Errors
    /// If there is no such entity or no such component.
    fn component(&mut self, entity: Entity, name: &str) -> Result<ReadResult, ScriptError>;

    /// Writes `entity.<name>`: replaces or inserts a component; nil removes it.
    ///
    /// # Errors
    /// If it can't be done; then nothing has changed.
    fn set_component(
        &mut self,
        entity: Entity,
        name: &str,
        value: ScriptValue,
    ) -> Result<(), ScriptError>;

    /// Reads a field of what `place` refers to.
    ///
    /// # Errors
    /// If there is no such field, or the place no longer exists.
    fn field(&mut self, place: FieldRef, field: Field<'_>) -> Result<ReadResult, ScriptError>;

    /// Writes a field of what `place` refers to.
    ///
    /// # Errors
    /// If there is no such field, or it can't hold the value; then nothing has changed.
    fn set_field(
        &mut self,
        place: FieldRef,
        field: Field<'_>,
        value: ScriptValue,
    ) -> Result<(), ScriptError>;

    /// Copies the whole value that `place` refers to.
    ///
    /// # Errors
    /// If the place no longer exists, or the value has no form in Lua.
    fn copy(&mut self, place: FieldRef) -> Result<ScriptValue, ScriptError>;

    /// Replaces the whole value that `place` refers to by a table that was changed in Lua. That table had `before`
    /// bytes when it was last equal to the value.
    ///
    /// # Errors
    /// If it can't hold the value, or the run handed over too much; then nothing has changed.
    fn replace(
        &mut self,
        place: FieldRef,
        value: ScriptValue,
        before: usize,
    ) -> Result<(), ScriptError>;

    /// The name of a place in messages: `Transform.translation`.
    fn name(&self, place: FieldRef) -> String;

    /// The id of a component of the own entity, by its name. `None` if it has none, the entity has no such
    /// component, or the run replaced it: then [`Host::component`] is asked.
    fn own_component(&mut self, name: Atom) -> Option<FieldId> {
        let _ = name;
        None
    }

    /// Reads a field within `within` of the own entity. `None` if [`Host::field`] is to be asked.
    fn own_field(&mut self, within: FieldId, name: Atom) -> Option<ScalarRead> {
        let _ = (within, name);
        None
    }

    /// Writes a field within `within` of the own entity. `false` if nothing has changed and
    /// [`Host::set_field`] is to be asked.
    fn set_own_field(&mut self, within: FieldId, name: Atom, value: Scalar) -> bool {
        let _ = (within, name, value);
        false
    }

    /// The place with this id in the own entity.
    fn own_place(&self, spot: FieldId) -> FieldRef {
        unreachable!("no host that has no spots gives out spot {spot}")
    }

    /// Calls a host function by its number in the [`Api`](super::Api), for all its results. `random` are the random
    /// numbers of the run.
    ///
    /// # Errors
    /// What the function reports.
    fn call(
        &mut self,
        function: u32,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
    ) -> Result<ScriptValues, ScriptError>;

    /// Reads a live value, such as `time.delta`, by the number of its namespace and the path below it, which
    /// has at least one part.
    ///
    /// # Errors
    /// If the namespace has no such name.
    fn live(&mut self, namespace: u32, path: &[&str]) -> Result<Live, ScriptError>;

    /// The names below a path of a namespace, in the order in which iteration visits them. Default: none.
    ///
    /// # Errors
    /// If the namespace is gone.
    fn live_names(&mut self, namespace: u32, path: &[&str]) -> Result<Vec<String>, ScriptError> {
        let _ = (namespace, path);
        Ok(Vec::new())
    }

    /// Takes a log line of a callback. Those of the file level are kept for
    /// [`Program::take_file_lines`](super::Program::take_file_lines).
    ///
    /// # Errors
    /// If the run wrote more than it may.
    fn log(&mut self, level: LogLevel, text: String, line: Option<u32>) -> Result<(), ScriptError>;

    /// Whether [`Host::note_line`] is to be called before the next call of a host function, which takes time.
    /// Default: no.
    fn wants_line(&self) -> bool {
        false
    }

    /// The line of the next call.
    fn note_line(&mut self, line: Option<u32>) {
        let _ = line;
    }

    /// A run begins.
    fn begin(&mut self);

    /// Undoes everything that the current run asked for, log lines too: it is repeated.
    fn rewind(&mut self);

    /// Whether [`Host::rewind`] undoes all effects of the current run. Default: yes.
    ///
    /// A whole source ([`Vm::evaluate`](super::Vm::evaluate)) that can't be undone is not repeated: it runs out of
    /// memory at half of its limit.
    fn can_rewind(&self) -> bool {
        true
    }
}

/// What reading gives.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadResult {
    /// A plain value, copied.
    Value(ScriptValue),
    /// Something with fields: a handle to it.
    FieldRef(FieldRef),
    /// A list or a map, copied. If the script changes the table, the change is written back to the place.
    Table(ScriptTable, FieldRef),
}

/// The number of an exposed component, or of a field that is always at the same offset in one.
pub type FieldId = u32;

/// What reading a [`FieldId`] gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScalarRead {
    /// A plain value.
    Scalar(Scalar),
    /// Something with fields.
    FieldId(FieldId),
}

/// A plain value that needs no memory of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A number.
    Number(f64),
    /// A vector.
    Vector(Vec3),
    /// A boolean.
    Bool(bool),
}

impl From<Scalar> for ScriptValue {
    fn from(leaf: Scalar) -> Self {
        match leaf {
            Scalar::Number(value) => Self::Number(value),
            Scalar::Vector(value) => Self::Vector(value),
            Scalar::Bool(value) => Self::Bool(value),
        }
    }
}

/// What reading from a namespace gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// A plain value, copied.
    Value(ScriptValue),
    /// More names.
    Namespace,
}

/// A reference to a component or a field within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRef {
    /// The entity.
    pub entity: Entity,
    /// The number of the exposed component.
    pub component: u32,
    /// The fields that lead there.
    pub path: FieldPath,
}

/// The name or position of a field, as the script wrote it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// `place.name`
    Name(&'a str),
    /// `place[1]`
    Position(f64),
}

/// Up to [`FieldPath::MAX`] field numbers, each counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldPath {
    len: u8,
    steps: [u16; Self::MAX],
}

impl FieldPath {
    /// The length of the longest path.
    pub const MAX: usize = 7;

    /// This path and one step more, or `None` if it would be too deep.
    #[must_use]
    pub fn then(mut self, step: usize) -> Option<Self> {
        *self.steps.get_mut(usize::from(self.len))? = u16::try_from(step).ok()?;
        self.len += 1;
        Some(self)
    }

    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[u16] {
        &self.steps[..usize::from(self.len)]
    }

    /// The step, if it is one.
    #[inline]
    pub(crate) fn single_step(&self) -> Option<u16> {
        (self.len == 1).then_some(self.steps[0])
    }

    /// Whether this path leads to `other` or to something that contains it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.steps().starts_with(self.steps())
    }
}

/// How urgent a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `log.info` and `print`.
    Info,
    /// `log.warn`.
    Warn,
    /// `log.error`.
    Error,
}

/// A line that a script wrote with `print` or `log.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How urgent it is.
    pub level: LogLevel,
    /// What it says.
    pub text: String,
    /// Where the script wrote it, counted from 1, if that is known.
    pub line: Option<u32>,
}

/// A host without a world: what a VM sees outside Bevy, and at the file level.
///
/// Log lines are kept in [`NoWorld::lines`]; everything else is an error.
#[derive(Clone, Debug, Default)]
pub struct NoWorld {
    /// What the script logged, the oldest first.
    pub lines: Vec<(LogLevel, String)>,
    /// How many there were when the current run began.
    before: usize,
}

impl NoWorld {
    fn refuse<T>(what: &str) -> Result<T, ScriptError> {
        Err(ScriptError::Host { message: format!("`{what}` needs a world, and there is none") })
    }
}

impl Host for NoWorld {
    fn entity(&self) -> Entity {
        Entity::PLACEHOLDER
    }
    fn component(&mut self, _: Entity, name: &str) -> Result<ReadResult, ScriptError> {
        Self::refuse(&format!("entity.{name}"))
    }
    fn set_component(&mut self, _: Entity, name: &str, _: ScriptValue) -> Result<(), ScriptError> {
        Self::refuse(&format!("entity.{name}"))
    }
    fn field(&mut self, _: FieldRef, _: Field<'_>) -> Result<ReadResult, ScriptError> {
        Self::refuse("entity")
    }
    fn set_field(&mut self, _: FieldRef, _: Field<'_>, _: ScriptValue) -> Result<(), ScriptError> {
        Self::refuse("entity")
    }
    fn copy(&mut self, _: FieldRef) -> Result<ScriptValue, ScriptError> {
        Self::refuse("entity")
    }
    fn replace(&mut self, _: FieldRef, _: ScriptValue, _: usize) -> Result<(), ScriptError> {
        Self::refuse("entity")
    }
    fn name(&self, _: FieldRef) -> String {
        "entity".to_owned()
    }
    fn call(
        &mut self,
        _: u32,
        _: Vec<ScriptValue>,
        _: &mut RunRandom,
    ) -> Result<ScriptValues, ScriptError> {
        Self::refuse("a host function")
    }
    fn live(&mut self, _: u32, path: &[&str]) -> Result<Live, ScriptError> {
        Self::refuse(&path.join("."))
    }
    fn log(&mut self, level: LogLevel, text: String, _: Option<u32>) -> Result<(), ScriptError> {
        self.lines.push((level, text));
        Ok(())
    }
    fn begin(&mut self) {
        self.before = self.lines.len();
    }
    fn rewind(&mut self) {
        self.lines.truncate(self.before);
    }
}
