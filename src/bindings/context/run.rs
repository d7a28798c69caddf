//! When a run or an invocation begins, and what is taken back if a run fails.

use std::sync::Arc;

use bevy::prelude::{Entity, EntityRef};

use super::{OutputCounts, ScriptContext};

impl<'w> ScriptContext<'w> {
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
        self.copies.clear();
        self.own = found.filter(|entity| self.is_visible(*entity));
        self.max_commands = max_commands;
        self.bytes = 0;
        self.copied = 0;
        self.base = OutputCounts::default();
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
    pub(super) fn begin_run(&mut self) {
        self.base = OutputCounts {
            commands: self.effects.commands.len() + self.effects.spawned.len(),
            messages: self.effects.messages.len() + self.effects.emitted.len(),
            logs: self.effects.logs.len(),
            changes: 0,
            bytes: self.bytes,
            copied: self.copied,
        };
        // Where there is nothing yet, there is nothing to note.
        self.start = if self.effects.is_empty() {
            None
        } else {
            Some(self.effects.checkpoint(self.registry))
        };
    }

    /// Takes back all that the current run asked for. Log lines stay: they tell of the failure.
    pub(crate) fn roll_back(&mut self) {
        self.copies.clear();
        self.effects.roll_back(self.start.take().unwrap_or_default());
    }
}
