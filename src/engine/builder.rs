//! [`EngineBuilder`]: how an engine is set up.

use std::sync::Arc;
use std::time::Duration;

use super::LuaEngine;
use crate::api_registry::ApiRegistry;
use crate::error::{Failure, ScriptError};
use crate::modules::{self, Module};
use crate::pool::ConfigError;
use crate::vm::{IntoNativeFunction, MAX_SOURCE_SIZE, NameError, NativeFunction, ValueServer};

const MIB: usize = 1024 * 1024;

/// Sets up a [`LuaEngine`]. A builder can make any number of engines.
#[derive(Clone, Debug)]
#[must_use = "a builder makes no engine until `build` is called"]
pub struct EngineBuilder {
    pub(super) settings: Settings,
    pub(super) preludes: Vec<(Arc<str>, String)>,
    pub(super) offer: Result<ApiRegistry, NameError>,
}

/// The numbers of an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) memory_limit: usize,
    pub(super) time_limit: Duration,
    pub(super) call_timeout: Option<Duration>,
    pub(super) max_source_size: usize,
    pub(super) output_limit: usize,
    pub(super) value_limit: usize,
    pub(super) seed: u64,
    pub(super) cached_chunks: usize,
}

impl Default for EngineBuilder {
    fn default() -> Self {
        Self {
            settings: Settings {
                memory_limit: 50 * MIB,
                time_limit: Duration::from_secs(1),
                call_timeout: None,
                max_source_size: MAX_SOURCE_SIZE,
                output_limit: MIB,
                value_limit: 16 * MIB,
                seed: 0,
                cached_chunks: 256,
            },
            preludes: Vec::new(),
            offer: Ok(ApiRegistry::default()),
        }
    }
}

impl EngineBuilder {
    /// Bytes that the engine may hold. Default 50 MiB; at least 1 MiB should be left to scripts.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.settings.memory_limit = bytes;
        self
    }

    /// CPU time that one call may take: to compile its source, if that isn't kept compiled, and to run. Time in
    /// which the system ran something else, or a host function waited, is not charged. A source that takes longer
    /// to compile fails without having run, and may run when it is called again, since it is kept compiled. Default 1 s.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.time_limit = limit;
        self
    }

    /// Time by the clock on the wall that one call may take, whatever it does. A host function isn't interrupted:
    /// the clock is looked at when it returns. Default: no limit, since a busy machine can make a good call late.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.settings.call_timeout = Some(timeout);
        self
    }

    /// Bytes that a source may have. It is compiled on the calling thread, and that can't be interrupted.
    /// Default and at most [`MAX_SOURCE_SIZE`].
    pub fn max_source_size(mut self, bytes: usize) -> Self {
        self.settings.max_source_size = bytes.min(MAX_SOURCE_SIZE);
        self
    }

    /// Bytes that one call may print, and that are kept until [`LuaEngine::take_output`]; of more, the
    /// oldest lines go. A line counts 64 bytes and its text. Default 1 MiB.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.settings.output_limit = bytes;
        self
    }

    /// Bytes that one value may have that goes into the host or comes out: an argument, a result, the
    /// whole of [`LuaEngine::state`]. All arguments of one call of a host function may have twice that together.
    /// Default 16 MiB.
    pub fn value_limit(mut self, bytes: usize) -> Self {
        self.settings.value_limit = bytes;
        self
    }

    /// Where the random numbers start, also after each [`LuaEngine::reset`]. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Sources that the engine keeps compiled, once for [`LuaEngine::evaluate`] and once for
    /// [`LuaEngine::run`]; together they may have 1 MiB of text each. Default 256.
    pub fn cached_chunks(mut self, sources: usize) -> Self {
        self.settings.cached_chunks = sources;
        self
    }

    /// Offers a function of the host; see [`LuaEngine::register_function`].
    pub fn function<M>(self, name: &str, function: impl IntoNativeFunction<M>) -> Self {
        let function = NativeFunction::new(name, function);
        self.offering(|offer| offer.add_function(function))
    }

    /// Offers live values of the host; see [`LuaEngine::register_server`].
    pub fn server(self, namespace: &str, server: impl ValueServer) -> Self {
        self.offering(|offer| offer.add_server(namespace, Arc::new(server)))
    }

    /// Offers a module.
    pub fn module(self, module: Module) -> Self {
        self.offering(|offer| offer.install(&module))
    }

    /// Offers several modules: `modules::all()`.
    pub fn modules(self, modules: impl IntoIterator<Item = Module>) -> Self {
        modules.into_iter().fold(self, Self::module)
    }

    /// Offers every module there is.
    pub fn all_modules(self) -> Self {
        self.modules(modules::all())
    }

    /// Runs a source when the engine is made and after each [`LuaEngine::reset`]; `name` appears in
    /// its errors.
    pub fn prelude(mut self, name: &str, source: &str) -> Self {
        self.preludes.push((name.into(), source.to_owned()));
        self
    }

    fn offering(mut self, add: impl FnOnce(&mut ApiRegistry) -> Result<(), NameError>) -> Self {
        self.offer = self.offer.and_then(|mut offer| add(&mut offer).map(|()| offer));
        self
    }

    /// Makes an engine.
    ///
    /// # Errors
    /// The first name that can't be used, a memory limit that is too small, or what a prelude raises.
    pub fn build(&self) -> Result<LuaEngine, EngineError> {
        LuaEngine::with(self)
    }
}

/// Why an engine, or a pool of VMs outside Bevy, can't be set up as asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A function, a server or a module has a name that can't be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is not enough memory, or Luau can't be set up.
    #[error("the engine can't be set up: {0}")]
    SetUp(#[from] ScriptError),
    /// The configuration of a pool is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A prelude failed.
    #[error("the prelude failed: {0}")]
    Prelude(Failure),
    /// A script failed that was run to set an engine up.
    #[error(transparent)]
    Script(#[from] Failure),
}
