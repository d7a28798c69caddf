//! [`LuaEngine`]: a VM whose state persists.

mod calls;
mod coroutines;
mod output;
mod registration;
mod setup;
mod state;

use std::sync::Arc;
use std::time::Duration;

use super::cache::CompiledCache;
use super::core::EngineCore;
use super::interrupter::Interrupter;
use super::stats::EngineStats;
use crate::error::{Failure, ScriptError};
use crate::vm::{LoadedChunk, Results, Task};

/// A Luau VM of your own: everything persists until [`LuaEngine::reset`].
///
/// See the [module](crate::engine) for an example.
#[derive(Debug)]
pub struct LuaEngine {
    core: EngineCore,
    expressions: CompiledCache<LoadedChunk>,
    chunks: CompiledCache<LoadedChunk>,
    preludes: Vec<LoadedChunk>,
    chunk_name: Arc<str>,
    seed: u64,
    resets: u64,
}

impl LuaEngine {
    /// Returns the engine to the state after set-up: no globals, no coroutines, no output, random numbers from the
    /// beginning; then runs the preludes. What was registered stays, and so do compiled sources.
    ///
    /// Takes a fraction of the time of making an engine; a large heap is collected.
    ///
    /// # Errors
    /// What a prelude raises.
    pub fn reset(&mut self) -> Result<(), Failure> {
        let name = &self.chunk_name;
        self.core.session.reset(self.seed).map_err(|error| Failure::new(name, error))?;
        self.core.output.clear();
        self.resets += 1;
        for prelude in &self.preludes {
            self.core.begin();
            self.core.perform(Task::Run(prelude, Results::Ignored))?;
        }
        Ok(())
    }

    /// The current figures.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let core = &self.core;
        EngineStats {
            calls: core.calls,
            failures: core.failures,
            timeouts: core.timeouts,
            resets: self.resets,
            memory_bytes: core.session.used_memory(),
            memory_limit: core.session.memory_limit(),
            cached_chunks: self.expressions.len() + self.chunks.len(),
            functions: core.offer.function_count(),
            servers: core.offer.server_count(),
            coroutines: core.session.coroutines().len(),
            output_lines: core.output.lines().len(),
            lost_lines: core.output.lost(),
            call_time: core.call_time.timing(),
        }
    }

    /// The memory of the VM in bytes, garbage included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.core.session.used_memory()
    }

    /// Changes the CPU time limit of a call.
    pub fn set_time_limit(&mut self, limit: Duration) {
        self.core.limits.time = limit;
    }

    /// Changes the wall-clock time limit of a call; `None` is no limit.
    pub fn set_call_timeout(&mut self, timeout: Option<Duration>) {
        self.core.call_timeout = timeout;
    }

    /// Returns a handle that ends the running call from any thread.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        let cancel = self.core.session.canceller();
        Interrupter::new(move || cancel())
    }

    /// Changes the memory limit in bytes. If the engine holds more already, the next call that allocates fails.
    pub fn set_memory_limit(&mut self, bytes: usize) {
        self.core.session.set_memory_limit(bytes);
    }

    /// Collects all garbage now. It is also collected automatically while scripts run.
    pub fn collect_garbage(&mut self) {
        self.core.session.collect_garbage();
    }

    /// Drops the compiled sources if a call ran out of memory: they may be large.
    fn make_room<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure { error: ScriptError::EngineOutOfMemory { .. }, .. }) = &result {
            self.expressions.clear();
            self.chunks.clear();
            self.core.session.collect_garbage();
        }
        result
    }
}
