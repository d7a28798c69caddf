//! [`LuauPool`]: a pool of VMs outside Bevy that runs whole sources.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bevy::log::{error, info, warn};
use cpu_time::ThreadTime;
use serde::de::DeserializeOwned;

use super::cache::{CacheBounds, SourceCache};
use super::host::EngineHost;
use super::offer::Offer;
use super::{EngineError, Execution, Interrupter, OutputLine};
use crate::config::LuaPoolConfig;
use crate::error::{Failure, ScriptError};
use crate::escape::log_text;
use crate::modules::Module;
use crate::pool::{ConfigError, DestroyReason, Lease, PoolConfig, PoolError, VmPool};
use crate::value::{ScriptTable, ScriptValue, ScriptValues, from_value};
use crate::vm::{
    CallBounds, ConfiguredPool, Evaluation, IntoNativeFunction, LogLevel, MAX_SOURCE_SIZE,
    NameError, NativeFunction, Program, Results, RunLimits, ValueServer, Vm, WallDeadline,
};

/// What errors call a source that has no name.
const NAME: &str = "execute";

/// What a pool keeps compiled: 1024 sources at most, with 8 MiB of text and bytecode. A small text can stand for
/// much bytecode.
const CACHED: CacheBounds = CacheBounds { entries: 1024, bytes: 8 * 1024 * 1024 };

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
    vms: ConfiguredPool,
    offer: RwLock<Arc<Offer>>,
    programs: Mutex<SourceCache<Arc<Program>>>,
    max_source_size: usize,
    call_timeout: Option<Duration>,
    seed: u64,
    calls: Arc<Calls>,
}

/// The calls that are under way.
#[derive(Default)]
struct Calls {
    /// How often they were ended from outside.
    ended: AtomicU64,
    /// What ends each of those that have a VM, by its number.
    running: Mutex<Vec<(u64, Cancel)>>,
    next: AtomicU64,
}

/// Ends the call on one VM.
type Cancel = Arc<dyn Fn() + Send + Sync>;

/// A call that has a VM.
struct Running<'c>(&'c Calls, u64);

impl Calls {
    fn running(&self) -> MutexGuard<'_, Vec<(u64, Cancel)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// Ends all.
    fn end(&self) {
        let running = self.running();
        self.ended.fetch_add(1, Ordering::AcqRel);
        running.iter().for_each(|(_, cancel)| cancel());
    }

    /// A call that began when they had been ended so often has a VM now. `None` if it was ended meanwhile.
    fn begin(&self, began: u64, vm: &Vm) -> Option<Running<'_>> {
        let mut running = self.running();
        if self.ended() != began {
            return None;
        }
        vm.forget_cancelled();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        running.push((number, vm.canceller()));
        Some(Running(self, number))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running().retain(|(number, _)| *number != self.1);
    }
}

impl LuauPool {
    /// Sets sizes and limits, and what is offered.
    pub fn builder() -> LuauPoolBuilder {
        LuauPoolBuilder::default()
    }

    /// The configuration of a pool for which none is given. It isn't that of a game's frame, which is
    /// [`LuaPoolConfig::default`]: a run may take 1 s of CPU time, hold 32 MiB in a VM of 64 MiB, log 1000 lines, and
    /// return values of 1 MiB; a call waits for a VM for 1 s. All else is as there.
    ///
    /// ```
    /// use bevy_lua_pool::{LuaPoolConfig, LuauPool};
    ///
    /// let config = LuaPoolConfig { max_log_lines: 10, ..LuauPool::default_config() };
    /// let pool = LuauPool::builder().config(config).build()?;
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

    /// The pool itself: leases, figures, maintenance.
    #[must_use]
    pub fn vms(&self) -> &VmPool<Vm> {
        self.vms.vms()
    }

    /// A copy of the configuration in force.
    #[must_use]
    pub fn config(&self) -> LuaPoolConfig {
        LuaPoolConfig::clone(&self.vms.config())
    }

