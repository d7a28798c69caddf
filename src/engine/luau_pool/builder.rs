//! [`LuauPoolBuilder`]: the set-up of a pool.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use super::LuauPool;
use super::programs::ProgramCache;
use crate::api_registry::ApiRegistry;
use crate::config::LuaPoolConfig;
use crate::engine::builder::EngineError;
use crate::modules::Module;
use crate::pool::PoolConfig;
use crate::vm::{
    ConfiguredPool, IntoNativeFunction, MAX_SOURCE_SIZE, NameError, NativeFunction, ValueServer,
};

impl LuauPool {
    /// Starts the set-up of a pool: its sizes and limits, and what it offers to scripts.
    pub fn builder() -> LuauPoolBuilder {
        LuauPoolBuilder::default()
    }

    /// The default configuration. It differs from [`LuaPoolConfig::default`], which is for the frame of a game: a run may
    /// take 1 s of CPU time, hold 32 MiB in a VM of 64 MiB, log 1000 lines, and return values of 1 MiB; a call waits up
    /// to 1 s for a VM.
    ///
    /// ```
    /// use bevy_lua_pool::LuauPool;
    ///
    /// let pool = LuauPool::builder()
    ///     .configure(|config| config.pool.max_size = 4)
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn default_config() -> LuaPoolConfig {
        const MIB: usize = 1024 * 1024;
        LuaPoolConfig {
            pool: PoolConfig {
                acquire_timeout: Duration::from_secs(1),
                memory_limit: 64 * MIB,
                ..PoolConfig::default()
            },
            run_time_limit: Duration::from_secs(1),
            max_log_lines: 1000,
            max_value_size: MIB,
            ..LuaPoolConfig::default()
        }
    }
}

/// Sets up a [`LuauPool`].
#[derive(Debug)]
#[must_use = "a builder makes no pool until `build` is called"]
pub struct LuauPoolBuilder {
    config: LuaPoolConfig,
    seed: u64,
    max_source_size: usize,
    call_timeout: Option<Duration>,
    offer: Result<ApiRegistry, NameError>,
}

impl Default for LuauPoolBuilder {
    fn default() -> Self {
        Self {
            config: LuauPool::default_config(),
            seed: 0,
            max_source_size: MAX_SOURCE_SIZE,
            call_timeout: None,
            offer: Ok(ApiRegistry::default()),
        }
    }
}

impl LuauPoolBuilder {
    /// Sizes and limits. Default: [`LuauPool::default_config`].
    pub fn config(mut self, config: LuaPoolConfig) -> Self {
        self.config = config;
        self
    }

    /// Changes some sizes and limits: `configure(|config| config.pool.max_size = 4)`.
    pub fn configure(mut self, change: impl FnOnce(&mut LuaPoolConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// The seed of the random numbers of every run. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Maximum size of a source in bytes. It is compiled on the calling thread, which can't be interrupted. Default and
    /// upper bound: [`MAX_SOURCE_SIZE`].
    pub fn max_source_size(mut self, bytes: usize) -> Self {
        self.max_source_size = bytes.min(MAX_SOURCE_SIZE);
        self
    }

    /// Wall-clock time limit of a call, including the wait for a VM; see [`LuauPool::execute_within`]. Default: no limit,
    /// since a busy machine can make a good call late.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// Registers a host function; see [`LuauPool::register_function`].
    pub fn function<M>(self, name: &str, function: impl IntoNativeFunction<M>) -> Self {
        let function = NativeFunction::new(name, function);
        self.offering(|offer| offer.add_function(function))
    }

    /// Registers a server of live values.
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

    fn offering(mut self, add: impl FnOnce(&mut ApiRegistry) -> Result<(), NameError>) -> Self {
        self.offer = self.offer.and_then(|mut offer| add(&mut offer).map(|()| offer));
        self
    }

    /// Makes the pool. VMs are built when they are needed.
    ///
    /// # Errors
    /// The first name that can't be used, or an invalid configuration.
    pub fn build(self) -> Result<LuauPool, EngineError> {
        let offer = self.offer?;
        Ok(LuauPool {
            vms: ConfiguredPool::new(Arc::clone(offer.api()), self.config)?,
            offer: RwLock::new(Arc::new(offer)),
            programs: ProgramCache::new(self.max_source_size),
            call_timeout: self.call_timeout,
            seed: self.seed,
            calls: Arc::default(),
        })
    }
}
