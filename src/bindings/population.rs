//! [`Population`]: counts the living entities that scripts spawned.

use bevy::ecs::lifecycle::HookContext;
use bevy::ecs::world::DeferredWorld;
use bevy::platform::collections::HashMap;
use bevy::prelude::{Component, Entity, Resource, World};

/// Marks an entity that a script spawned.
#[derive(Component, Clone, Copy, Debug)]
#[component(immutable, on_insert = count, on_discard = discount)]
pub(crate) struct SpawnedByScript {
    /// Its first ancestor that no script spawned.
    pub(crate) origin: Entity,
}

/// Counts the living entities that scripts spawned.
#[derive(Resource, Default)]
pub(crate) struct Population {
    all: usize,
    /// By origin.
    of: HashMap<Entity, usize>,
}

impl Population {
    /// The most living entities of one origin.
    pub(crate) const OF_ONE: usize = 1 << 14;
    /// The most living entities in total.
    const MOST: usize = 1 << 17;

    /// Whether `more` entities of this origin may be spawned.
    pub(crate) fn has_room(&self, origin: Entity, more: usize) -> bool {
        let of_one = self.of.get(&origin).copied().unwrap_or(0);
        of_one + more <= Self::OF_ONE && self.all + more <= Self::MOST
    }

    /// The error text if there is no room.
    pub(crate) fn refusal() -> String {
        format!(
            "too many entities that scripts spawned live: at most {} that descend from one entity, and {} in \
             all; despawn those that are no longer needed",
            Self::OF_ONE,
            Self::MOST
        )
    }

    #[cfg(test)]
    pub(crate) fn origins(&self) -> usize {
        self.of.len()
    }
}

fn count(mut world: DeferredWorld<'_>, context: HookContext) {
    let origin = origin_of(&world, context.entity);
    if let (Some(origin), Some(mut population)) = (origin, world.get_resource_mut::<Population>()) {
        population.all += 1;
        *population.of.entry(origin).or_default() += 1;
    }
}

fn discount(mut world: DeferredWorld<'_>, context: HookContext) {
    let origin = origin_of(&world, context.entity);
    if let (Some(origin), Some(mut population)) = (origin, world.get_resource_mut::<Population>())
        && let Some(of_one) = population.of.get_mut(&origin)
    {
        *of_one -= 1;
        if *of_one == 0 {
            population.of.remove(&origin);
        }
        population.all -= 1;
    }
}

/// The origin of an entity, if a script spawned it and it is alive.
pub(crate) fn origin_of(world: &World, entity: Entity) -> Option<Entity> {
    world.get::<SpawnedByScript>(entity).map(|spawned| spawned.origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_live_are_counted_by_where_they_come_from() {
        let mut world = World::new();
        world.init_resource::<Population>();
        let [a, b] = [(); 2].map(|()| world.spawn_empty().id());
        let spawned: Vec<_> = (0..Population::OF_ONE)
            .map(|_| world.spawn(SpawnedByScript { origin: a }).id())
            .collect();
        let of_b = world.spawn(SpawnedByScript { origin: b }).id();
        let room = |world: &World, origin| {
            let population = world.resource::<Population>();
            (0..4).filter(|more| population.has_room(origin, *more)).max()
        };
        assert_eq!((room(&world, a), room(&world, b)), (Some(0), Some(3)));
        world.despawn(spawned[0]);
        world.entity_mut(spawned[1]).remove::<SpawnedByScript>();
        world.entity_mut(spawned[2]).insert(SpawnedByScript { origin: b });
        assert_eq!((room(&world, a), room(&world, b)), (Some(3), Some(3)));
        assert_eq!(world.resource::<Population>().all, Population::OF_ONE - 1);
        for entity in spawned.into_iter().chain([of_b]) {
            world.despawn(entity);
        }
        let Population { all, of } = world.resource();
        assert_eq!((*all, of.len()), (0, 0));
    }
}