    /// Puts another configuration in force: sizes, limits, the sandbox. Every run that begins after this
    /// call has it. ([`VmPool::set_config`] of [`LuauPool::vms`] changes [`LuaPoolConfig::pool`] alone.)
    ///
    /// # Errors
    /// If it is not valid; then nothing has changed.
    pub fn set_config(&self, config: LuaPoolConfig) -> Result<(), ConfigError> {
        self.vms.set_config(config)
    }

    /// Runs an expression, or a whole source with `return`, for the first value that it returns.
    /// `params` is a global of that name; `()` stands for none. What the run prints goes to `tracing`:
    /// [`LuauPool::execution`] gives it to the caller instead, and all values that are returned.
    ///
    /// Nothing of a run remains: each starts from the same pristine state, its random numbers from the
    /// pool's seed, so the same source with the same `params` gives the same value. Up to 1024 sources
    /// are kept compiled, with 8 MiB of text and bytecode.
    ///
    /// The source is compiled on the calling thread, which can't be interrupted; what that takes counts towards
    /// `run_time_limit`. So the first call may fail with [`ScriptError::TimedOut`] for a source that takes long to
    /// compile, before any of it has run, and the next one, which finds it compiled, succeed. See
    /// [limits of time](crate#limits-of-time).
    ///
    /// A run that comes near its memory limit [begins once more](crate#what-is-not-the-same-everywhere), where that can
    /// be measured. A host function isn't called twice for that: the run hears again what it was told. Up to 1 MiB of
    /// arguments and results is kept for it; a run that has had more, or that calls something else the second time,
    /// fails at half of the limit. Live values are read anew.
    ///
    /// # Errors
    /// If there is no VM in time, or as the script fails.
    #[track_caller]
    pub fn execute(
        &self,
        source: &str,
        params: impl Into<ScriptTable>,
    ) -> Result<ScriptValue, ExecuteError> {
        self.first_value(&self.execution(source).params(params))
    }

    /// As [`LuauPool::execute`], into any type that serde can deserialize.
    ///
    /// ```
    /// use bevy_lua_pool::LuauPool;
    ///
    /// let pool = LuauPool::builder().build()?;
    /// let squares = pool.execute_as::<Vec<u32>>("local t = {} for i = 1, 3 do t[i] = i * i end return t", ())?;
    /// assert_eq!(squares, [1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`LuauPool::execute`]; also if the value doesn't fit the type.
    #[track_caller]
    pub fn execute_as<T: DeserializeOwned>(
        &self,
        source: &str,
        params: impl Into<ScriptTable>,
    ) -> Result<T, ExecuteError> {
        let value = self.execute(source, params)?;
        from_value(value).map_err(|error| Failure::new(&NAME.into(), error).into())
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
        self.first_value(&self.execution(source).named(name).params(params))
    }

    /// As [`LuauPool::execute`], but fails with [`ScriptError::Overdue`] if it isn't over within so much time by
    /// the clock on the wall, the waiting for a VM and its making included. A host function isn't interrupted: the clock is looked
    /// at when it returns.
    ///
    /// # Errors
    /// As [`LuauPool::execute`].
    #[track_caller]
    pub fn execute_within(
        &self,
        timeout: Duration,
        source: &str,
        params: impl Into<ScriptTable>,
    ) -> Result<ScriptValue, ExecuteError> {
        self.first_value(&self.execution(source).within(timeout).params(params))
    }

    /// A source to be run, for all values that it returns and all that it prints: see [`Execution`].
    pub fn execution<'e>(&'e self, source: &'e str) -> Execution<'e> {
        let timeout = self.call_timeout;
        Execution { pool: self, source, name: None, params: ScriptTable::default(), timeout }
    }

