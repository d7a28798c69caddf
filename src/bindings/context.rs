//! [`ScriptContext`]: the world as the runs of one script on one entity see it.

mod host;

use std::any::TypeId;
use std::cell::Cell;
use std::sync::Arc;

use bevy::ecs::archetype::ArchetypeId;
use bevy::ecs::entity::EntityIndexMap;
use bevy::ecs::observer::Observer;
use bevy::ecs::resource::IsResource;
use bevy::prelude::{AssetServer, ChildOf, Children, Entity, EntityRef, Reflect, Transform, World};
use bevy::reflect::{PartialReflect, ReflectRef, TypeRegistry};
use smallvec::smallvec;

use super::Bindings;
use super::backlog::Backlog;
use super::column::Column;
use super::effects::{
    Change, Checkpoint, Command, Draft, Effects, FieldValue, LeafValue, Mail, ScalarWrite, Spawn,
    new_entity, new_entity_index,
};
use super::exposure::{Exposable, PROPERTIES};
use super::hierarchy::{MAX_LEVELS, Misfit, level_below};
use super::named::NamedScripts;
use super::population::{Population, origin_of};
use super::reflect::{self, ScalarType, Shape};
use super::spots::KnownField;
use crate::config::LuaPoolConfig;
use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::{Field, FieldId, FieldPath, FieldRef, Host, ReadResult};

/// What a host function may do on behalf of the script that called it.
///
/// It sees the world as it was when the stage began, plus what this script wrote since. What it changes
/// is kept back until all runs of the stage are done, and dropped if the run fails.
pub struct ScriptContext<'w> {
    world: &'w World,
    pub(super) bindings: &'w Bindings,
    pub(super) registry: &'w TypeRegistry,
    limits: &'w LuaPoolConfig,
    transforms: &'w Column<'w, Transform>,
    entity: Entity,
    /// The entity from which that one descends, if a script spawned it and its script runs.
    origin: Option<Entity>,
    /// The asset path of the script that runs.
    script: Option<&'w Arc<str>>,
    /// Whether the lines of calls are noted: messages are being refused.
    notes_lines: bool,
    /// The line of the call that goes on, if it is known.
    line: Option<u32>,
    /// The own entity in the world, if it is there and visible.
    own: Option<EntityRef<'w>>,
    /// The component of the own entity that was found last, as it is in the world.
    found: Option<Found<'w>>,
    /// The archetype whose entities were last found to be visible.
    seen: Cell<Option<ArchetypeId>>,
    pub(crate) effects: Effects,
    /// Commands that each run of this unit may queue.
    max_commands: usize,
    /// Whether the current script may write numbers that are not finite.
    pub(super) allow_non_finite: bool,
    /// Bytes that the runs of this unit handed over in messages and components.
    bytes: usize,
    /// Bytes that lists and maps had which these runs wrote back: until the stage is applied, they are there twice.
    copied: usize,
    /// Where the current run began to count its output.
    base: Output,
    /// Where to return to if the current run fails or begins once more.
    start: Option<Checkpoint>,
}

/// A component as it is in the world.
#[derive(Clone, Copy)]
struct Found<'w> {
    /// Its number.
    component: u32,
    value: &'w dyn PartialReflect,
    /// It, if that is what it is.
    transform: Option<&'w Transform>,
}

/// The bytes that all messages which one run sends, and all components, texts and tables in components that it
/// inserts or assigns, may have together.
pub(crate) fn max_bytes_handed_over(limits: &LuaPoolConfig) -> usize {
    limits.max_value_size.saturating_mul(16)
}

#[derive(Clone, Copy, Default)]
struct Output {
    commands: usize,
    messages: usize,
    logs: usize,
    /// Components inserted or removed by this run.
    changes: usize,
    bytes: usize,
    copied: usize,
}

