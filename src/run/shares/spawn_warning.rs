//! [`SpawnWarning`]: the warning that invocations wanted to spawn more together than they may.

use std::sync::atomic::{AtomicUsize, Ordering};

use bevy::log::warn;

use crate::run::invocation::Invocation;
use crate::run::program_table::ProgramTable;
use crate::run::shares::limits::ProgramLimits;

/// The warning that invocations wanted to spawn more together than they may. Logged once.
#[derive(Default)]
pub(super) struct SpawnWarning {
    /// One more than the number of a program that wanted to; 0: there was none.
    program_plus_one: AtomicUsize,
    was_logged: bool,
}

impl SpawnWarning {
    pub(super) fn clear(&mut self) {
        *self.program_plus_one.get_mut() = 0;
    }

    /// This invocation wanted to spawn more than is left.
    pub(super) fn note(&self, invocation: &Invocation) {
        self.program_plus_one.store(invocation.program as usize + 1, Ordering::Relaxed);
    }

    /// Logs the warning if there is a reason and it wasn't logged before. `who` is its subject.
    pub(super) fn log(&mut self, programs: &ProgramTable, limits: &[ProgramLimits], who: &str) {
        let Some(program) = self.program_plus_one.get_mut().checked_sub(1) else { return };
        if std::mem::replace(&mut self.was_logged, true) {
            return;
        }
        let (script, limit) = (programs.list[program].program.name(), limits[program].spawned);
        warn!(
            %script,
            "{script}: {who} may spawn {limit} entities together in one stage; who would spawn more waits for \
             the next frame. Raise `max_spawned_together` or `max_commands` in the pool's `sandbox.limits`, or \
             for this script in its `sandbox.scripts` (this is told once)"
        );
    }
}
