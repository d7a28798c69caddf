//! Scripts on entities, and single lines of Lua.

use std::sync::atomic::{AtomicUsize, Ordering};

use bevy::asset::{Handle, LoadState};
use bevy::prelude::{Bundle, Entity, Message, Messages, Transform};

use super::app::TestApp;
use crate::run::{ScriptFailed, ToScript};
use crate::script::{LuaScript, LuaScripts};
use crate::value::ScriptValue;

impl TestApp {
    /// Puts a script into the asset folder and loads it.
    ///
    /// # Panics
    ///
    /// If it is not loaded, with what is wrong with it.
    #[track_caller]
    pub fn script(&mut self, path: &str, text: &str) -> Handle<LuaScript> {
        self.file(path, text);
        let handle = self.load(path);
        if let LoadState::Failed(error) = self.server().load_state(&handle) {
            // Further lines are a backtrace of the loader.
            let error = error.to_string();
            panic!("{path} is not loaded: {}", error.lines().next().unwrap_or(&error));
        }
        handle
    }

    /// Spawns an entity with these components, which carries this script.
    ///
    /// # Panics
    ///
    /// If the script is not loaded.
    #[track_caller]
    pub fn spawn(&mut self, components: impl Bundle, path: &str, text: &str) -> Entity {
        let script = self.script(path, text);
        self.app.world_mut().spawn((components, LuaScripts::new(script))).id()
    }

    /// Spawns an entity with a [`Transform`], which carries this script.
    ///
    /// # Panics
    ///
    /// If the script is not loaded.
    #[track_caller]
    pub fn entity(&mut self, path: &str, text: &str) -> Entity {
        self.spawn(Transform::default(), path, text)
    }

    /// Sends a message to the scripts of an entity, which arrives in the next frame.
    pub fn send(&mut self, to: Entity, name: &str, payload: impl Into<ScriptValue>) {
        self.app.world_mut().write_message(ToScript::new(to, name, payload));
    }

    /// Runs Lua once, as the `on_start` of a script on a new entity with these components. Gives the entity, whose
    /// script runs no more, and what went wrong, if anything did.
    ///
    /// # Panics
    ///
    /// If the Lua does not compile.
    #[track_caller]
    pub fn run_on(&mut self, components: impl Bundle, lua: &str) -> (Entity, Option<String>) {
        static SNIPPETS: AtomicUsize = AtomicUsize::new(0);
        let path = format!("snippet{}.luau", SNIPPETS.fetch_add(1, Ordering::Relaxed));
        let text = format!("function on_start(self) {lua}\nend");
        let entity = self.spawn(components, &path, &text);
        self.drain::<ScriptFailed>();
        self.frame();
        if let Some(mut scripts) = self.app.world_mut().get_mut::<LuaScripts>(entity) {
            scripts.enabled = false;
        }
        let failed = self.drain::<ScriptFailed>();
        let failure = failed.iter().find(|failed| failed.entity == entity);
        (entity, failure.map(|failed| failed.failure.to_string()))
    }

    /// Runs Lua once on a new entity with these components, as [`run_on`](Self::run_on).
    ///
    /// # Panics
    ///
    /// If it fails.
    #[track_caller]
    pub fn does(&mut self, components: impl Bundle, lua: &str) -> Entity {
        match self.run_on(components, lua) {
            (entity, None) => entity,
            (_, Some(failure)) => panic!("{failure}\nin: {lua}"),
        }
    }

    /// Runs Lua once on a new entity with these components, as [`run_on`](Self::run_on), and gives the error.
    ///
    /// # Panics
    ///
    /// If it does not fail.
    #[track_caller]
    pub fn refuses(&mut self, components: impl Bundle, lua: &str) -> String {
        match self.run_on(components, lua) {
            (_, Some(failure)) => failure,
            (_, None) => panic!("it did not fail: {lua}{}", self.record.report()),
        }
    }

    /// Takes the messages of a kind that were written and not taken yet, such as
    /// [`ScriptEvent`](crate::ScriptEvent)s.
    ///
    /// # Panics
    ///
    /// If the app has no messages of this kind.
    #[track_caller]
    pub fn drain<M: Message>(&mut self) -> Vec<M> {
        self.app.world_mut().resource_mut::<Messages<M>>().drain().collect()
    }
}
