//! [`ProgramCache`]: the compiled sources of a pool.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cpu_time::ThreadTime;

use crate::engine::cache::{CacheBounds, CompiledCache};
use crate::error::Failure;
use crate::vm::Program;

/// The name of a source in errors, if it has none.
pub(super) const UNNAMED: &str = "execute";

/// At most 1024 sources with 8 MiB of text and bytecode: a small text can compile to much bytecode.
const BOUNDS: CacheBounds = CacheBounds { entries: 1024, bytes: 8 * 1024 * 1024 };

/// Compiles sources and caches the programs.
pub(super) struct ProgramCache {
    programs: Mutex<CompiledCache<Arc<Program>>>,
    max_source_size: usize,
}

impl ProgramCache {
    pub(super) fn new(max_source_size: usize) -> Self {
        Self { programs: Mutex::new(CompiledCache::new(BOUNDS)), max_source_size }
    }

    /// The program of a source, and the CPU time that compilation took: zero if it was cached.
    pub(super) fn get_or_compile(
        &self,
        name: Option<&str>,
        source: &str,
    ) -> Result<(Arc<Program>, Duration), Failure> {
        // A source with a NUL byte does not compile, so no cached source contains one, and all keys differ.
        let key = name.map(|name| format!("\0{name}\0{source}"));
        let key = key.as_deref().unwrap_or(source);
        if !source.contains('\0')
            && let Some(program) = self.lock().get(key)
        {
            return Ok((Arc::clone(program), Duration::ZERO));
        }
        let began = ThreadTime::now();
        let called = name.unwrap_or(UNNAMED);
        let program = Program::compile_expression_of(called, source, self.max_source_size)
            .map_err(|error| Failure::new(&called.into(), error))?;
        let program = match name {
            Some(_) => program,
            None => program.titled_after(source),
        };
        let program = Arc::new(program);
        self.lock().put(key, Arc::clone(&program), program.size());
        Ok((program, began.elapsed()))
    }

    fn lock(&self) -> MutexGuard<'_, CompiledCache<Arc<Program>>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
