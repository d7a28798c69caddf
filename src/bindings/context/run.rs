//! Starting invocations and runs, and rolling back runs that failed.

use std::sync::Arc;

use bevy::prelude::{Entity, EntityRef};

use super::{OutputCounts, ScriptContext};

impl<'w> ScriptContext<'w> {
    /// Retargets to `entity`; `found` is its `EntityRef` if it is alive. Effects must have been taken. Each of its runs
    /// may queue `max_commands` commands.
    #[inline]
    pub(crate) fn retarget(
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

    /// Sets the entity from which this one descends, alive or not.
    #[inline]
    pub(crate) fn set_origin(&mut self, origin: Option<Entity>) {
        self.origin = origin;
    }

    /// Sets the script whose runs follow.
    #[inline]
    pub(crate) fn set_script(&mut self, script: &'w Arc<str>) {
        self.script = Some(script);
    }

    /// Starts a run: resets its counts and makes a checkpoint.
    pub(super) fn begin_run(&mut self) {
        self.base = OutputCounts {
            commands: self.effects.commands.len() + self.effects.spawned.len(),
            messages: self.effects.messages.len() + self.effects.emitted.len(),
            logs: self.effects.logs.len(),
            changes: 0,
            bytes: self.bytes,
            copied: self.copied,
        };
        // An empty checkpoint is the default.
        self.start = if self.effects.is_empty() {
            None
        } else {
            Some(self.effects.checkpoint(self.registry))
        };
    }

    /// Drops all effects of the current run, except log lines: they tell of the failure.
    pub(crate) fn roll_back(&mut self) {
        self.copies.clear();
        self.effects.roll_back(self.start.take().unwrap_or_default());
    }
}
