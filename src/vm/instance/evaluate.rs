//! Runs of whole sources: once, in an environment of their own, for the values that they return.

use std::time::Instant;

use mlua::Function;

use super::Vm;
use crate::error::Failure;
use crate::value::{ScriptTable, ScriptValue, ScriptValues};
use crate::vm::call::{Evaluation, Results};
use crate::vm::deadline::{CallBounds, RunDeadline};
use crate::vm::engage::engage;
use crate::vm::host::Host;
use crate::vm::limit_verdict::{LimitVerdict, ran_out};
use crate::vm::limits::RunLimits;
use crate::vm::loaded_sources::LoadedSource;
use crate::vm::program::Program;
use crate::vm::raw;

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
        let outcome = engage(|_| {
            self.run_or_measure(
                (evaluation.program, limits),
                (host, |host| host.can_rewind()),
                |vm, host| vm.evaluate_once(evaluation, host, (limits, bounds)),
                |vm, host| vm.evaluate_measured(evaluation, host, (limits, bounds)),
            )
        });
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
        let out_of_memory =
            passed || run.is_out_of_memory() || matches!(ended, Err(raw::RunStop::OutOfMemory));
        let verdict = LimitVerdict::of(&mut run, out_of_memory);
        drop(run);
        let ended = if ran_out(&verdict) { Err(raw::RunStop::OutOfMemory) } else { ended };
        self.judge(program, ended, verdict, limits).map_err(|failure| *failure)
    }
}
