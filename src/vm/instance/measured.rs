//! Measured runs: those that come near their memory limit run on a VM of their own that measures what they hold.
//!
//! How much room a shared VM has for a run depends on what other runs left there. So a run that needs more than
//! [every run gets](crate::vm::allowance) is undone and runs again on a new VM that has loaded nothing but its
//! program, with a file level of its own. There it fails if it holds more than its limit, however much garbage it
//! makes. What else runs, and on how many VMs, makes no difference.

use std::sync::Arc;

use super::Vm;
use crate::error::{Failure, ScriptError};
use crate::value::ScriptValues;
use crate::vm::call::{Call, Evaluation};
use crate::vm::deadline::CallBounds;
use crate::vm::host::Host;
use crate::vm::limits::RunLimits;
use crate::vm::outcome::CallResult;
use crate::vm::program::Program;
use crate::vm::raw::{self, Measuring};

/// The pages that a run may use, as a multiple of its limit: they hold live objects, garbage and free room.
const PAGES: usize = 2;

/// The limits of a run that is measured: twice the time, since measuring takes time too.
fn longer(limits: &RunLimits) -> RunLimits {
    RunLimits { time: limits.time.saturating_mul(2), ..*limits }
}

/// The failure of a measured run, with the time limit that was set for the run.
fn in_time(mut failure: Failure, limits: &RunLimits) -> Failure {
    if let ScriptError::TimedOut { limit, .. } = &mut failure.error {
        *limit = limits.time;
    }
    failure
}

/// What a run held.
struct Held {
    bytes: usize,
    /// More than its limit.
    too_much: bool,
}

impl Vm {
    /// Runs a callback measured. The host has been rewound already.
    pub(super) fn run_measured(
        &mut self,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
    ) -> CallResult {
        let measured = self.on_twin(|twin| {
            let place = twin.load(program)?;
            let measuring = twin.begin_to_measure(limits);
            let result = twin
                .attempt(place, program, call, host, &longer(limits), (false, None))
                .unwrap_or_else(|_| unreachable!("there is no image that it could meet"));
            Ok((result, twin.held(&measuring), twin.used))
        });
        let fail = |error| Box::new(Failure::new(program.name(), error));
        let (result, held, used) = measured.map_err(fail)?;
        self.used = used;
        let result = result.map_err(|failure| *failure);
        Ok(self.judge_held(program, limits, &held, result)?)
    }

    /// Runs a source measured.
    pub(super) fn evaluate_measured(
        &mut self,
        evaluation: Evaluation<'_>,
        host: &mut dyn Host,
        (limits, bounds): (&RunLimits, CallBounds),
    ) -> Result<ScriptValues, Failure> {
        let program = evaluation.program;
        let measured = self.on_twin(|twin| {
            let main = twin.source(program).map_err(|failure| failure.error)?;
            let measuring = twin.begin_to_measure(limits);
            let outcome = twin.evaluate_main(&main, evaluation, host, (&longer(limits), bounds));
            Ok((outcome, twin.held(&measuring)))
        });
        let (outcome, held) = measured.map_err(|error| Failure::new(program.name(), error))?;
        self.judge_held(program, limits, &held, outcome)
    }

    /// Decides how a measured run ended: it failed if it held too much.
    fn judge_held<T>(
        &self,
        program: &Program,
        limits: &RunLimits,
        held: &Held,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.note_held(program, limits, held);
        if !held.too_much {
            return result.map_err(|failure| in_time(failure, limits));
        }
        let failure = result.err().unwrap_or_else(|| self.no_failure_yet(program));
        let error = self.out_of_memory(limits.memory, held.bytes);
        Err(Failure { error, ..failure })
    }

    /// Calls `body` with a new VM like this one, which whatever stops this one stops too.
    fn on_twin<R>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        let (api, counts) = (Arc::clone(&self.api), Arc::default());
        let twin = Self::make(api, self.memory_limit, counts, Some(&self.watch));
        let result = twin.and_then(|mut twin| {
            let result = body(&mut twin);
            self.watch.turn_to(Box::new(raw::Hook::of(&self.lua)));
            result
        });
        self.counts.measured();
        result
    }

    fn begin_to_measure(&mut self, limits: &RunLimits) -> Measuring {
        let most = self.most_memory(limits.memory);
        let used = self.lua.used_memory();
        let pages = used.saturating_add(most.saturating_mul(PAGES)).min(self.memory_limit);
        self.limit_allocator(pages);
        self.allowance.stop_counting();
        Measuring::begin(&self.lua, most, self.room())
    }

    fn held(&self, measuring: &Measuring) -> Held {
        let (bytes, too_much) = measuring.found(&self.lua);
        Held { bytes, too_much: too_much || self.ran_out }
    }

    fn note_held(&self, program: &Program, limits: &RunLimits, held: &Held) {
        if held.too_much {
            program.note_hungry();
        } else {
            program.note_measured(limits.memory, held.bytes > self.quick_memory(limits.memory) / 2);
        }
    }

    /// The failure of a run that would have succeeded.
    fn no_failure_yet(&self, program: &Program) -> Failure {
        Failure::new(program.name(), self.out_of_memory(0, 0))
    }
}
