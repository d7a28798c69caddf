//! [`ScriptContext`]: the world as the runs of one script on one entity see it.

mod edited_copies;
mod finite;
mod host;
mod insert;
mod limits;
mod read;
mod relations;
mod run;
mod spawn;
mod write;

use self::edited_copies::EditedCopies;
pub(crate) use self::limits::max_bytes_handed_over;

use std::any::TypeId;
use std::cell::Cell;
use std::sync::Arc;

use bevy::ecs::archetype::ArchetypeId;
use bevy::ecs::observer::Observer;
use bevy::ecs::resource::IsResource;
use bevy::prelude::{Entity, EntityRef, World};
use bevy::reflect::TypeRegistry;

use super::backlog::Backlog;
use super::component::FoundComponent;
use super::component_type::Exposable;
use super::effects::{Checkpoint, Command, Effects, Mail, new_entity_index};
use super::exposure::Exposure;
use super::stage_columns::StageColumns;
use crate::config::LuaPoolConfig;
use crate::error::ScriptError;
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::{Live, RunRandom};

/// The functions and live values that the app has registered, by number. [`ScriptContext`] gets them handed in.
pub(crate) trait HostApi: Sync {
    /// Calls a host function.
    fn call(
        &self,
        function: u32,
        context: &mut ScriptContext<'_>,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
    ) -> Result<ScriptValues, ScriptError>;

    /// Reads a live value, as [`Host::live`](crate::vm::Host::live) does.
    fn live(
        &self,
        namespace: u32,
        context: &ScriptContext<'_>,
        path: &[&str],
    ) -> Result<Live, ScriptError>;

    /// The names below a path of a namespace.
    fn live_names(&self, namespace: u32, path: &[&str]) -> Result<Vec<String>, ScriptError>;
}

/// What a host function may do on behalf of the script that called it.
///
/// It sees the world as it was when the stage began, plus what this script wrote since. What it changes
/// is kept back until all runs of the stage are done, and dropped if the run fails.
pub struct ScriptContext<'w> {
    world: &'w World,
    pub(super) exposure: &'w Exposure,
    api: &'w dyn HostApi,
    registry: &'w TypeRegistry,
    limits: &'w LuaPoolConfig,
    columns: &'w StageColumns<'w>,
    entity: Entity,
    /// The entity from which `entity` descends, if a script spawned it.
    origin: Option<Entity>,
    /// The asset path of the script that runs.
    script: Option<&'w Arc<str>>,
    /// Whether to record the line of each call, because messages are being refused.
    notes_lines: bool,
    /// The line of the current call, if it was recorded.
    line: Option<u32>,
    /// `entity` in the world, if it exists and scripts may see it.
    own: Option<EntityRef<'w>>,
    /// The component of `entity` that was looked up last, with its number.
    found: Option<(u32, FoundComponent<'w>)>,
    /// The last archetype whose entities scripts may see.
    seen: Cell<Option<ArchetypeId>>,
    pub(crate) effects: Effects,
    /// Copies of components with the script's writes, for host functions and reads of whole values.
    copies: EditedCopies,
    /// The most commands that one run may queue.
    max_commands: usize,
    /// Whether the current script may write numbers that are not finite.
    allow_non_finite: bool,
    /// Bytes that the invocation's runs put in messages and components.
    bytes: usize,
    /// Bytes of lists and maps that the runs copied in order to change them. Until the stage is applied, both copies
    /// exist.
    copied: usize,
    /// The counts when the current run began.
    base: OutputCounts,
    /// The effects when the current run began, to return to if it fails or is restarted; `None` if there were none.
    start: Option<Checkpoint>,
}

#[derive(Clone, Copy, Default)]
struct OutputCounts {
    commands: usize,
    messages: usize,
    logs: usize,
    /// Components inserted or removed by the current run.
    changes: usize,
    bytes: usize,
    copied: usize,
}

impl<'w> ScriptContext<'w> {
    pub(crate) fn new(
        world: &'w World,
        (exposure, api): (&'w Exposure, &'w dyn HostApi),
        registry: &'w TypeRegistry,
        limits: &'w LuaPoolConfig,
        columns: &'w StageColumns<'w>,
    ) -> Self {
        Self {
            world,
            exposure,
            api,
            registry,
            limits,
            columns,
            entity: Entity::PLACEHOLDER,
            origin: None,
            script: None,
            notes_lines: world.get_resource::<Backlog>().is_some_and(|backlog| backlog.refuses),
            line: None,
            own: None,
            found: None,
            seen: Cell::new(None),
            effects: Effects::default(),
            copies: EditedCopies::default(),
            max_commands: 0,
            allow_non_finite: false,
            bytes: 0,
            copied: 0,
            base: OutputCounts::default(),
            start: None,
        }
    }

