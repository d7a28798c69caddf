//! What became of scripts: state, components, failures, figures.

use bevy::prelude::{Component, Entity, Transform};

use super::app::TestApp;
use crate::run::ScriptFailed;
use crate::script::ScriptStates;
use crate::snapshot::{FrameStats, LuaSnapshot};
use crate::value::{ScriptTable, ScriptValue};

impl TestApp {
    /// The `self` of an entity's first script.
    ///
    /// # Panics
    ///
    /// If the entity carries no script, or none that could run.
    #[track_caller]
    pub fn state(&self, entity: Entity) -> ScriptTable {
        let states = self.app.world().get::<ScriptStates>(entity);
        match states.and_then(|states| states.iter().next()) {
            Some(state) => state.fields.clone(),
            None => panic!("{entity} has no script that ran{}", self.record.report()),
        }
    }

    /// A field of `self` of an entity's first script; nil if there is none.
    ///
    /// # Panics
    ///
    /// If the entity carries no script, or none that could run.
    #[track_caller]
    pub fn field(&self, entity: Entity, field: &str) -> ScriptValue {
        self.state(entity).get(field).clone()
    }

    /// A component of an entity, cloned.
    ///
    /// # Panics
    ///
    /// If the entity doesn't have it.
    #[track_caller]
    pub fn get<T: Component + Clone>(&self, entity: Entity) -> T {
        match self.app.world().get::<T>(entity) {
            Some(component) => component.clone(),
            None => {
                let component = std::any::type_name::<T>();
                panic!("{entity} has no {component}{}", self.record.report())
            }
        }
    }

    /// The [`Transform`] of an entity.
    ///
    /// # Panics
    ///
    /// If the entity has none.
    #[track_caller]
    pub fn transform(&self, entity: Entity) -> Transform {
        self.get(entity)
    }

    /// What the last frame did.
    #[must_use]
    pub fn stats(&self) -> FrameStats {
        self.snapshot().frame
    }

    /// What the pool and the scripts did so far.
    ///
    /// # Panics
    ///
    /// If the plugin was not added.
    #[must_use]
    pub fn snapshot(&self) -> &LuaSnapshot {
        self.app.world().resource()
    }

    /// Takes the failures that were not taken yet, as texts.
    pub fn failures(&mut self) -> Vec<String> {
        self.drain::<ScriptFailed>().iter().map(|failed| failed.failure.to_string()).collect()
    }

    /// Runs a frame and gives the only failure in it.
    ///
    /// # Panics
    ///
    /// If there is none, or more than one.
    #[track_caller]
    pub fn failure(&mut self) -> String {
        self.drain::<ScriptFailed>();
        self.frame();
        let mut failures = self.failures();
        assert_eq!(failures.len(), 1, "not one failure{}", self.record.report());
        failures.remove(0)
    }

    /// Takes the lines that scripts logged and that were not taken yet, such as `INFO door.luau:3: open`, and warnings
    /// about single scripts. The last 1,000 are kept.
    pub fn take_log(&mut self) -> Vec<String> {
        self.record.take_log()
    }

    /// Asserts that no run failed since the app was made.
    ///
    /// # Panics
    ///
    /// If one did, with all that scripts logged.
    #[track_caller]
    pub fn assert_no_failures(&self) {
        let count = self.record.failures().len();
        assert!(count == 0, "{count} runs failed{}", self.record.report());
    }

    /// Asserts that a run failed since the app was made, with this in its message or call stack.
    ///
    /// # Panics
    ///
    /// If none did.
    #[track_caller]
    pub fn assert_failed(&self, part: &str) {
        let is_there = self.record.failures().any(|failure| failure.contains(part));
        assert!(is_there, "no run failed with {part:?}{}", self.record.report());
    }

    /// Asserts that a field of `self` of an entity's first script has this value.
    ///
    /// # Panics
    ///
    /// If it has another one, or if the entity carries no script that ran.
    #[track_caller]
    pub fn assert_field(&self, entity: Entity, field: &str, expected: impl Into<ScriptValue>) {
        let (found, expected) = (self.field(entity, field), expected.into());
        assert!(
            found == expected,
            "`self.{field}` of {entity} is {found}, not {expected}{}",
            self.record.report()
        );
    }
}
