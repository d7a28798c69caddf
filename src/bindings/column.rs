//! [`Column`]: one component of all entities, where it lies in memory.

use bevy::ecs::component::Component;
use bevy::ecs::entity::EntityLocation;
use bevy::ecs::query::QueryState;
use bevy::prelude::{Entity, World};

/// Finds the tables that have a component; kept from stage to stage.
pub(crate) type ColumnQuery<T> = QueryState<(Entity, &'static T)>;

/// One component of all entities, as it is while the world doesn't change: found by where an entity lies,
/// without asking the world for the component's number each time.
pub(crate) struct Column<'w, T> {
    /// What each table has of it, by the table's number.
    tables: Vec<&'w [T]>,
}

impl<'w, T: Component> Column<'w, T> {
    pub(crate) fn new(world: &'w World, query: &mut ColumnQuery<T>) -> Self {
        let mut tables: Vec<&[T]> = Vec::new();
        let found = query.query(world).contiguous_iter_inner();
        for (entities, values) in found.into_iter().flatten() {
            let Some(first) = entities.first() else { continue };
            let Ok(first) = world.get_entity(*first) else { continue };
            let table = first.location().table_id.as_usize();
            tables.resize(tables.len().max(table + 1), &[]);
            tables[table] = values;
        }
        Self { tables }
    }

    /// That of the entity that lies there, if it has one.
    #[inline]
    pub(crate) fn get(&self, place: EntityLocation) -> Option<&'w T> {
        self.tables.get(place.table_id.as_usize())?.get(place.table_row.index())
    }
}
