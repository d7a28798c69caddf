//! [`StageColumns`]: components of all entities, where they lie in memory.

use std::sync::atomic::{AtomicBool, Ordering};

use bevy::ecs::component::{Component, StorageType};
use bevy::ecs::entity::EntityLocation;
use bevy::ecs::query::QueryState;
use bevy::prelude::{Entity, World};

use super::exposure::Exposure;
use super::scalar_fields::ScalarFields;

/// Finds the tables that have a component; kept from stage to stage.
pub(crate) type ColumnQuery<T> = QueryState<(Entity, &'static T)>;

/// One component of all entities, as it is while the world doesn't change: found by where an entity lies,
/// without asking the world for the component's number each time.
pub(crate) struct TableColumn<'w, T> {
    /// What each table has of it, by the table's number.
    tables: Vec<&'w [T]>,
}

impl<'w, T: Component> TableColumn<'w, T> {
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

/// A [`TableColumn`] of an exposed component.
pub(crate) trait ExposedColumn: Sync {
    /// The component of the entity that lies there, if it has one.
    fn get(&self, place: EntityLocation) -> Option<&dyn ScalarFields>;
}

impl<T: Component + ScalarFields> ExposedColumn for TableColumn<'_, T> {
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
        Box::new(TableColumn::new(world, self))
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

/// The exposed components that scripts have used so far, by number; kept from stage to stage.
#[derive(Default)]
pub(crate) struct UsedColumns {
    used: Vec<AtomicBool>,
    queries: Vec<Option<Box<dyn ExposedColumnQuery>>>,
}

impl UsedColumns {
    /// The columns of these components in one stage.
    pub(crate) fn of_stage<'w>(
        &'w mut self,
        world: &'w World,
        exposure: &Exposure,
    ) -> StageColumns<'w> {
        let Self { used, queries } = self;
        let count = exposure.len().max(used.len());
        used.resize_with(count, AtomicBool::default);
        queries.resize_with(count, || None);
        let columns = (0..).zip(used.iter_mut()).zip(queries).map(|((number, used), query)| {
            if !*used.get_mut() {
                return None;
            }
            if query.is_none() {
                *query = exposure.get(number).column_query(world);
            }
            query.as_mut().map(|query| query.column(world))
        });
        let columns = columns.collect();
        StageColumns { used, columns }
    }
}

/// The components that scripts use, as they are while the world doesn't change.
pub(crate) struct StageColumns<'w> {
    used: &'w [AtomicBool],
    columns: Vec<Option<Box<dyn ExposedColumn + 'w>>>,
}

impl<'w> StageColumns<'w> {
    /// The column of a component, if it was used before this stage.
    #[inline]
    pub(super) fn get(&self, component: u32) -> Option<&(dyn ExposedColumn + 'w)> {
        self.columns.get(component as usize)?.as_deref()
    }

    /// Notes that a component is used: from the next stage on it has a column.
    pub(super) fn note_use(&self, component: u32) {
        if let Some(used) = self.used.get(component as usize) {
            used.store(true, Ordering::Relaxed);
        }
    }
}
