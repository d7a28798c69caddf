//! [`StageColumns`]: the components that scripts use, where they lie in memory.

use std::sync::atomic::{AtomicBool, Ordering};

use bevy::prelude::World;

use super::component_column::{ExposedColumn, ExposedColumnQuery};
use super::exposure::Exposure;

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
