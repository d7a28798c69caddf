//! Making a [`LuaEngine`].

use super::LuaEngine;
use crate::engine::builder::{EngineBuilder, EngineError};
use crate::engine::cache::{CacheBounds, CompiledCache};
use crate::engine::core::{CHUNK, EngineCore};
use crate::vm::{Results, Task};

/// Bytes of source text that each of an engine's caches keeps compiled.
const CACHED_BYTES: usize = 1024 * 1024;

impl LuaEngine {
    /// An engine with the default limits and nothing registered.
    ///
    /// # Errors
    /// [`EngineError::SetUp`] if Luau can't be set up.
    pub fn new() -> Result<Self, EngineError> {
        Self::builder().build()
    }

    /// Starts the set-up of an engine: its limits, and what it offers to scripts.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }
}

impl EngineBuilder {
    /// Makes an engine.
    ///
    /// # Errors
    /// The first name that can't be used, a memory limit that is too small, or the error of a prelude.
    pub fn build(&self) -> Result<LuaEngine, EngineError> {
        let settings = &self.settings;
        let bounds = CacheBounds { entries: settings.cached_chunks, bytes: CACHED_BYTES };
        let mut engine = LuaEngine {
            core: EngineCore::new(settings, self.offer.clone()?)?,
            expressions: CompiledCache::new(bounds),
            chunks: CompiledCache::new(bounds),
            preludes: Vec::with_capacity(self.preludes.len()),
            chunk_name: CHUNK.into(),
            seed: settings.seed,
            resets: 0,
        };
        engine.core.session.seed(engine.seed);
        for (name, source) in &self.preludes {
            engine.core.begin();
            let prelude = engine.core.load(name, source).map_err(EngineError::Prelude)?;
            let run = engine.core.perform(Task::Run(&prelude, Results::Ignored));
            run.map_err(EngineError::Prelude)?;
            engine.preludes.push(prelude);
        }
        Ok(engine)
    }
}
