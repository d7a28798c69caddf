//! [`LastState`]: what is left of a script that was removed, for its `on_stop`.

use bevy::ecs::change_detection::Tick;
use bevy::prelude::Entity;

use crate::value::ScriptTable;

/// The last state of a script that was removed.
#[derive(Debug)]
pub(crate) struct LastState {
    pub(crate) fields: ScriptTable,
    /// How many random numbers it has drawn: they go on from there.
    pub(crate) draws: u64,
    /// Frames for which its `on_stop` has been waiting.
    pub(crate) waiting: u32,
    /// The entity from which its own one descends, if a script spawned that.
    pub(crate) origin: Option<Entity>,
    /// Where it was.
    pub(super) at: LastPlace,
}

/// Where a state was when it was removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastPlace {
    /// Its index among the entity's states.
    pub(crate) slot: u32,
    /// When these were last changed.
    pub(crate) changed: Tick,
}

impl LastState {
    pub(super) fn new(
        fields: ScriptTable,
        draws: u64,
        origin: Option<Entity>,
        at: LastPlace,
    ) -> Self {
        Self { fields, draws, waiting: 0, origin, at }
    }
}
