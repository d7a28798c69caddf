//! Running a source on a leased VM.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError};

use super::LuauPool;
use super::error::ExecuteError;
use crate::engine::host::EngineHost;
use crate::engine::output::OutputLine;
use crate::error::{Failure, ScriptError, Setting};
use crate::pool::{DestroyReason, Lease, PoolError};
use crate::value::{ScriptTable, ScriptValues};
use crate::vm::{CallBounds, Evaluation, Results, RunLimits, Vm, WallDeadline};

/// A source, with its name and the global `params`.
#[derive(Clone, Copy)]
pub(super) struct PoolSource<'e> {
    pub(super) name: Option<&'e str>,
    pub(super) text: &'e str,
    pub(super) params: &'e ScriptTable,
}

impl LuauPool {
    /// Leases a VM and runs a source on it; appends what it prints to `output`.
    #[track_caller]
    pub(super) fn run(
        &self,
        source: PoolSource<'_>,
        results: Results,
        wall: Option<WallDeadline>,
        output: &mut Vec<OutputLine>,
    ) -> Result<ScriptValues, ExecuteError> {
        let interrupts = self.calls.interrupts();
        let (program, used) = self.programs.get_or_compile(source.name, source.text)?;
        let late = |error| Failure::new(program.name(), error);
        let config = self.vms.config();
        let limits = RunLimits::of_script(&config, program.name());
        if used >= limits.time {
            let (limit, setting) = (limits.time, Setting::RunTimeLimit);
            return Err(late(ScriptError::TimedOut { limit, used, setting }).into());
        }
        let bounds = CallBounds { used, wall, ..CallBounds::default() };
        let overdue = || wall.filter(WallDeadline::has_passed);
        let acquired = self
            .vms()
            .acquire_unless(|| self.calls.interrupts() != interrupts || overdue().is_some());
        let mut lease = match (acquired, overdue()) {
            (Ok(lease), None) => lease,
            (Ok(_) | Err(PoolError::Interrupted { .. }), Some(wall)) => {
                return Err(late(wall.error()).into());
            }
            (Err(PoolError::Interrupted { .. }), None) => {
                return Err(late(ScriptError::Cancelled).into());
            }
            (Err(error), _) => return Err(error.into()),
        };
        let cancelled = || late(ScriptError::Cancelled);
        let running = self.calls.register(interrupts, &lease).ok_or_else(cancelled)?;
        let evaluation =
            Evaluation { program: &program, params: source.params, seed: self.seed, results };
        let result = self.run_on(&mut lease, evaluation, (&limits, bounds), output);
        drop(running);
        if lease.is_spent() {
            Lease::discard(lease, DestroyReason::Discarded);
        }
        Ok(result?)
    }

    fn run_on(
        &self,
        vm: &mut Vm,
        evaluation: Evaluation<'_>,
        (limits, bounds): (&RunLimits, CallBounds),
        output: &mut Vec<OutputLine>,
    ) -> Result<ScriptValues, Failure> {
        // Only now: the VM was leased before, so it offers nothing that this doesn't.
        let offer = Arc::clone(&self.offer.read().unwrap_or_else(PoisonError::into_inner));
        let max_log_lines = self.vms.config().max_log_lines;
        // A retry of the run discards the lines, so both closures need the list.
        let lines = RefCell::new(output);
        let log = |level, text: String, line: Option<u32>| {
            let mut lines = lines.borrow_mut();
            if lines.len() == max_log_lines {
                let (what, limit) = ("log lines", max_log_lines);
                return Err(ScriptError::TooMuch { what, limit, setting: Setting::MaxLogLines });
            }
            lines.push(OutputLine { level, text: text.into(), line });
            Ok(())
        };
        let mut host = EngineHost::new(&offer, log).rewound_by(|| lines.borrow_mut().clear());
        let name = evaluation.program.name();
        let result = vm.evaluate_in(evaluation, &mut host, (limits, bounds));
        if host.has_diverged() {
            let (limit, used) = (limits.memory, limits.memory / 2);
            let error = ScriptError::OutOfMemory { limit, used, setting: Setting::RunMemoryLimit };
            return Err(Failure::new(name, error));
        }
        result
    }
}