impl<'w> ScriptContext<'w> {
    pub(crate) fn new(
        world: &'w World,
        bindings: &'w Bindings,
        registry: &'w TypeRegistry,
        limits: &'w LuaPoolConfig,
        transforms: &'w Column<'w, Transform>,
    ) -> Self {
        Self {
            world,
            bindings,
            registry,
            limits,
            transforms,
            entity: Entity::PLACEHOLDER,
            origin: None,
            script: None,
            notes_lines: world.get_resource::<Backlog>().is_some_and(|backlog| backlog.refuses),
            line: None,
            own: None,
            found: None,
            seen: Cell::new(None),
            effects: Effects::default(),
            max_commands: 0,
            allow_non_finite: false,
            bytes: 0,
            copied: 0,
            base: Output::default(),
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
        let number = self.bindings.exposure.number_of(TypeId::of::<T>());
        match number.and_then(|number| self.draft(entity, number)) {
            Some(Change::Edited { copy, .. }) => copy.downcast_ref(),
            Some(Change::Inserted(value)) => value.downcast_ref(),
            Some(Change::Removed) => None,
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
        // The world doesn't change during a stage.
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

    // ---- for the frame -------------------------------------------------------------------------

    /// Turns to another entity, which was found in the world if it is there, and each run of whose script may queue
    /// so many commands. What that of the last one wanted was taken.
    #[inline]
    pub(crate) fn turn_to(
        &mut self,
        entity: Entity,
        found: Option<EntityRef<'w>>,
        max_commands: usize,
    ) {
        debug_assert!(self.effects.is_empty(), "effects are lost");
        self.entity = entity;
        self.found = None;
        self.own = found.filter(|entity| self.is_visible(*entity));
        self.max_commands = max_commands;
        self.bytes = 0;
        self.copied = 0;
        self.base = Output::default();
        self.start = None;
    }

    /// The entity descends from this one, whether it still lives or not.
    #[inline]
    pub(crate) fn set_origin(&mut self, origin: Option<Entity>) {
        self.origin = origin;
    }

    /// The runs that follow are of this script.
    #[inline]
    pub(crate) fn set_script(&mut self, script: &'w Arc<str>) {
        self.script = Some(script);
    }

    /// Before each run.
    fn begin_run(&mut self) {
        self.base = Output {
            commands: self.effects.commands.len() + self.effects.spawned.len(),
            messages: self.effects.messages.len() + self.effects.emitted.len(),
            logs: self.effects.logs.len(),
            changes: 0,
            bytes: self.bytes,
            copied: self.copied,
        };
        // Where there is nothing yet, there is nothing to note.
        self.start = if self.effects.is_empty() { None } else { Some(self.checkpoint()) };
    }

    /// Takes back all that the current run asked for. Log lines stay: they tell of the failure.
    pub(crate) fn roll_back(&mut self) {
        self.effects.roll_back(self.start.take().unwrap_or_default());
    }

    /// Notes where the effects stand.
    fn checkpoint(&self) -> Checkpoint {
        self.effects.checkpoint(|component, value| {
            self.bindings
                .exposure
                .get(component)
                .duplicate(value, self.registry)
                .expect("a value that can't be copied doesn't become a draft")
        })
    }

    // ---- for the built-in functions --------------------------------------------------------------

    /// Spawns an entity with scripts of these names: one command, whatever it comes with.
    pub(super) fn spawn(
        &mut self,
        parent: Option<Entity>,
        scripts: Vec<String>,
    ) -> Result<Entity, ScriptError> {
        self.count_command()?;
        if let Some(population) = self.world.get_resource::<Population>() {
            let origin = origin_of(self.world, self.entity).or(self.origin).unwrap_or(self.entity);
            if !population.has_room(origin, self.effects.spawned.len() + 1) {
                return Err(ScriptError::Host { message: Population::refusal() });
            }
        }
        let level = match parent {
            Some(parent) => self.level_below(parent, None)?,
            None => 0,
        };
        let unknown = self.count_unknown(&scripts)?;
        self.effects.spawned.push(Spawn { parent, level, scripts, unknown });
        Ok(new_entity(self.effects.spawned.len() - 1))
    }

    /// The level of a child of an entity, as this script sees the hierarchy.
    fn level_below(&self, parent: Entity, child: Option<Entity>) -> Result<usize, ScriptError> {
        let misfit = |misfit: Misfit| ScriptError::Host { message: misfit.to_string() };
        let moved =
            self.bindings.exposure.child_of().filter(|number| {
                self.effects.drafts.iter().any(|draft| draft.component == *number)
            });
        // What this unit spawned is known by its level, unless it moved anything.
        if moved.is_none()
            && let Some(index) = new_entity_index(parent)
            && let Some(spawn) = self.effects.spawned.get(index)
        {
            let level = spawn.level + 1;
            return if level > MAX_LEVELS { Err(misfit(Misfit::TooDeep)) } else { Ok(level) };
        }
        level_below(parent, child, |entity| self.parent(entity)).map_err(misfit)
    }

    /// The parent of an entity, as this script sees it.
    fn parent(&self, entity: Entity) -> Option<Entity> {
        let moved = self.bindings.exposure.child_of().and_then(|number| self.draft(entity, number));
        match (moved, new_entity_index(entity)) {
            (Some(change), _) => change.parent(),
            (None, Some(index)) => self.effects.spawned.get(index)?.parent,
            (None, None) => self.world.get::<ChildOf>(entity).map(ChildOf::parent),
        }
    }

    /// The children of an entity, as this script sees them: those that it had, that were spawned as such, and that
    /// were moved here.
    fn children(&self, entity: Entity) -> Vec<Entity> {
        let child_of = self.bindings.exposure.child_of();
        let moved: EntityIndexMap<_> = (self.effects.drafts.iter())
            .filter(|draft| Some(draft.component) == child_of)
            .map(|draft| (draft.entity, draft.change.parent()))
            .collect();
        let present = self.world.get::<Children>(entity).into_iter().flatten().copied();
        let spawned = (0..)
            .zip(&self.effects.spawned)
            .filter(|(_, spawn)| spawn.parent == Some(entity))
            .map(|(index, _)| new_entity(index));
        let mut children: Vec<_> = present.chain(spawned).collect();
        if !moved.is_empty() {
            children.retain(|child| !moved.contains_key(child));
            let here = moved.iter().filter(|(_, parent)| **parent == Some(entity));
            children.extend(here.map(|(child, _)| *child));
        }
        children.retain(|child| !self.despawned(*child));
        children
    }

    /// How many names of scripts these are that nobody has asked for lately.
    fn count_unknown(&self, scripts: &[String]) -> Result<usize, ScriptError> {
        let (Some(named), Some(assets), Some(script)) = (
            self.world.get_resource::<NamedScripts>(),
            self.world.get_resource::<AssetServer>(),
            self.script,
        ) else {
            return Ok(0);
        };
        // Only these spawns asked for a name first.
        let first = || self.effects.spawned.iter().filter(|spawn| spawn.unknown > 0);
        let is_unknown = |(index, name): &(usize, &String)| {
            !named.is_known(name, assets)
                && !scripts[..*index].contains(name)
                && !first().any(|spawn| spawn.scripts.contains(name))
        };
        let unknown = scripts.iter().enumerate().filter(is_unknown).count();
        if unknown > 0 {
            let before: usize = first().map(|spawn| spawn.unknown).sum();
            if !named.has_room(script, before + unknown) {
                return Err(ScriptError::Host { message: NamedScripts::refusal() });
            }
        }
        Ok(unknown)
    }

    pub(super) fn despawn(&mut self, entity: Entity) -> Result<(), ScriptError> {
        self.must_exist(entity)?;
        self.count_command()?;
        self.effects.commands.push(Command::Despawn(entity));
        Ok(())
    }

    pub(super) fn must_exist(&self, entity: Entity) -> Result<(), ScriptError> {
        if self.exists(entity) { Ok(()) } else { Err(ScriptError::NoEntity { entity }) }
    }

    fn despawned(&self, entity: Entity) -> bool {
        self.effects
            .commands
            .iter()
            .any(|command| matches!(command, Command::Despawn(gone) if *gone == entity))
    }

    /// Whether the runs so far despawned the entity for which they run.
    pub(crate) fn has_despawned_own(&self) -> bool {
        !self.effects.commands.is_empty() && self.despawned(self.entity)
    }

    fn count_command(&mut self) -> Result<(), ScriptError> {
        let effects = &self.effects;
        let made = effects.commands.len() + effects.spawned.len() - self.base.commands;
        let limit = self.max_commands;
        if made + self.base.changes < limit {
            return Ok(());
        }
        Err(ScriptError::TooMuch { what: "commands", limit, setting: "max_commands" })
    }

    fn count_message(&mut self, name: &str, payload: &ScriptValue) -> Result<(), ScriptError> {
        let effects = &self.effects;
        let made = effects.messages.len() + effects.emitted.len() - self.base.messages;
        let limit = self.limits.max_messages;
        if made >= limit {
            return Err(ScriptError::TooMuch { what: "messages", limit, setting: "max_messages" });
        }
        self.count_bytes("bytes in messages", name.len() + payload.size())
    }

    /// Counts what the run hands over.
    fn count_bytes(&mut self, what: &'static str, bytes: usize) -> Result<(), ScriptError> {
        self.bytes += bytes;
        let limit = max_bytes_handed_over(self.limits);
        if self.bytes - self.base.bytes > limit {
            return Err(ScriptError::TooMuch { what, limit, setting: "max_value_size" });
        }
        Ok(())
    }

    /// Counts what a script writes to a field, if that can be large: as far as it is larger than what it wrote
    /// there before.
    fn count_written(&mut self, place: FieldRef, value: &ScriptValue) -> Result<(), ScriptError> {
        if !matches!(value, ScriptValue::String(_) | ScriptValue::Bytes(_) | ScriptValue::Table(_))
        {
            return Ok(());
        }
        let before = self.written_leaf(place).map_or(0, |leaf| leaf.value.size());
        self.count_bytes("bytes in components", value.size().saturating_sub(before))
    }

    /// Counts a list or map that a script changed in place: as far as it is larger than it was `before`. The first
    /// time, what was there before counts as well, but only in the stage: a long list can be changed.
    fn count_replaced(
        &mut self,
        place: FieldRef,
        size: usize,
        before: usize,
    ) -> Result<(), ScriptError> {
        let is_copied = self.draft_index(place.entity, place.component).is_some()
            || self.written_leaf(place).is_some();
        if !is_copied {
            self.copied += before;
        }
        match size.saturating_sub(before) {
            0 => Ok(()),
            grown => self.count_bytes("bytes in components", grown),
        }
    }

    /// What was written to the leaf at a place.
    fn written_leaf(&self, place: FieldRef) -> Option<&ScalarWrite> {
        let spot = self.bindings.exposure.spots.at(place.component, place.path)?;
        self.effects.leaves.iter().find(|leaf| leaf.entity == place.entity && leaf.spot == spot)
    }

    /// Whether the runs so far have asked for so many times what one run may.
    pub(crate) fn is_replete(&self, times: usize) -> bool {
        let Effects { commands, spawned, drafts, messages, emitted, logs, .. } = &self.effects;
        let limits = self.limits;
        commands.len() + spawned.len() + drafts.len() >= times.saturating_mul(self.max_commands)
            || messages.len() + emitted.len() >= times.saturating_mul(limits.max_messages)
            || logs.len() >= times.saturating_mul(limits.max_log_lines)
            || self.bytes >= max_bytes_handed_over(limits)
    }

    /// Bytes of messages, components and log lines so far.
    #[inline]
    pub(crate) fn bytes_handed_over(&self) -> usize {
        self.bytes
            + self.copied
            + self.effects.logs.iter().map(|line| line.text.len()).sum::<usize>()
    }

    fn draft_index(&self, entity: Entity, component: u32) -> Option<usize> {
        let drafts = &self.effects.drafts;
        drafts.iter().position(|draft| draft.entity == entity && draft.component == component)
    }

    fn draft(&self, entity: Entity, component: u32) -> Option<&Change> {
        self.draft_index(entity, component).map(|index| &self.effects.drafts[index].change)
    }

    /// Shows a component as this script sees it; `None` if the entity has none. Leaves that the script
    /// wrote may have their old values still: good for a look at how it is made.
    pub(super) fn look<R>(
        &self,
        entity: Entity,
        component: u32,
        look: impl FnOnce(&dyn PartialReflect) -> R,
    ) -> Option<R> {
        match self.draft(entity, component) {
            Some(Change::Edited { copy, .. }) => Some(look(copy.as_partial_reflect())),
            Some(Change::Inserted(value)) => Some(look(value.as_partial_reflect())),
            Some(Change::Removed) => None,
            None => self.bindings.exposure.get(component).look(self.world, entity, look),
        }
    }

    /// Shows the value at a place, up to date.
    fn look_at<R>(
        &mut self,
        place: FieldRef,
        look: impl FnOnce(&dyn PartialReflect) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        if !self.effects.leaves.is_empty() {
            self.must_exist(place.entity)?;
            let written = |leaf: &&ScalarWrite| {
                self.is_of(leaf, place.entity, place.component)
                    && place.path.contains(&self.path_of(leaf))
            };
            if let Some(leaf) = self.effects.leaves.iter().find(written) {
                if self.path_of(leaf) == place.path {
                    return look(leaf.value.as_partial_reflect());
                }
                self.open_draft(place)?;
            }
        }
        self.look_at_make(place, look)
    }

    /// As `look_at`, but leaves that the script wrote may have their old values still.
    fn look_at_make<R>(
        &self,
        place: FieldRef,
        look: impl FnOnce(&dyn PartialReflect) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        self.must_exist(place.entity)?;
        self.look(place.entity, place.component, |component| {
            look(reflect::at(component, place.path.steps()).ok_or_else(|| self.lost(place))?)
        })
        .unwrap_or_else(|| Err(self.lost(place)))
    }

    fn lost(&self, place: FieldRef) -> ScriptError {
        ScriptError::NoComponent {
            entity: place.entity,
            component: self.bindings.exposure.get(place.component).name.to_owned(),
        }
    }

    /// Writes the value at a place into a copy of the component.
    fn edit(&mut self, place: FieldRef, value: ScriptValue) -> Result<(), ScriptError> {
        self.must_exist(place.entity)?;
        let exposed = self.bindings.exposure.get(place.component);
        if exposed.read_only {
            return Err(ScriptError::ReadOnly { name: exposed.name.to_owned() });
        }
        if let Some(error) = self.not_finite(place, &value) {
            return Err(error);
        }
        let index = match self.draft_index(place.entity, place.component) {
            Some(index) => index,
            None => {
                if self.edit_leaf(place, &value) {
                    return Ok(());
                }
                if let Some((spot, copy)) = self.copy_field(place) {
                    return self.edit_field(place, spot, copy, value);
                }
                self.open_draft(place)?
            }
        };
        let name =
            self.name_for(place, matches!(value, ScriptValue::Table(_) | ScriptValue::String(_)));
        let registry = self.registry;
        let (copy, paths) = match &mut self.effects.drafts[index].change {
            Change::Edited { copy, paths } => (copy, Some(paths)),
            Change::Inserted(value) => (value, None),
            Change::Removed => return Err(self.lost(place)),
        };
        // A leaf is written as a whole or not at all; a table may be found wrong halfway.
        let before = matches!(value, ScriptValue::Table(_))
            .then(|| exposed.duplicate(copy.as_partial_reflect(), registry))
            .transpose()?;
        let Some(target) = reflect::at_mut(copy.as_partial_reflect_mut(), place.path.steps())
        else {
            return Err(self.lost(place));
        };
        if let Err(error) = reflect::write(target, value, &name, registry) {
            if let Some(before) = before {
                *copy = before;
            }
            return Err(self.named(place, error));
        }
        if let Some(paths) = paths
            && !paths.iter().any(|path| path.contains(&place.path))
        {
            paths.retain(|path| !place.path.contains(path));
            paths.push(place.path);
        }
        Ok(())
    }

    /// Writes a small leaf of a component that has no draft; gives whether it is one and takes the value.
    fn edit_leaf(&mut self, place: FieldRef, value: &ScriptValue) -> bool {
        let FieldRef { entity, component, path } = place;
        let Some(spot) = self.bindings.exposure.spots.at(component, path) else { return false };
        let mut leaves = self.effects.leaves.iter_mut();
        if let Some(leaf) = leaves.find(|leaf| leaf.entity == entity && leaf.spot == spot) {
            return match &mut leaf.value {
                LeafValue::Small(leaf) => leaf.set(value),
                LeafValue::Field(_) => false,
            };
        }
        let made = self.look(entity, component, |component| {
            ScalarType::new(reflect::at(component, path.steps())?, value)
        });
        let Some(Some(value)) = made else { return false };
        let value = LeafValue::Small(value);
        self.effects.leaves.push(ScalarWrite { entity, spot, value });
        true
    }

    /// A copy of the field at a place, if it is always there, is written as a whole, and can be copied.
    fn copy_field(&self, place: FieldRef) -> Option<(FieldId, Box<dyn PartialReflect>)> {
        let FieldRef { entity, component, path } = place;
        let spots = &self.bindings.exposure.spots;
        let spot = spots.at(component, path)?;
        // What is written may name entities that were spawned, for which the whole has to be looked through.
        if path.steps().is_empty() || spots.has_fields(spot) || !self.effects.spawned.is_empty() {
            return None;
        }
        let written = |leaf: &&ScalarWrite| leaf.entity == entity && leaf.spot == spot;
        let copy =
            |value: &dyn PartialReflect| Some(value.reflect_clone().ok()?.into_partial_reflect());
        let copy = match self.effects.leaves.iter().find(written) {
            Some(leaf) => copy(leaf.value.as_partial_reflect()),
            None => self
                .look(entity, component, |component| copy(reflect::at(component, path.steps())?))?,
        };
        Some((spot, copy?))
    }

    /// Writes a value into a copy of a field, and keeps that.
    fn edit_field(
        &mut self,
        place: FieldRef,
        spot: FieldId,
        mut copy: Box<dyn PartialReflect>,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        let text = matches!(value, ScriptValue::String(_));
        let enumeration = matches!(copy.reflect_ref(), ReflectRef::Enum(_));
        let name =
            self.name_for(place, matches!(value, ScriptValue::Table(_)) || text && enumeration);
        let size = value.size();
        reflect::write(copy.as_mut(), value, &name, self.registry)
            .map_err(|error| self.named(place, error))?;
        let FieldRef { entity, .. } = place;
        let value = LeafValue::Field(Box::new(FieldValue { value: copy, size }));
        let leaves = &mut self.effects.leaves;
        match leaves.iter_mut().find(|leaf| leaf.entity == entity && leaf.spot == spot) {
            Some(leaf) => leaf.value = value,
            None => leaves.push(ScalarWrite { entity, spot, value }),
        }
        Ok(())
    }

    /// The name of a place if it is needed: it costs an allocation, and comes up in errors alone.
    fn name_for(&self, place: FieldRef, needed: bool) -> String {
        if needed { self.name(place) } else { String::new() }
    }

    /// Names the place in an error that doesn't.
    fn named(&self, place: FieldRef, error: ScriptError) -> ScriptError {
        match error {
            ScriptError::WrongType { place: at, expected, got } if at.is_empty() => {
                ScriptError::WrongType { place: self.name(place), expected, got }
            }
            error => error,
        }
    }

    /// A component of the own entity as it is in the world, which doesn't change during a stage.
    #[inline]
    fn find_own(&mut self, component: u32) -> Option<Found<'w>> {
        match self.found {
            Some(found) if found.component == component => Some(found),
            _ => {
                let exposure = &self.bindings.exposure;
                let own = self.own?;
                let found = if exposure.spots.is_transform(component) {
                    let transform = self.transforms.get(own.location())?;
                    Found { component, value: transform, transform: Some(transform) }
                } else {
                    let value = exposure.get(component).find(own)?;
                    Found { component, value, transform: None }
                };
                self.found = Some(found);
                Some(found)
            }
        }
    }

    fn is_of(&self, leaf: &ScalarWrite, entity: Entity, component: u32) -> bool {
        leaf.entity == entity && self.bindings.exposure.spots.get(leaf.spot).component == component
    }

    fn path_of(&self, leaf: &ScalarWrite) -> FieldPath {
        self.bindings.exposure.spots.get(leaf.spot).path
    }

    /// Makes a draft of the component at a place, with the leaves that were written; gives its number.
    fn open_draft(&mut self, place: FieldRef) -> Result<usize, ScriptError> {
        let FieldRef { entity, component, .. } = place;
        let exposed = self.bindings.exposure.get(component);
        let mut copy =
            exposed.copy(self.world, entity, self.registry).ok_or_else(|| self.lost(place))??;
        let mut paths = smallvec![];
        self.effects.leaves.retain(|leaf| {
            let spot = self.bindings.exposure.spots.get(leaf.spot);
            let belongs = leaf.entity == entity && spot.component == component;
            if belongs {
                let path = spot.path;
                let target = reflect::at_mut(copy.as_partial_reflect_mut(), path.steps());
                let written = target.and_then(|target| leaf.value.write_to(target));
                debug_assert!(written.is_some(), "a leaf is where it was found");
                paths.push(path);
            }
            !belongs
        });
        let change = Change::Edited { copy, paths };
        self.effects.drafts.push(Draft { entity, component, change });
        Ok(self.effects.drafts.len() - 1)
    }

    /// Makes drafts of all components of which leaves were written.
    pub(super) fn open_drafts(&mut self) {
        for leaf in self.effects.leaves.clone() {
            let KnownField { component, path, .. } = *self.bindings.exposure.spots.get(leaf.spot);
            if self.draft_index(leaf.entity, component).is_none() {
                // If it can't be copied, nobody but scripts can see what they wrote.
                let _ = self.open_draft(FieldRef { entity: leaf.entity, component, path });
            }
        }
    }

    /// Replaces or inserts a component.
    fn assign(
        &mut self,
        entity: Entity,
        component: u32,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        let exposed = self.bindings.exposure.get(component);
        if exposed.fixed {
            return Err(ScriptError::ReadOnly { name: exposed.name.to_owned() });
        }
        let present = self.look(entity, component, |_| ()).is_some();
        if present && !exposed.read_only {
            return self.edit(FieldRef { entity, component, path: FieldPath::default() }, value);
        }
        let not_finite = self.not_finite_in(exposed.name, &value);
        let made = reflect::construct(exposed.info, value, exposed.name, self.registry)?;
        if let Some(error) = not_finite {
            return Err(error);
        }
        let value = self.make_concrete(made, component)?;
        // What can't be copied could not be taken back if a later run fails.
        exposed.duplicate(value.as_partial_reflect(), self.registry)?;
        self.put(entity, component, Change::Inserted(value))
    }

    fn make_concrete(
        &self,
        made: Box<dyn PartialReflect>,
        component: u32,
    ) -> Result<Box<dyn Reflect>, ScriptError> {
        let exposed = self.bindings.exposure.get(component);
        let made = match made.try_into_reflect() {
            Ok(made) => exposed.can_be_inserted(self.registry).then_some(made),
            Err(made) => reflect::duplicate(made.as_ref(), self.registry),
        };
        made.ok_or_else(|| ScriptError::Host {
            message: format!(
                "`{}` can't be made by reflection; let it derive `FromReflect`, or give it \
                 `#[reflect(Default)]`",
                exposed.name
            ),
        })
    }

    fn put(&mut self, entity: Entity, component: u32, change: Change) -> Result<(), ScriptError> {
        if let Change::Inserted(value) = &change
            && self.bindings.exposure.child_of() == Some(component)
            && let Some(parent) = parent_named_by(value.as_ref())
        {
            let name = self.bindings.exposure.get(component).name;
            let refused = |why: String| ScriptError::Host { message: format!("`{name}`: {why}") };
            if !self.exists(parent) {
                let why =
                    format!("entity {parent} does not exist (any more), so it has no children");
                return Err(refused(why));
            }
            self.level_below(parent, Some(entity)).map_err(|error| refused(error.to_string()))?;
        }
        // What a new entity gets belongs to its spawn.
        if new_entity_index(entity).is_none() {
            self.count_command()?;
            self.base.changes += 1;
        }
        let spots = &self.bindings.exposure.spots;
        self.effects
            .leaves
            .retain(|leaf| leaf.entity != entity || spots.get(leaf.spot).component != component);
        match self.draft_index(entity, component) {
            Some(index) => self.effects.drafts[index].change = change,
            None => self.effects.drafts.push(Draft { entity, component, change }),
        }
        Ok(())
    }

    fn property(&self, entity: Entity, name: &str) -> ScriptValue {
        match name {
            "parent" => self.parent(entity).map_or(ScriptValue::Nil, Into::into),
            "children" => {
                let mut list = ScriptTable::default();
                self.children(entity).into_iter().for_each(|child| list.push(child));
                list.into()
            }
            _ => entity.into(),
        }
    }

    fn reading(value: &dyn PartialReflect, place: FieldRef) -> Result<ReadResult, ScriptError> {
        Ok(match reflect::shape(value)? {
            Shape::Scalar(value) => ReadResult::Value(value),
            Shape::Fields => ReadResult::FieldRef(place),
            Shape::Table(table) => ReadResult::Table(table, place),
        })
    }

    /// The place of a field within a place.
    fn within(&self, place: FieldRef, field: Field<'_>) -> Result<FieldRef, ScriptError> {
        let step = self.look_at_make(place, |value| {
            // Names cost an allocation and are only needed in errors.
            reflect::step(value, field, "")
                .or_else(|_| reflect::step(value, field, &self.name(place)))
        })?;
        let path = place.path.then(step).ok_or_else(|| ScriptError::Host {
            message: format!("`{}` is nested too deeply", self.name(place)),
        })?;
        Ok(FieldRef { path, ..place })
    }
}

impl Change {
    /// The parent that an entity has after a change of its [`ChildOf`].
    fn parent(&self) -> Option<Entity> {
        match self {
            Self::Edited { copy, .. } => parent_named_by(copy.as_ref()),
            Self::Inserted(value) => parent_named_by(value.as_ref()),
            Self::Removed => None,
        }
    }
}

/// The parent that a [`ChildOf`] names.
fn parent_named_by(value: &dyn Reflect) -> Option<Entity> {
    value.downcast_ref().map(ChildOf::parent)
}
