//! Spawning and despawning.

use bevy::prelude::{AssetServer, Entity};

use super::ScriptContext;
use crate::bindings::effects::{Command, Spawn, new_entity};
use crate::bindings::named_scripts::NamedScripts;
use crate::bindings::population::{Population, origin_of};
use crate::error::ScriptError;

impl ScriptContext<'_> {
    /// Spawns an entity with scripts of these names. Counts as one command, whatever components it gets.
    pub(in crate::bindings) fn spawn(
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

    /// How many of these script names nobody has asked for lately.
    ///
    /// # Errors
    /// If the script has asked for too many such names.
    pub(super) fn count_unknown(&self, scripts: &[String]) -> Result<usize, ScriptError> {
        let (Some(named), Some(assets), Some(script)) = (
            self.world.get_resource::<NamedScripts>(),
            self.world.get_resource::<AssetServer>(),
            self.script,
        ) else {
            return Ok(0);
        };
        // The spawns of this invocation that asked for a new name.
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

    pub(in crate::bindings) fn despawn(&mut self, entity: Entity) -> Result<(), ScriptError> {
        self.must_exist(entity)?;
        self.count_command()?;
        self.effects.commands.push(Command::Despawn(entity));
        Ok(())
    }

    pub(super) fn despawned(&self, entity: Entity) -> bool {
        self.effects
            .commands
            .iter()
            .any(|command| matches!(command, Command::Despawn(gone) if *gone == entity))
    }

    /// Whether the invocation has despawned its own entity.
    pub(crate) fn has_despawned_own(&self) -> bool {
        !self.effects.commands.is_empty() && self.despawned(self.entity)
    }
}
