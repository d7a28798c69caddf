//! Whole sources on a pooled VM: run once, in an environment of their own, for the value they return.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Instant;

use lru::LruCache;
use mlua::Function;

use super::limits::{CallBounds, Deadline};
use super::raw::{self, SessionEnded};
use super::{Host, MAX_SOURCE_SIZE, Program, RunLimits, Verdict, Vm, engage, sandbox};
use crate::error::{Failure, ScriptError};
use crate::value::{ScriptTable, ScriptValue};

/// Sources that a VM keeps loaded; the least recently used goes first. Loading one again takes less
/// than a microsecond for a few lines, so there is no need for many.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// The main functions of sources, by the number of the program.
#[derive(Debug)]
pub(super) struct Evaluated(LruCache<u64, Function>);

impl Evaluated {
    pub(super) fn new() -> Self {
        Self(LruCache::new(KEPT))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// In front of an expression, this makes a source of it.
pub(super) const EXPRESSION: &str = "return ";

impl Program {
    /// Compiles an expression such as `1 + 1`, or a whole source with `return`; `name` appears in
    /// errors.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn compile_expression(name: &str, source: &str) -> Result<Self, ScriptError> {
        Self::compile_expression_of(name, source, MAX_SOURCE_SIZE)
    }

    /// As [`Program::compile_expression`], for a source of at most so many bytes.
    pub(crate) fn compile_expression_of(
        name: &str,
        source: &str,
        max_size: usize,
    ) -> Result<Self, ScriptError> {
        let compile =
            |source: &str, limit| Self::compile_without(name, source, &sandbox::REPLACED, limit);
        // The word that is put in front is not the caller's.
        match compile(&format!("{EXPRESSION}{source}"), max_size.saturating_add(EXPRESSION.len())) {
            Err(ScriptError::Syntax { .. } | ScriptError::TooLarge { .. }) => {
                compile(source, max_size)
            }
            compiled => compiled,
        }
    }
}

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
        self.evaluate_in(program, params, seed, host, (limits, CallBounds::default()))
    }

    /// As [`Vm::evaluate`], as a part of a call.
    pub(crate) fn evaluate_in(
        &mut self,
        program: &Program,
        params: &ScriptTable,
        seed: u64,
        host: &mut dyn Host,
        (limits, bounds): (&RunLimits, CallBounds),
    ) -> Result<ScriptValue, Failure> {
        self.runs += 1;
        self.note_program(program);
        self.limit_memory(limits);
        let outcome = engage(|_| self.evaluate_once(program, params, seed, host, (limits, bounds)));
        self.tidy();
        outcome
    }

    fn evaluate_once(
        &mut self,
        program: &Program,
        params: &ScriptTable,
        seed: u64,
        host: &mut dyn Host,
        (limits, bounds): (&RunLimits, CallBounds),
    ) -> Result<ScriptValue, Failure> {
        let main = match self.evaluated.0.get(&program.id()) {
            Some(main) => main.clone(),
            None => {
                let main =
                    self.load_main(program).map_err(|error| Failure::new(program.name(), error))?;
                self.evaluated.0.put(program.id(), main.clone());
                main
            }
        };
        let start = Instant::now();
        let deadline = Deadline::of_call(&self.watch, limits.time, bounds);
        let mut run = raw::Run::new(host, deadline, limits.value_size, &self.refs);
        run.start_with(seed);
        let ended = raw::run_alone(&self.lua, &self.refs, &main, params, &mut run);
        raw::forget_all(&self.lua, &self.refs, &run);

        self.last_run_time = start.elapsed();
        let (out_of_memory, hard, (line, frames)) =
            match Verdict::of(&mut run, matches!(ended, SessionEnded::OutOfMemory)) {
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
                self.spent = true;
                fail(self.out_of_memory(), None, line, frames)
            }
            SessionEnded::Failed { error, script, line, frames } => {
                fail(error, script, line, frames)
            }
            SessionEnded::Done(value) => match &hard {
                Some(error) => fail(error.clone(), None, None, String::new()),
                None => Ok(value),
            },
        }
    }
}