    /// What ends all calls that are under way, from any thread; those that wait for a VM, or for one to be made, too.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        let calls = Arc::clone(&self.calls);
        Interrupter::new(move || calls.end())
    }

    /// Runs a source for the first value that it returns, and tells `tracing` what it printed.
    #[track_caller]
    fn first_value(&self, execution: &Execution<'_>) -> Result<ScriptValue, ExecuteError> {
        let mut output = Vec::new();
        let result = execution.perform(Results::First, &mut output);
        let name = execution.name.unwrap_or(NAME);
        for OutputLine { level, text, line } in output {
            let line = line.unwrap_or_default();
            match level {
                LogLevel::Info => info!("{name}:{line}: {}", log_text(&text)),
                LogLevel::Warn => warn!("{name}:{line}: {}", log_text(&text)),
                LogLevel::Error => error!("{name}:{line}: {}", log_text(&text)),
            }
        }
        result.map(ScriptValues::into_first)
    }

    #[track_caller]
    pub(super) fn perform(
        &self,
        execution: &Execution<'_>,
        results: Results,
        wall: Option<WallDeadline>,
        output: &mut Vec<OutputLine>,
    ) -> Result<ScriptValues, ExecuteError> {
        let began = self.calls.ended();
        let (program, used) = self.program(execution.name, execution.source)?;
        let late = |error| Failure::new(program.name(), error);
        let config = self.vms.config();
        let limits = RunLimits::of_script(&config, program.name());
        if used >= limits.time {
            let (limit, setting) = (limits.time, "run_time_limit");
            return Err(late(ScriptError::TimedOut { limit, used, setting }).into());
        }
        let bounds = CallBounds { used, wall, ..CallBounds::default() };
        let overdue = || wall.filter(WallDeadline::has_passed);
        let acquired =
            self.vms().acquire_unless(|| self.calls.ended() != began || overdue().is_some());
        let mut lease = match (acquired, overdue()) {
            (Ok(lease), None) => lease,
            (Ok(_) | Err(PoolError::Interrupted { .. }), Some(wall)) => {
                return Err(late(wall.error()).into());
            }
            (Err(PoolError::Interrupted { .. }), None) => {
                return Err(late(ScriptError::Cancelled).into());
            }
            (Err(error), _) => return Err(error.into()),
        };
        let cancelled = || late(ScriptError::Cancelled);
        let running = self.calls.begin(began, &lease).ok_or_else(cancelled)?;
        let evaluation =
            Evaluation { program: &program, params: &execution.params, seed: self.seed, results };
        let result = self.run_on(&mut lease, evaluation, (&limits, bounds), output);
        drop(running);
        if lease.is_spent() {
            Lease::discard(lease, DestroyReason::Discarded);
        }
        Ok(result?)
    }

    fn run_on(
        &self,
        vm: &mut Vm,
        evaluation: Evaluation<'_>,
        (limits, bounds): (&RunLimits, CallBounds),
        output: &mut Vec<OutputLine>,
    ) -> Result<ScriptValues, Failure> {
        // Now that the VM is there: it never offers more than what is offered now.
        let offer = Arc::clone(&self.offer.read().unwrap_or_else(PoisonError::into_inner));
        let max_log_lines = self.vms.config().max_log_lines;
        // Some of it may be for nothing: the run may begin once more.
        let lines = RefCell::new(output);
        let log = |level, text: String, line: Option<u32>| {
            let mut lines = lines.borrow_mut();
            if lines.len() == max_log_lines {
                let (what, limit) = ("log lines", max_log_lines);
                return Err(ScriptError::TooMuch { what, limit, setting: "max_log_lines" });
            }
            lines.push(OutputLine { level, text: text.into(), line });
            Ok(())
        };
        let mut host = EngineHost::new(&offer, log).rewound_by(|| lines.borrow_mut().clear());
        let name = evaluation.program.name();
        let result = vm.evaluate_in(evaluation, &mut host, (limits, bounds));
        if host.has_strayed() {
            let (limit, used) = (limits.memory, limits.memory / 2);
            let error = ScriptError::OutOfMemory { limit, used, setting: "run_memory_limit" };
            return Err(Failure::new(name, error));
        }
        result
    }

    /// The program of a source, and the CPU time that it took to compile if that was done just now.
    fn program(
        &self,
        name: Option<&str>,
        source: &str,
    ) -> Result<(Arc<Program>, Duration), Failure> {
        let programs = || self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        // No source that compiles has a NUL byte. So none that is kept has, and no two of their keys are the same.
        let key = name.map(|name| format!("\0{name}\0{source}"));
        let key = key.as_deref().unwrap_or(source);
        if !source.contains('\0')
            && let Some(program) = programs().get(key)
        {
            return Ok((Arc::clone(program), Duration::ZERO));
        }
        let began = ThreadTime::now();
        let called = name.unwrap_or(NAME);
        let program = Program::compile_expression_of(called, source, self.max_source_size)
            .map_err(|error| Failure::new(&called.into(), error))?;
        let program = match name {
            Some(_) => program,
            None => program.titled_after(source),
        };
        let program = Arc::new(program);
        programs().put(key, Arc::clone(&program), program.size());
        Ok((program, began.elapsed()))
    }

    /// Offers a function of the host to every run that begins from now on. VMs are replaced. A run that
    /// [begins once more](LuauPool::execute) doesn't call it again for what it called it for before.
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

    /// Offers a function of the host to every run that begins from now on, in place of the one of this name if there
    /// is one; then no VM is replaced. Runs that are under way go on with the old one.
    ///
    /// # Errors
    /// If the name is no Lua name, or that of something else.
    pub fn replace_function<M>(
        &self,
        name: &str,
        function: impl IntoNativeFunction<M>,
    ) -> Result<(), NameError> {
        let function = NativeFunction::new(name, function);
        {
            let mut current = self.offer.write().unwrap_or_else(PoisonError::into_inner);
            if Arc::make_mut(&mut current).replace_function(&function) {
                return Ok(());
            }
        }
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
            self.vms.factory().replace_api(|| {
                let added = add(offer);
                (Arc::clone(offer.api()), added)
            })?;
        }
        self.vms().evict_all();
        Ok(())
    }
}

