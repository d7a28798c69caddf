//! [`LuauPool`]: a pool of VMs outside Bevy that runs whole sources.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bevy::log::{error, info, warn};

use super::EngineError;
use super::cache::{CacheBounds, SourceCache};
use super::host::Outside;
use super::offer::Offer;
use crate::error::{Failure, ScriptError};
use crate::modules::Module;
use crate::pool::{ConfigError, DestroyReason, Lease, PoolConfig, PoolError, VmPool};
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::{
    IntoNativeFunction, LogLevel, LuauFactory, LuauResetter, NameError, NativeFunction, Program,
    RunLimits, ValueServer, Vm,
};

/// What errors call a source that has no name.
const NAME: &str = "execute";

/// What a pool keeps compiled: 1024 sources with 4 MiB of text at most.
const CACHED: CacheBounds = CacheBounds { entries: 1024, bytes: 4 * 1024 * 1024 };

/// A pool of Luau VMs without a Bevy app: [`LuauPool::execute`] leases one, runs a source on it, wiped
/// clean, and gives the value back. To be shared by many threads.
///
/// ```
/// use bevy_lua_pool::LuauPool;
///
/// let pool = LuauPool::builder().function("double", |x: f64| 2.0 * x).build()?;
/// assert_eq!(pool.execute("double(params.x)", [("x", 21.0)])?, 42.0.into());
/// assert_eq!(pool.execute("params.x", [("y", 1.0)])?, Default::default());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// No thread of its own: call [`VmPool::maintain`] on [`LuauPool::vms`] now and then, so that VMs
/// that are not needed go.
pub struct LuauPool {
    vms: VmPool<Vm>,
    factory: LuauFactory,
    offer: RwLock<Arc<Offer>>,
    programs: Mutex<SourceCache<Arc<Program>>>,
    seed: u64,
}

impl LuauPool {
    /// Sets sizes and limits, and what is offered.
    pub fn builder() -> LuauPoolBuilder {
        LuauPoolBuilder::default()
    }

    /// The pool itself: leases, figures, maintenance.
    #[must_use]
    pub fn vms(&self) -> &VmPool<Vm> {
        &self.vms
    }

    /// Puts another configuration in force: sizes, limits, the sandbox. Every run that begins after this
    /// call has it. The same as [`VmPool::set_config`] of [`LuauPool::vms`].
    ///
    /// # Errors
    /// If it is not valid; then nothing has changed.
    pub fn set_config(&self, config: PoolConfig) -> Result<(), ConfigError> {
        self.vms.set_config(config)
    }

    /// Runs an expression, or a whole source with `return`, for the first value that it returns.
    /// `params` is a global of that name. What the run prints goes to `tracing`.
    ///
    /// Nothing of a run remains: each starts from the same pristine state, its random numbers from the
    /// pool's seed, so the same source with the same `params` gives the same value. Up to 1024 sources
    /// with 4 MiB of text are kept compiled.
    ///
    /// # Errors
    /// If there is no VM in time, or as the script fails.
    #[track_caller]
    pub fn execute(
        &self,
        source: &str,
        params: impl Into<ScriptTable>,
    ) -> Result<ScriptValue, ExecuteError> {
        let program = self.program(None, source)?;
        self.execute_program(&program, params.into())
    }

    /// As [`LuauPool::execute`]; `name` is what errors, log lines and [`VmInfo`](crate::VmInfo) call the
    /// source, such as `rules/tax.luau`. If [`SandboxConfig::scripts`](crate::SandboxConfig::scripts) has
    /// a rule for it, that holds.
    ///
    /// # Errors
    /// As [`LuauPool::execute`].
    #[track_caller]
    pub fn execute_named(
        &self,
        name: &str,
        source: &str,
        params: impl Into<ScriptTable>,
    ) -> Result<ScriptValue, ExecuteError> {
        let program = self.program(Some(name), source)?;
        self.execute_program(&program, params.into())
    }

    #[track_caller]
    fn execute_program(
        &self,
        program: &Program,
        params: ScriptTable,
    ) -> Result<ScriptValue, ExecuteError> {
        let mut lease = self.vms.acquire()?;
        let used = lease.runs() > 0;
        let mut result = self.run_on(&mut lease, program, &params);
        let out_of_memory = |result: &Result<_, Failure>| {
            matches!(result, Err(Failure { error: ScriptError::OutOfMemory { .. }, .. }))
        };
        // What earlier runs left to be collected must not decide the verdict.
        if used && out_of_memory(&result) {
            lease = Lease::renew(lease, DestroyReason::Spent)?;
            result = self.run_on(&mut lease, program, &params);
        }
        if lease.is_spent() {
            Lease::discard(lease, DestroyReason::Discarded);
        }
        Ok(result?)
    }

