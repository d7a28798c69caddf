//! Gives the entities that scripts spawned their parents and scripts.

use std::sync::Arc;

use bevy::prelude::{AssetServer, ChildOf, Entity, World};

use crate::bindings::{Misfit, NamedScripts, Population, level_below, parent_in};
use crate::run::apply::settle;
use crate::run::invocation::OutcomeExtras;
use crate::run::report::Report;
use crate::script::{LuaScripts, ScriptStates};

/// The invocation that spawned entities.
pub(super) struct Spawner<'s> {
    pub(super) entity: Entity,
    pub(super) script: &'s Arc<str>,
    /// From which they descend.
    pub(super) origin: Entity,
}

/// Gives the entities that an invocation of this script spawned their parents and scripts. One that is too many, whose
/// parent has come to lie too deep meanwhile, or whose scripts are too many names that nobody knows, comes to nothing.
pub(super) fn furnish(
    world: &mut World,
    &Spawner { entity: spawner, script, origin }: &Spawner<'_>,
    OutcomeExtras { effects, new, admitted, .. }: &mut OutcomeExtras,
    report: &mut Report,
) {
    let mut named = std::mem::take(&mut *world.resource_mut::<NamedScripts>());
    let (new, frame) = (&new[..], report.frames);
    for (index, (spawn, entity)) in effects.spawned.drain(..).zip(new).enumerate() {
        if index >= *admitted {
            report.refused((script, None), spawner, &Population::refusal());
            world.despawn(*entity);
            continue;
        }
        let scripts: Option<Vec<_>> = match world.get_resource::<AssetServer>() {
            Some(assets) => {
                let names = spawn.scripts.iter();
                names.map(|name| named.load(name, script, frame, assets)).collect()
            }
            None => Some(Vec::new()),
        };
        let Some(scripts) = scripts else {
            report.refused((script, None), spawner, &NamedScripts::refusal());
            world.despawn(*entity);
            continue;
        };
        // The code of the game that runs meanwhile may despawn it.
        if let Some(parent) = spawn.parent.map(|parent| settle(parent, new))
            && world.get_entity(parent).is_ok()
            && world.get_entity(*entity).is_ok()
        {
            match level_below(parent, Some(*entity), parent_in(world)) {
                Ok(_) => _ = world.entity_mut(*entity).insert(ChildOf(parent)),
                Err(misfit) => {
                    refuse_child(report, script, spawner, (*entity, parent), misfit);
                    world.despawn(*entity);
                    continue;
                }
            }
        }
        if !scripts.is_empty()
            && let Ok(mut entity) = world.get_entity_mut(*entity)
        {
            let states = ScriptStates { origin: Some(origin), ..ScriptStates::default() };
            entity.insert((LuaScripts::from_iter(scripts), states));
        }
    }
    *world.resource_mut() = named;
}

/// Tells that an entity could not become a child.
pub(super) fn refuse_child(
    report: &mut Report,
    script: &Arc<str>,
    spawner: Entity,
    (child, parent): (Entity, Entity),
    misfit: Misfit,
) {
    report.frame.conflicts += 1;
    let message = format!("`ChildOf`: entity {child} did not become a child of {parent}: {misfit}");
    report.refused((script, None), spawner, &message);
}
