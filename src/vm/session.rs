//! [`Session`]: a VM with one environment that lasts from run to run.

mod task;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::chunk::ChunkMode;
use mlua::{Lua, LuaOptions, Table};

pub(crate) use self::task::{CoroutineState, LoadedChunk, SessionLimits, Task};
use super::allowance::GARBAGE_SLACK;
use super::api::{Api, ApiMark};
use super::compile::{Purpose, chunk_name, expression_or_source};
use super::deadline::RunDeadline;
use super::engage::engage;
use super::fast_flags::set_fast_flags;
use super::host::Host;
use super::limit_verdict::{LimitVerdict, judge};
use super::outcome::Performed;
use super::program::Program;
use super::random::RunRandom;
use super::raw::{self, RunStop, SessionTask};
use super::sandbox;
use super::watchdog::RunWatch;
use super::watched::watch;
use crate::error::{Failure, ScriptError};

/// A VM whose globals last until [`Session::reset`].
#[derive(Debug)]
pub(crate) struct Session {
    lua: Lua,
    builtins: Table,
    refs: raw::SessionRefs,
    /// The script that errors without a place name.
    name: Arc<str>,
    random: RunRandom,
    resting_memory: usize,
    memory_limit: usize,
    /// Above so many bytes, garbage is collected after a task.
    crowded_above: usize,
    /// The bytes of its objects when a task last collected garbage.
    left: usize,
    last_time: Duration,
    watch: Arc<RunWatch>,
}

impl Session {
    pub(crate) fn new(api: &Api, memory_limit: usize) -> Result<Self, ScriptError> {
        set_fast_flags();
        let set_up = || -> mlua::Result<_> {
            let lua = Lua::new_with(sandbox::libraries(), LuaOptions::new())?;
            raw::watch_refusals(&lua)?;
            let coroutines = raw::coroutine_holder(&lua)?;
            let builtins = sandbox::build_for_sessions(&lua, api, &coroutines)?;
            builtins.set_safeenv(true);
            let refs = raw::set_up(&lua, &builtins)?;
            let refs = raw::set_up_session(&lua, &builtins, &coroutines, &refs)?;
            lua.gc_collect()?;
            lua.set_memory_limit(memory_limit)?;
            Ok((lua, builtins, refs))
        };
        let (lua, builtins, refs) =
            set_up().map_err(|error| ScriptError::vm("the engine's VM can't be set up", error))?;
        let resting_memory = lua.used_memory();
        if resting_memory + GARBAGE_SLACK / 4 > memory_limit {
            let (limit, held) = (memory_limit, resting_memory);
            return Err(ScriptError::EngineOutOfMemory { limit, held });
        }
        let watch = watch(&lua)?;
        Ok(Self {
            lua,
            builtins,
            refs,
            name: "engine".into(),
            random: RunRandom::new(0),
            resting_memory,
            memory_limit,
            crowded_above: memory_limit / 2,
            left: 0,
            last_time: Duration::ZERO,
            watch,
        })
    }

    /// Offers what `api` got since `mark`.
    pub(crate) fn extend(&mut self, api: &Api, mark: ApiMark) -> Result<(), ScriptError> {
        let before = self.lua.used_memory();
        // What the host adds is not limited: it must not be added by half.
        self.limit_memory(0);
        let extended = sandbox::extend(&self.lua, &self.builtins, api, mark);
        self.limit_memory(self.memory_limit);
        extended.map_err(|error| ScriptError::vm("it can't be registered", error))?;
        self.builtins.set_safeenv(true);
        self.resting_memory += self.lua.used_memory().saturating_sub(before);
        Ok(())
    }

    /// Seeds the random numbers.
    pub(crate) fn seed(&mut self, seed: u64) {
        self.random = RunRandom::new(seed);
    }

    pub(crate) fn memory_limit(&self) -> usize {
        self.memory_limit
    }

