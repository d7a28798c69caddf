//! Runs of whole sources: once, in an environment of their own, for the values that they return.

use std::sync::Arc;
use std::time::Instant;

use mlua::Function;

use super::Vm;
use super::verdict::LimitVerdict;
use crate::error::{Failure, ScriptError};
use crate::value::{ScriptTable, ScriptValue, ScriptValues};
use crate::vm::call::{Evaluation, Results};
use crate::vm::deadline::{CallBounds, RunDeadline};
use crate::vm::engage::engage;
use crate::vm::host::Host;
use crate::vm::limits::RunLimits;
use crate::vm::loaded_sources::LoadedSource;
use crate::vm::program::Program;
use crate::vm::raw::{self, SessionEnded};

impl Vm {
    /// Runs a whole source for the first value that it returns, with `params` as a global of that name.
    /// Its random numbers start at `seed`. Whatever happens, the next run starts from the same pristine
    /// state, unless [`Vm::is_spent`] says that there must be none.
    ///
    /// # Errors
    /// What the script raises, or the limit that it met; also if the value is not plain data.
    pub fn evaluate(
        &mut self,
        program: &Program,
        params: &ScriptTable,
        seed: u64,
        host: &mut dyn Host,
        limits: &RunLimits,
    ) -> Result<ScriptValue, Failure> {
        let evaluation = Evaluation { program, params, seed, results: Results::First };
        let bounds = CallBounds::default();
        self.evaluate_in(evaluation, host, (limits, bounds)).map(ScriptValues::into_first)
    }

    /// As [`Vm::evaluate`], for all results and within the bounds of a call.
    pub(crate) fn evaluate_in(
        &mut self,
        evaluation: Evaluation<'_>,
        host: &mut dyn Host,
        (limits, bounds): (&RunLimits, CallBounds),
    ) -> Result<ScriptValues, Failure> {
        let start = Instant::now();
        let program = evaluation.program;
        self.runs += 1;
        self.note_program(program);
        let quick = self.limit_memory(limits) && !program.is_hungry();
        let outcome = engage(|_| {
            if quick {
                let outcome = self.evaluate_once(evaluation, host, (limits, bounds));
                if !std::mem::take(&mut self.ran_out) || !host.can_rewind() {
                    return outcome;
                }
                host.rewind();
            }
            self.evaluate_measured(evaluation, host, (limits, bounds))
        });
        self.tidy();
        self.last_run_time = start.elapsed();
        outcome
    }

    fn evaluate_once(
        &mut self,
        evaluation: Evaluation<'_>,
        host: &mut dyn Host,
        limits: (&RunLimits, CallBounds),
    ) -> Result<ScriptValues, Failure> {
        let main = self.source(evaluation.program)?;
        if self.is_cramped() {
            // What was just loaded leaves too little room: run measured.
            self.ran_out = true;
            return Ok(ScriptValues::default());
        }
        self.evaluate_main(&main, evaluation, host, limits)
    }

    /// Loads a source.
    pub(super) fn source(&mut self, program: &Program) -> Result<Function, Failure> {
        if let Some(main) = self.sources.get(program.id()) {
            return Ok(main.clone());
        }
        self.limit_allocator(self.memory_limit);
        let before = raw::object_bytes(&self.lua);
        let main = self.load_main(program);
        self.limit_allocator(self.allowance.total);
        let main = main.map_err(|error| Failure::new(program.name(), error))?;
        let bytes = raw::object_bytes(&self.lua).saturating_sub(before);
        let bytes = bytes.max(4 * program.bytecode().len());
        let strings = program.texts().iter().map(|(_, bytes)| *bytes as usize).sum();
        let source = LoadedSource { main: main.clone(), bytes, strings };
        if let Some(gone) = self.sources.keep(program.id(), source) {
            self.lower_floor(gone.bytes);
        }
        self.tidy();
        Ok(main)
    }

    /// Runs a source that is loaded.
    pub(super) fn evaluate_main(
        &mut self,
        main: &Function,
        Evaluation { program, params, seed, results }: Evaluation<'_>,
        host: &mut dyn Host,
        (limits, bounds): (&RunLimits, CallBounds),
    ) -> Result<ScriptValues, Failure> {
        let counting = self.allowance.count(&self.lua);
        let deadline = RunDeadline::of_call(&self.watch, limits.time, bounds);
        let mut run = raw::Run::new(host, deadline, limits.value_size, &self.refs);
        run.start_with(seed);
        let ended = raw::run_alone(&self.lua, &self.refs, main, params, results, &mut run);
        raw::forget_all(&self.lua, &self.refs, &run);
        let passed = counting.is_some_and(|counting| counting.passed());
        let (out_of_memory, hard, (line, frames)) = match LimitVerdict::of(
            &mut run,
            passed || matches!(ended, SessionEnded::OutOfMemory),
        ) {
            Some(verdict) => (verdict.out_of_memory, verdict.broken, verdict.place),
            None => (false, None, (None, String::new())),
        };
        drop(run);
        let ended = if out_of_memory { SessionEnded::OutOfMemory } else { ended };
        self.spent |= hard.is_some();
        let fail = |error: ScriptError, script: Option<String>, line, traceback| {
            let script = script.map_or_else(|| Arc::clone(program.name()), Arc::from);
            Err(Failure { error: hard.clone().unwrap_or(error), script, line, traceback })
        };
        match ended {
            SessionEnded::OutOfMemory => {
                (self.spent, self.ran_out) = (true, true);
                // At least that much. A measured run knows better.
                let used = self.quick_memory(limits.memory);
                fail(self.out_of_memory(limits.memory, used), None, line, frames)
            }
            SessionEnded::Failed { error, script, line, frames } => {
                fail(error, script, line, frames)
            }
            SessionEnded::Done(values) | SessionEnded::Yielded(values) => match &hard {
                Some(error) => fail(error.clone(), None, None, String::new()),
                None => Ok(values),
            },
        }
    }
}
