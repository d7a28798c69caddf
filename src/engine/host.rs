//! [`EngineHost`]: the host of runs outside Bevy.

use bevy::prelude::Entity;

use super::answers::Answers;
use crate::api_registry::ApiRegistry;
use crate::error::ScriptError;
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::{Field, FieldRef, Host, Live, LogLevel, NoWorld, ReadResult, RunRandom};

/// Receives the lines that a run logs.
pub(crate) trait TakeLine:
    FnMut(LogLevel, String, Option<u32>) -> Result<(), ScriptError>
{
}

impl<F: FnMut(LogLevel, String, Option<u32>) -> Result<(), ScriptError>> TakeLine for F {}

/// A host with an [`ApiRegistry`] and without a world.
pub(crate) struct EngineHost<'o, L, R = fn()> {
    offer: &'o ApiRegistry,
    log: L,
    /// Discards what was logged.
    rewind: R,
    /// The results of host functions, if the run may be retried.
    answers: Option<Answers>,
    no_world: NoWorld,
}

impl<'o, L: TakeLine> EngineHost<'o, L> {
    pub(crate) fn new(offer: &'o ApiRegistry, log: L) -> Self {
        Self { offer, log, rewind: || (), answers: None, no_world: NoWorld::default() }
    }

    /// Allows a retry of the run. `rewind` is called before it, to discard what was logged.
    pub(crate) fn rewound_by<R: FnMut()>(self, rewind: R) -> EngineHost<'o, L, R> {
        let Self { offer, log, no_world, .. } = self;
        EngineHost { offer, log, rewind, answers: Some(Answers::default()), no_world }
    }
}

impl<L, R> EngineHost<'_, L, R> {
    /// Whether a retry made other calls than the first attempt.
    pub(crate) fn has_diverged(&self) -> bool {
        self.answers.as_ref().is_some_and(Answers::have_diverged)
    }
}

impl<L: TakeLine, R: FnMut()> Host for EngineHost<'_, L, R> {
    fn entity(&self) -> Entity {
        self.no_world.entity()
    }
    fn component(&mut self, entity: Entity, name: &str) -> Result<ReadResult, ScriptError> {
        self.no_world.component(entity, name)
    }
    fn set_component(
        &mut self,
        entity: Entity,
        name: &str,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        self.no_world.set_component(entity, name, value)
    }
    fn field(&mut self, place: FieldRef, field: Field<'_>) -> Result<ReadResult, ScriptError> {
        self.no_world.field(place, field)
    }
    fn set_field(
        &mut self,
        place: FieldRef,
        field: Field<'_>,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        self.no_world.set_field(place, field, value)
    }
    fn copy(&mut self, place: FieldRef) -> Result<ScriptValue, ScriptError> {
        self.no_world.copy(place)
    }
    fn replace(
        &mut self,
        place: FieldRef,
        value: ScriptValue,
        before: usize,
    ) -> Result<(), ScriptError> {
        self.no_world.replace(place, value, before)
    }
    fn name(&self, place: FieldRef) -> String {
        self.no_world.name(place)
    }
    fn call(
        &mut self,
        function: u32,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
    ) -> Result<ScriptValues, ScriptError> {
        let call = |args, random: &mut RunRandom| self.offer.call(function, args, random);
        match &mut self.answers {
            Some(answers) => answers.answer(function, args, random, call),
            None => call(args, random),
        }
    }
    fn live(&mut self, namespace: u32, path: &[&str]) -> Result<Live, ScriptError> {
        self.offer.live(namespace, path)
    }
    fn live_names(&mut self, namespace: u32, path: &[&str]) -> Result<Vec<String>, ScriptError> {
        self.offer.names(namespace, path)
    }
    fn log(&mut self, level: LogLevel, text: String, line: Option<u32>) -> Result<(), ScriptError> {
        (self.log)(level, text, line)
    }

    fn begin(&mut self) {}

    // Runs of a pool may be retried; those of a session never are.
    fn rewind(&mut self) {
        (self.rewind)();
        self.answers.iter_mut().for_each(Answers::rewind);
    }

    fn can_rewind(&self) -> bool {
        self.answers.as_ref().is_none_or(Answers::are_complete)
    }
}
