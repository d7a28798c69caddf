//! [`ApplyingStage`]: what is needed to apply the outcomes of one stage.

use std::sync::Arc;

use bevy::ecs::change_detection::Tick;
use bevy::prelude::Entity;
use bevy::reflect::TypeRegistry;

use crate::bindings::Bindings;
use crate::run::apply::conflicts::WriteConflicts;
use crate::run::invocation::Invocation;
use crate::run::mailbox::QueuedMail;
use crate::run::program_table::ProgramTable;
use crate::run::report::Report;
use crate::run::shares::Shares;
use crate::run::stage::Stage;
use crate::script::RetryPolicy;
use crate::vm::Program;

/// Descendants that are looked at in one stage, at most, when scripts move entities in the hierarchy.
pub(super) const MAX_DESCENDANTS_VISITED: usize = 1 << 18;

/// What is needed to apply the outcomes of one stage, and what is gathered meanwhile.
pub(super) struct ApplyingStage<'s> {
    pub(super) registry: &'s TypeRegistry,
    pub(super) bindings: &'s Bindings,
    pub(super) report: &'s mut Report,
    pub(super) programs: &'s mut ProgramTable,
    pub(super) shares: &'s Shares,
    /// The number of each program's figures in the report.
    pub(super) figures: Vec<usize>,
    pub(super) conflicts: WriteConflicts,
    pub(super) stage: Stage,
    /// When all runs had ended.
    pub(super) executed: Tick,
    /// The number of the frame.
    pub(super) frame: u64,
    pub(super) retry_policy: RetryPolicy,
    /// The last entity whose state was stored, and had not been changed by the game.
    pub(super) last_stored: Option<Entity>,
    /// How many stops were queued when the invocations were collected.
    pub(super) known_stops: usize,
    /// What scripts sent.
    pub(super) mail: Vec<QueuedMail>,
    /// Scripts some of whose events were not emitted, each with the entity of the first one.
    pub(super) refused_events: Vec<(Arc<str>, Entity)>,
    /// How many of [`MAX_DESCENDANTS_VISITED`] are left.
    pub(super) visits_left: usize,
}

impl ApplyingStage<'_> {
    pub(super) fn program_of(&self, invocation: &Invocation) -> Arc<Program> {
        Arc::clone(&self.programs.list[invocation.program as usize].program)
    }
}
