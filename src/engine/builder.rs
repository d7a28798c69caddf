//! [`EngineBuilder`]: the settings of an engine, and what it offers to scripts.

use std::sync::Arc;
use std::time::Duration;

use crate::api_registry::ApiRegistry;
use crate::error::{Failure, ScriptError};
use crate::modules::{self, Module};
use crate::pool::ConfigError;
use crate::vm::{IntoNativeFunction, MAX_SOURCE_SIZE, NameError, NativeFunction, ValueServer};

const MIB: usize = 1024 * 1024;

/// Sets up a [`LuaEngine`](super::LuaEngine). A builder can make any number of engines.
#[derive(Clone, Debug)]
#[must_use = "a builder makes no engine until `build` is called"]
pub struct EngineBuilder {
    pub(super) settings: EngineSettings,
    pub(super) preludes: Vec<(Arc<str>, String)>,
    pub(super) offer: Result<ApiRegistry, NameError>,
}

/// The limits of an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct EngineSettings {
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
            settings: EngineSettings {
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
    /// Memory limit in bytes. Default: 50 MiB. Leave at least 1 MiB to scripts.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.settings.memory_limit = bytes;
        self
    }

    /// CPU time limit of a call: compiling its source, unless that is cached, and running it. Time in which the system
    /// ran something else, or a host function waited, does not count. A source that takes longer to compile fails
    /// without running; a second call finds it compiled. Default: 1 s.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.time_limit = limit;
        self
    }

    /// Wall-clock time limit of a call. A host function isn't interrupted: the clock is checked when it returns.
    /// Default: no limit, since a busy machine can make a good call late.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.settings.call_timeout = Some(timeout);
        self
    }

    /// Maximum size of a source in bytes. It is compiled on the calling thread, which can't be interrupted. Default and
    /// upper bound: [`MAX_SOURCE_SIZE`].
    pub fn max_source_size(mut self, bytes: usize) -> Self {
        self.settings.max_source_size = bytes.min(MAX_SOURCE_SIZE);
        self
    }

    /// Bytes of output that a call may print, and that are kept until
    /// [`LuaEngine::take_output`](super::LuaEngine::take_output); beyond that, the oldest lines are dropped. A line
    /// counts as 64 bytes and its text. Default: 1 MiB.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.settings.output_limit = bytes;
        self
    }

    /// Maximum size in bytes of a value that crosses between host and script: an argument, a result, the whole of
    /// [`LuaEngine::state`](super::LuaEngine::state). All arguments of one call of a host function may have twice that
    /// together. Default: 16 MiB.
    pub fn value_limit(mut self, bytes: usize) -> Self {
        self.settings.value_limit = bytes;
        self
    }

    /// The seed of random numbers, also after each [`LuaEngine::reset`](super::LuaEngine::reset). Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// The number of compiled sources that are cached, for [`LuaEngine::evaluate`](super::LuaEngine::evaluate) and for
    /// [`LuaEngine::run`](super::LuaEngine::run) each, with at most 1 MiB of text each. Default: 256.
    pub fn cached_chunks(mut self, sources: usize) -> Self {
        self.settings.cached_chunks = sources;
        self
    }

    /// Registers a host function; see [`LuaEngine::register_function`](super::LuaEngine::register_function).
    pub fn function<M>(self, name: &str, function: impl IntoNativeFunction<M>) -> Self {
        let function = NativeFunction::new(name, function);
        self.offering(|offer| offer.add_function(function))
    }

    /// Registers a server of live values; see [`LuaEngine::register_server`](super::LuaEngine::register_server).
    pub fn server(self, namespace: &str, server: impl ValueServer) -> Self {
        self.offering(|offer| offer.add_server(namespace, Arc::new(server)))
    }

    /// Installs a module.
    pub fn module(self, module: Module) -> Self {
        self.offering(|offer| offer.install(&module))
    }

    /// Installs several modules: `modules::all()`.
    pub fn modules(self, modules: impl IntoIterator<Item = Module>) -> Self {
        modules.into_iter().fold(self, Self::module)
    }

    /// Installs all built-in modules.
    pub fn all_modules(self) -> Self {
        self.modules(modules::all())
    }

    /// Runs a source when the engine is made and after each [`LuaEngine::reset`](super::LuaEngine::reset); `name` is its
    /// name in errors.
    pub fn prelude(mut self, name: &str, source: &str) -> Self {
        self.preludes.push((name.into(), source.to_owned()));
        self
    }

    fn offering(mut self, add: impl FnOnce(&mut ApiRegistry) -> Result<(), NameError>) -> Self {
        self.offer = self.offer.and_then(|mut offer| add(&mut offer).map(|()| offer));
        self
    }
}

/// Why an engine, or a pool of VMs outside Bevy, can't be set up.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A function, a server or a module has a name that can't be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is not enough memory, or Luau can't be set up.
    #[error("the engine can't be set up: {0}")]
    SetUp(#[from] ScriptError),
    /// The configuration of a pool is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A prelude failed.
    #[error("the prelude failed: {0}")]
    Prelude(Failure),
    /// A script that was run to set up an engine failed.
    #[error(transparent)]
    Script(#[from] Failure),
}