    pub(crate) fn set_memory_limit(&mut self, limit: usize) {
        self.limit_memory(limit);
        self.memory_limit = limit;
        self.crowded_above = limit / 2;
    }

    /// Puts a memory limit in force; 0 is none.
    fn limit_memory(&self, limit: usize) {
        self.lua.set_memory_limit(limit).expect("a VM that mlua made counts its memory");
    }

    /// Wall time that the last task took.
    pub(crate) fn last_time(&self) -> Duration {
        self.last_time
    }

    pub(crate) fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Compiles and loads a source of at most so many bytes.
    pub(crate) fn load(
        &self,
        name: &Arc<str>,
        source: &str,
        max_size: usize,
    ) -> Result<LoadedChunk, ScriptError> {
        let program = Program::compile_for(Purpose::Session, name, source, max_size)?;
        let load = self
            .lua
            .load(program.bytecode())
            .set_mode(ChunkMode::Binary)
            .set_name(chunk_name(name));
        let main = raw::outside_run(|| load.into_function()).map_err(|error| match error {
            mlua::Error::MemoryError(_) => self.out_of_memory(),
            error => ScriptError::vm("the source can't be loaded", error),
        })?;
        Ok(LoadedChunk { name: Arc::clone(name), main })
    }

    /// Compiles and loads an expression, or a source if it is none.
    pub(crate) fn load_expression(
        &self,
        name: &Arc<str>,
        source: &str,
        max_size: usize,
    ) -> Result<LoadedChunk, ScriptError> {
        expression_or_source(source, max_size, |source, max_size| self.load(name, source, max_size))
    }

    /// A function that ends the current call alone, from any thread.
    pub(crate) fn canceller(&self) -> Arc<dyn Fn() + Send + Sync> {
        let watch = Arc::clone(&self.watch);
        Arc::new(move || watch.cancel())
    }

    /// A call begins: a cancellation from before is not meant for it.
    pub(crate) fn begin_call(&self) {
        self.watch.forget_cancelled();
    }

    /// Performs a task in the session's environment. Changes made before an error stay.
    pub(crate) fn perform(
        &mut self,
        task: Task<'_>,
        host: &mut dyn Host,
        limits: &SessionLimits,
    ) -> Result<Performed, Failure> {
        let script = match task {
            Task::Run(chunk, _) => Arc::clone(&chunk.name),
            _ => Arc::clone(&self.name),
        };
        let raw_task = match task {
            Task::Run(chunk, results) => SessionTask::Chunk(&chunk.main, results),
            Task::Call(path, args, results) => SessionTask::Call(path, args, results),
            Task::Resume(id, args) => SessionTask::Resume(id, args),
            Task::Get(path) => SessionTask::Get(path),
            Task::Set(path, value) => SessionTask::Set(path, value),
            Task::State => SessionTask::State,
            Task::Restore(globals) => SessionTask::Restore(globals),
        };
        let start = Instant::now();
        let random = std::mem::replace(&mut self.random, RunRandom::new(0));
        let (ended, run, (too_much, left)) = engage(|_| {
            let deadline = RunDeadline::of_call(&self.watch, limits.time, limits.call);
            let mut run =
                raw::Run::of_session(host, deadline, limits.value_size, random, &self.refs);
            // 0 is no limit.
            let limit = if self.memory_limit == 0 { usize::MAX } else { self.memory_limit };
            // The limit is one of pages, and objects are counted.
            let not_objects = self.lua.used_memory().saturating_sub(raw::object_bytes(&self.lua));
            let limit = limit.saturating_sub(not_objects);
            let left = self.left.min(raw::object_bytes(&self.lua));
            let measuring = raw::MeasuringLate::begin(&self.lua, limit, left);
            let ended = raw::run_session(&self.lua, &self.refs, raw_task, &mut run);
            (ended, run, measuring.found())
        });
        self.left = left;
        let ended = if too_much { Err(RunStop::OutOfMemory) } else { ended };
        self.last_time = start.elapsed();
        let mut run = run;
        let out_of_memory = matches!(ended, Err(RunStop::OutOfMemory));
        let mut verdict = LimitVerdict::of(&mut run, out_of_memory);
        self.random = run.into_random();
        self.tidy();
        if out_of_memory {
            // What the failed task left behind must not stand in the way of the next one.
            self.collect_garbage();
        }
        if let Some(verdict) = &mut verdict {
            // That may be in another chunk than the task's.
            verdict.place = (None, String::new());
        }
        judge(&script, ended, verdict, || self.out_of_memory()).map_err(|failure| {
            let Failure { error, script, line, traceback } = *failure;
            let failure = Failure::new(&script, in_engine_terms(error));
            Failure { line: line.or(failure.line), traceback, ..failure }
        })
    }