    /// The entity that the script runs for.
    #[must_use]
    pub fn entity(&self) -> Entity {
        self.entity
    }

    /// The world as it was when the stage began.
    #[must_use]
    pub fn world(&self) -> &'w World {
        self.world
    }

    /// Reads an exposed component: as the script wrote it, or else as it is in the world.
    #[must_use]
    pub fn get<T: Exposable>(&self, entity: Entity) -> Option<&T> {
        let Some(number) = self.exposure.number_of(TypeId::of::<T>()) else {
            return self.world.get(entity);
        };
        match self.written_component(entity, number) {
            Some(written) => written.value()?.try_downcast_ref(),
            None if self.writes_fields_of(entity, number) => {
                match self.edited_copy(entity, number) {
                    Ok(copy) => copy.downcast_ref(),
                    // It can't be copied, so host functions see it without the script's writes.
                    Err(_) => self.world.get(entity),
                }
            }
            None => self.world.get(entity),
        }
    }

    /// Changes the world when the stage is applied, after the components that the script wrote.
    ///
    /// # Errors
    /// [`ScriptError::TooMuch`] if the run asked for more than `max_commands`.
    pub fn queue(
        &mut self,
        command: impl FnOnce(&mut World) + Send + Sync + 'static,
    ) -> Result<(), ScriptError> {
        self.count_command()?;
        self.effects.commands.push(Command::Host(Box::new(command)));
        Ok(())
    }

    /// Sends a message to the scripts of an entity; they get it in the next frame.
    ///
    /// # Errors
    /// [`ScriptError::TooMuch`] if the run sent more than `max_messages`. [`ScriptError::Host`] if too many
    /// messages of this entity wait for that one, because its scripts are paused or not loaded.
    pub fn send(
        &mut self,
        to: Entity,
        name: impl Into<String>,
        payload: impl Into<ScriptValue>,
    ) -> Result<(), ScriptError> {
        let (name, payload, sender) = (name.into(), payload.into(), Some(self.entity));
        if let Some(backlog) = self.world.get_resource::<Backlog>() {
            backlog.check(self.entity, to)?;
        }
        self.count_message(&name, &payload)?;
        let line = self.line.take();
        self.effects.messages.push(Mail { to, name, payload, sender, line });
        Ok(())
    }

    /// Sends a message to the game: a [`ScriptEvent`](crate::ScriptEvent) for its `MessageReader`s.
    ///
    /// # Errors
    /// [`ScriptError::TooMuch`] if the run sent more than `max_messages`.
    pub fn emit(
        &mut self,
        name: impl Into<String>,
        payload: impl Into<ScriptValue>,
    ) -> Result<(), ScriptError> {
        let (name, payload) = (name.into(), payload.into());
        self.count_message(&name, &payload)?;
        self.effects.emitted.push((name, payload));
        Ok(())
    }

    /// Whether scripts may see this entity: it exists, and is no resource and no observer.
    #[must_use]
    pub fn exists(&self, entity: Entity) -> bool {
        if self.despawned(entity) {
            return false;
        }
        if let Some(index) = new_entity_index(entity) {
            return index < self.effects.spawned.len();
        }
        // Looked up when the invocation began; the world doesn't change during a stage.
        if entity == self.entity {
            return self.own.is_some();
        }
        self.world.get_entity(entity).is_ok_and(|entity| self.is_visible(entity))
    }

    #[inline]
    fn is_visible(&self, entity: EntityRef<'_>) -> bool {
        let archetype = entity.archetype().id();
        if self.seen.get() == Some(archetype) {
            return true;
        }
        let visible = !entity.contains::<IsResource>() && !entity.contains::<Observer>();
        if visible {
            self.seen.set(Some(archetype));
        }
        visible
    }

    pub(super) fn must_exist(&self, entity: Entity) -> Result<(), ScriptError> {
        if self.exists(entity) { Ok(()) } else { Err(ScriptError::NoEntity { entity }) }
    }

    /// Whether the invocation has spawned any entity so far.
    pub(super) fn has_spawned(&self) -> bool {
        !self.effects.spawned.is_empty()
    }
}
