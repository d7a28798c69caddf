//! Spawns entities on behalf of scripts.
//!
//! First all of a stage get their places in the world, in the stable order. What they are given runs code of the
//! game (hooks and observers), and comes later with the other effects of the invocation.

use std::sync::Arc;

use bevy::prelude::{AssetServer, ChildOf, Entity, World};

use crate::bindings::{
    Misfit, NamedScripts, Population, Spawn, SpawnedByScript, level_below, origin_of, parent_in,
};
use crate::run::apply::new_entities::{resolve, resolve_all};
use crate::run::apply::stage::ApplyingStage;
use crate::run::invocation::Invocation;
use crate::run::outcome::{InvocationOutcome, OutcomeExtras};
use crate::run::report::Report;
use crate::script::{LuaScripts, ScriptStates};

/// The script whose invocation asks for something.
#[derive(Clone, Copy)]
pub(super) struct Spawner<'s> {
    pub(super) entity: Entity,
    pub(super) script: &'s Arc<str>,
}

impl ApplyingStage<'_> {
    /// Gives the entities that an invocation spawned their places in the world.
    pub(super) fn allocate_spawned(
        &mut self,
        world: &mut World,
        invocation: &Invocation,
        outcome: &mut InvocationOutcome,
    ) {
        let Some(more) = outcome.more.as_mut().filter(|more| !more.effects.spawned.is_empty())
        else {
            return;
        };
        // Looked up now: commands of this stage may despawn the invocation's entity.
        let origin =
            origin_of(world, invocation.entity).or_else(|| self.shares.origin_of(invocation));
        let origin = origin.unwrap_or(invocation.entity);
        more.origin = Some(origin);
        for _ in &more.effects.spawned {
            // Without room, since others of this stage came first, it exists only until that is reported.
            let id = if world.resource::<Population>().has_room(origin, 1) {
                more.admitted += 1;
                world.spawn(SpawnedByScript { origin }).id()
            } else {
                world.spawn_empty().id()
            };
            more.new.push(id);
        }
        self.report.frame.spawned += more.admitted as u64;
        resolve_all(&mut outcome.state, more);
    }
}

/// Gives the entities that an invocation spawned their parents and scripts. Despawns those that can't stay: if there
/// is no room for them, if their parent lies too deep by now, or if they name too many scripts that nobody knows.
pub(super) fn equip_spawned(
    world: &mut World,
    spawner: Spawner<'_>,
    OutcomeExtras { effects, origin, new, admitted, .. }: &mut OutcomeExtras,
    report: &mut Report,
) {
    let origin = origin.unwrap_or(spawner.entity);
    let mut named = std::mem::take(&mut *world.resource_mut::<NamedScripts>());
    for (index, (spawn, entity)) in effects.spawned.drain(..).zip(&*new).enumerate() {
        let stays = if index < *admitted {
            equip(world, spawner, (&spawn, *entity, origin), new, &mut named, report)
        } else {
            report.log_refusal((spawner.script, None), spawner.entity, &Population::refusal());
            false
        };
        if !stays {
            world.despawn(*entity);
        }
    }
    *world.resource_mut() = named;
}

/// Gives an entity its parent and scripts; gives whether it may stay.
fn equip(
    world: &mut World,
    spawner: Spawner<'_>,
    (spawn, entity, origin): (&Spawn, Entity, Entity),
    new: &[Entity],
    named: &mut NamedScripts,
    report: &mut Report,
) -> bool {
    let frame = report.frames;
    let scripts: Option<Vec<_>> = match world.get_resource::<AssetServer>() {
        Some(assets) => {
            let names = spawn.scripts.iter();
            names.map(|name| named.load(name, spawner.script, frame, assets)).collect()
        }
        None => Some(Vec::new()),
    };
    let Some(scripts) = scripts else {
        report.log_refusal((spawner.script, None), spawner.entity, &NamedScripts::refusal());
        return false;
    };
    // Code of the game that ran since may have despawned either of them.
    if let Some(parent) = spawn.parent.map(|parent| resolve(parent, new))
        && world.get_entity(parent).is_ok()
        && world.get_entity(entity).is_ok()
    {
        match level_below(parent, Some(entity), parent_in(world)) {
            Ok(_) => _ = world.entity_mut(entity).insert(ChildOf(parent)),
            Err(misfit) => {
                refuse_child(report, spawner, (entity, parent), misfit);
                return false;
            }
        }
    }
    if !scripts.is_empty()
        && let Ok(mut entity) = world.get_entity_mut(entity)
    {
        let states = ScriptStates { origin: Some(origin), ..ScriptStates::default() };
        entity.insert((LuaScripts::from_iter(scripts), states));
    }
    true
}

/// Reports that an entity could not become a child.
pub(super) fn refuse_child(
    report: &mut Report,
    spawner: Spawner<'_>,
    (child, parent): (Entity, Entity),
    misfit: Misfit,
) {
    report.frame.conflicts += 1;
    let message = format!("`ChildOf`: entity {child} did not become a child of {parent}: {misfit}");
    report.log_refusal((spawner.script, None), spawner.entity, &message);
}