    /// Collects garbage if it would take room from the next task. The collector doesn't know the limit: it waits until
    /// memory has doubled.
    fn tidy(&mut self) {
        if self.lua.used_memory() > self.crowded_above {
            self.collect_garbage();
            let used = self.lua.used_memory();
            self.crowded_above = (self.memory_limit / 2).max(used + used / 4);
        }
    }

    fn out_of_memory(&self) -> ScriptError {
        ScriptError::EngineOutOfMemory { limit: self.memory_limit, held: self.lua.used_memory() }
    }

    /// Drops all globals and coroutines. What the host registered stays, and so do loaded chunks.
    ///
    /// As cheap as a new environment; garbage is collected only if there is much of it.
    pub(crate) fn reset(&mut self, seed: u64) -> Result<(), ScriptError> {
        self.seed(seed);
        let crowded = self.lua.used_memory() > self.resting_memory + GARBAGE_SLACK;
        if crowded {
            // There may be no room left for the new environment beside the old one.
            self.limit_memory(0);
        }
        let swapped = raw::reset_session(&self.lua, &self.refs);
        if crowded {
            self.collect_garbage();
            self.limit_memory(self.memory_limit);
            self.crowded_above = self.memory_limit / 2;
        }
        swapped.map_err(|error| ScriptError::vm("the engine can't be reset", error))
    }

    /// Collects all garbage.
    pub(crate) fn collect_garbage(&self) {
        // It can only fail if a collection is under way already.
        let _ = self.lua.gc_collect();
    }

    /// The coroutines that are not over, the oldest first. May include some that are garbage already.
    pub(crate) fn coroutines(&self) -> Vec<CoroutineState> {
        // An error means that there is no memory left for a few stack slots.
        let found = raw::coroutines(&self.lua, &self.refs).unwrap_or_default();
        let public = |coroutine: raw::RawCoroutine| CoroutineState {
            id: coroutine.id,
            started: coroutine.started,
            script: coroutine.script,
            line: coroutine.line,
        };
        found.into_iter().map(public).collect()
    }

    /// Numbers the next coroutine as if there had been so many.
    #[cfg(test)]
    fn skip_coroutines(&self, ever: u64) {
        raw::skip_coroutines(&self.lua, &self.refs, ever as f64).expect("memory");
    }

    /// Ends a coroutine. Gives whether there was one that was not over.
    pub(crate) fn destroy_coroutine(&mut self, id: u64) -> bool {
        // Luau allocates a small stack for it. If that failed, it would be ended by half, and could be resumed.
        self.limit_memory(0);
        let destroyed = raw::destroy_coroutine(&self.lua, &self.refs, id);
        self.limit_memory(self.memory_limit);
        destroyed.unwrap_or(false)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.watch.leave(&self.lua);
    }
}

/// Names the setting of an engine where that of a pool is named.
fn in_engine_terms(mut error: ScriptError) -> ScriptError {
    if let ScriptError::TooMuch { setting, .. } | ScriptError::TimedOut { setting, .. } = &mut error
    {
        *setting = setting.of_engine();
    }
    error
}

#[cfg(test)]
mod tests;
