//! [`ComponentColumn`]: one component of all entities, where it lies in memory.

use bevy::ecs::component::{Component, StorageType};
use bevy::ecs::entity::EntityLocation;
use bevy::ecs::query::QueryState;
use bevy::prelude::{Entity, World};

use super::scalar_fields::ScalarFields;

/// Finds the tables that have a component; kept from stage to stage.
pub(crate) type ColumnQuery<T> = QueryState<(Entity, &'static T)>;

/// One component of all entities, as it is while the world doesn't change: found by where an entity lies,
/// without asking the world for the component's number each time.
pub(crate) struct ComponentColumn<'w, T> {
    /// What each table has of it, by the table's number.
    tables: Vec<&'w [T]>,
}

impl<'w, T: Component> ComponentColumn<'w, T> {
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

/// A [`ComponentColumn`] of an exposed component.
pub(crate) trait ExposedColumn: Sync {
    /// The component of the entity that lies there, if it has one.
    fn get(&self, place: EntityLocation) -> Option<&dyn ScalarFields>;
}

impl<T: Component + ScalarFields> ExposedColumn for ComponentColumn<'_, T> {
    fn get(&self, place: EntityLocation) -> Option<&dyn ScalarFields> {
        self.get(place).map(|component| component as &dyn ScalarFields)
    }
}

/// A [`ColumnQuery`] of an exposed component.
pub(crate) trait ExposedColumnQuery: Send + Sync {
    fn column<'w>(&mut self, world: &'w World) -> Box<dyn ExposedColumn + 'w>;
}

impl<T: Component + ScalarFields> ExposedColumnQuery for ColumnQuery<T> {
    fn column<'w>(&mut self, world: &'w World) -> Box<dyn ExposedColumn + 'w> {
        Box::new(ComponentColumn::new(world, self))
    }
}

/// Finds the components that scripts use; `None` if they don't lie in tables.
pub(super) fn column_query<T: Component + ScalarFields>(
    world: &World,
) -> Option<Box<dyn ExposedColumnQuery>> {
    match T::STORAGE_TYPE {
        StorageType::Table => Some(Box::new(ColumnQuery::<T>::try_new(world)?)),
        StorageType::SparseSet => None,
    }
}