    fn run_on(
        &self,
        vm: &mut Vm,
        program: &Program,
        params: &ScriptTable,
    ) -> Result<ScriptValue, Failure> {
        // Now that the VM is there: it never offers more than what is offered now.
        let offer = Arc::clone(&self.offer.read().unwrap_or_else(PoisonError::into_inner));
        let config = self.vms.config_in_force();
        let name = program.name();
        let mut lines = 0;
        let log = |level, text: String, line: Option<u32>| {
            if lines == config.max_log_lines {
                let (what, limit) = ("log lines", lines);
                return Err(ScriptError::TooMuch { what, limit, setting: "max_log_lines" });
            }
            lines += 1;
            let line = line.unwrap_or_default();
            match level {
                LogLevel::Info => info!("{name}:{line}: {text}"),
                LogLevel::Warn => warn!("{name}:{line}: {text}"),
                LogLevel::Error => error!("{name}:{line}: {text}"),
            }
            Ok(())
        };
        let limits = RunLimits::of_script(&config, name);
        vm.evaluate(program, params, self.seed, &mut Outside::new(&offer, log), &limits)
    }

    fn program(&self, name: Option<&str>, source: &str) -> Result<Arc<Program>, Failure> {
        let programs = || self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        // No source that compiles has a NUL byte, so no two of these are the same.
        let key = name.map(|name| format!("\0{name}\0{source}"));
        let key = key.as_deref().unwrap_or(source);
        if let Some(program) = programs().get(key) {
            return Ok(Arc::clone(program));
        }
        let program = Program::compile_expression(name.unwrap_or(NAME), source)
            .map_err(|error| Failure::new(&name.unwrap_or(NAME).into(), error))?;
        let program = match name {
            Some(_) => program,
            None => program.titled_after(source),
        };
        let program = Arc::new(program);
        programs().put(key, Arc::clone(&program));
        Ok(program)
    }

    /// Offers a function of the host to every run that begins from now on. VMs are replaced.
    ///
    /// # Errors
    /// If the name is no Lua name, or taken.
    pub fn register_function<M>(
        &self,
        name: &str,
        function: impl IntoNativeFunction<M>,
    ) -> Result<(), NameError> {
        let function = NativeFunction::new(name, function);
        self.offering(|offer| offer.add_function(function))
    }

    /// Offers live values of the host to every run that begins from now on. VMs are replaced.
    ///
    /// # Errors
    /// If the name is no Lua name, or taken.
    pub fn register_server(
        &self,
        namespace: &str,
        server: impl ValueServer,
    ) -> Result<(), NameError> {
        self.offering(|offer| offer.add_server(namespace, Arc::new(server)))
    }

    /// Offers a module to every run that begins from now on. VMs are replaced.
    ///
    /// # Errors
    /// If one of its names is taken; then nothing of it is offered.
    pub fn install(&self, module: &Module) -> Result<(), NameError> {
        self.offering(|offer| offer.install(module))
    }

    /// Takes a function or a value server away from every run that begins from now on. Gives whether
    /// there was one.
    pub fn unregister(&self, name: &str) -> bool {
        let mut current = self.offer.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut current).remove(name)
    }

    fn offering(
        &self,
        add: impl FnOnce(&mut Offer) -> Result<(), NameError>,
    ) -> Result<(), NameError> {
        {
            let mut current = self.offer.write().unwrap_or_else(PoisonError::into_inner);
            // A copy only if a run has it: that sees nothing of this.
            let offer = Arc::make_mut(&mut current);
            self.factory.replace_api(|| {
                let added = add(offer);
                (Arc::clone(offer.api()), added)
            })?;
        }
        self.vms.evict_all();
        Ok(())
    }
}

impl fmt::Debug for LuauPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuauPool").field("vms", &self.vms).finish_non_exhaustive()
    }
}

/// Sets up a [`LuauPool`].
#[derive(Debug)]
#[must_use = "a builder makes no pool until `build` is called"]
pub struct LuauPoolBuilder {
    config: PoolConfig,
    seed: u64,
    offer: Result<Offer, NameError>,
}

impl Default for LuauPoolBuilder {
    fn default() -> Self {
        Self { config: PoolConfig::default(), seed: 0, offer: Ok(Offer::default()) }
    }
}

impl LuauPoolBuilder {
    /// Sizes and limits. Default: [`PoolConfig::default`].
    pub fn config(mut self, config: PoolConfig) -> Self {
        self.config = config;
        self
    }

    /// Where the random numbers of each run start. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Offers a function of the host.
    pub fn function<M>(self, name: &str, function: impl IntoNativeFunction<M>) -> Self {
        let function = NativeFunction::new(name, function);
        self.offering(|offer| offer.add_function(function))
    }

    /// Offers live values of the host.
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

    fn offering(mut self, add: impl FnOnce(&mut Offer) -> Result<(), NameError>) -> Self {
        self.offer = self.offer.and_then(|mut offer| add(&mut offer).map(|()| offer));
        self
    }

    /// Makes the pool; VMs are made as they are needed.
    ///
    /// # Errors
    /// The first name that can't be used, or a configuration that is not valid.
    pub fn build(self) -> Result<LuauPool, EngineError> {
        let offer = self.offer?;
        let factory = LuauFactory::new(Arc::clone(offer.api()), self.config.memory_limit);
        factory.set_sandbox(&self.config.sandbox);
        Ok(LuauPool {
            vms: VmPool::new(self.config, factory.clone(), LuauResetter)?,
            factory,
            offer: RwLock::new(Arc::new(offer)),
            programs: Mutex::new(SourceCache::new(CACHED)),
            seed: self.seed,
        })
    }
}

/// Why [`LuauPool::execute`] gives no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// There was no VM.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The script failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}