impl fmt::Debug for LuauPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuauPool").field("vms", self.vms()).finish_non_exhaustive()
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
    offer: Result<Offer, NameError>,
}

impl Default for LuauPoolBuilder {
    fn default() -> Self {
        Self {
            config: LuauPool::default_config(),
            seed: 0,
            max_source_size: MAX_SOURCE_SIZE,
            call_timeout: None,
            offer: Ok(Offer::default()),
        }
    }
}

impl LuauPoolBuilder {
    /// Sizes and limits. Default: [`LuauPool::default_config`].
    pub fn config(mut self, config: LuaPoolConfig) -> Self {
        self.config = config;
        self
    }

    /// Changes some of the sizes and limits: `configure(|config| config.pool.max_size = 4)`.
    pub fn configure(mut self, change: impl FnOnce(&mut LuaPoolConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Where the random numbers of each run start. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Bytes that a source may have. It is compiled on the calling thread, and that can't be interrupted.
    /// Default and at most [`MAX_SOURCE_SIZE`].
    pub fn max_source_size(mut self, bytes: usize) -> Self {
        self.max_source_size = bytes.min(MAX_SOURCE_SIZE);
        self
    }

    /// Time by the clock on the wall that one call may take, the waiting for a VM and its making included; see
    /// [`LuauPool::execute_within`]. Default: no limit, since a busy machine can make a good call late.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// Offers a function of the host; see [`LuauPool::register_function`].
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
        Ok(LuauPool {
            vms: ConfiguredPool::new(Arc::clone(offer.api()), self.config)?,
            offer: RwLock::new(Arc::new(offer)),
            programs: Mutex::new(SourceCache::new(CACHED)),
            max_source_size: self.max_source_size,
            call_timeout: self.call_timeout,
            seed: self.seed,
            calls: Arc::default(),
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
