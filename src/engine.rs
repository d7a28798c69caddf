//! [`LuaEngine`]: a VM of your own, for as long as you like.
//!
//! Entity scripts share pooled VMs and start afresh each time. An engine is the opposite: globals,
//! functions and tables stay until you say otherwise, so it is what a console, a level editor, an
//! interactive fiction or a user of a server wants. It needs no Bevy `App`.
//!
//! ```
//! use bevy_lua_pool::{LuaEngine, ScriptValue};
//!
//! let mut engine = LuaEngine::new()?;
//! engine.run("function area(w, h) return w * h end; count = 0")?;
//! assert_eq!(engine.call("area", (3, 4))?, 12.0.into());
//! engine.run("count += 1")?;
//! assert_eq!(engine.evaluate("count")?, 1.0.into());
//!
//! engine.reset()?;
//! assert_eq!(engine.evaluate("count")?, ScriptValue::Nil);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it can't do
//!
//! An engine is sandboxed and bounded as pooled VMs are: no files, no network, no bytecode; a limit of
//! memory, of time per call, of output. Time is CPU time, and compiling a source is a part of the call (see
//! [limits of time](crate#limits-of-time)); [`EngineBuilder::call_timeout`] bounds a call by the clock on the wall,
//! and [`LuaEngine::interrupter`] ends one from another thread. What a script can reach beyond Luau's libraries is what you
//! register: functions, [value servers](crate::vm::ValueServer), [modules].
//!
//! Unlike an entity's run, a call is not atomic: what it changed before it failed or timed out stays
//! changed. After running out of memory the garbage is collected and the engine goes on; if what its
//! globals hold is too much, every error says so, and [`LuaEngine::reset`] helps.
//!
//! # Many of them
//!
//! Engines are `Send`: use each on any thread, one at a time. [`EngineSet`] keeps one for each user under
//! one total of memory. [`LuauPool`] is for runs that need no state: it lends pooled VMs, wiped clean.

mod answers;
mod builder;
mod cache;
mod execution;
mod host;
mod interrupter;
mod output;
mod pool;
mod set;
mod stats;

pub use self::builder::{EngineBuilder, EngineError};
pub use self::execution::{Executed, Execution};
pub use self::interrupter::Interrupter;
pub use self::output::OutputLine;
pub use self::pool::{ExecuteError, LuauPool, LuauPoolBuilder};
pub use self::set::{EngineSet, EngineSetConfig, EngineSetError, EngineSetStats, Evicted};
pub use self::stats::{CoroutineInfo, CoroutineStatus, EngineStats, Resumed};

use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use serde::de::DeserializeOwned;

use self::cache::{CacheBounds, SourceCache};
use self::host::EngineHost;
use self::output::Output;
use crate::api_registry::ApiRegistry;
use crate::error::{Failure, ScriptError};
use crate::modules::{self, Module};
use crate::pool::TimingHistogram;
use crate::value::{
    IntoScript, IntoScriptArgs, ScriptTable, ScriptValue, ScriptValues, from_value,
};
use crate::vm::{
    CallBounds, IntoNativeFunction, LoadedChunk, NativeFunction, Performed, Results, Session,
    SessionLimits, Task, ValueServer, WallDeadline,
};

/// What [`LuaEngine::run`] and [`LuaEngine::evaluate`] call a source in errors.
const CHUNK: &str = "chunk";

/// Bytes of source text that each of an engine's caches keeps compiled.
const CACHED_BYTES: usize = 1024 * 1024;

/// CPU time that there is at least to look at the state of an engine that goes. What is bounded by `value_limit` takes
/// less.
const LAST_STATE_TIME: Duration = Duration::from_secs(10);

/// A Luau VM of your own: everything persists until [`LuaEngine::reset`].
///
/// See the [module](crate::engine) for an example.
#[derive(Debug)]
pub struct LuaEngine {
    core: Core,
    expressions: SourceCache<LoadedChunk>,
    chunks: SourceCache<LoadedChunk>,
    preludes: Vec<LoadedChunk>,
    chunk_name: Arc<str>,
    seed: u64,
    resets: u64,
}

/// All that doing something takes, apart from what is compiled.
#[derive(Debug)]
struct Core {
    session: Session,
    offer: ApiRegistry,
    output: Output,
    limits: SessionLimits,
    call_timeout: Option<Duration>,
    max_source_size: usize,
    calls: u64,
    failures: u64,
    timeouts: u64,
    call_time: TimingHistogram,
}

impl LuaEngine {
    /// An engine with the default limits and nothing registered.
    ///
    /// # Errors
    /// [`EngineError::SetUp`] if Luau can't be set up.
    pub fn new() -> Result<Self, EngineError> {
        Self::builder().build()
    }

    /// Sets limits, and what is offered.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    fn with(builder: &EngineBuilder) -> Result<Self, EngineError> {
        let settings = builder.settings;
        let offer = builder.offer.clone()?;
        let bounds = CacheBounds { entries: settings.cached_chunks, bytes: CACHED_BYTES };
        let core = Core {
            session: Session::new(offer.api(), settings.memory_limit)?,
            offer,
            output: Output::new(settings.output_limit),
            limits: SessionLimits {
                time: settings.time_limit,
                value_size: settings.value_limit,
                call: CallBounds::default(),
            },
            call_timeout: settings.call_timeout,
            max_source_size: settings.max_source_size,
            calls: 0,
            failures: 0,
            timeouts: 0,
            call_time: TimingHistogram::new(),
        };
        let mut engine = Self {
            core,
            expressions: SourceCache::new(bounds),
            chunks: SourceCache::new(bounds),
            preludes: Vec::with_capacity(builder.preludes.len()),
            chunk_name: CHUNK.into(),
            seed: settings.seed,
            resets: 0,
        };
        engine.core.session.seed(engine.seed);
        for (name, source) in &builder.preludes {
            engine.core.begin();
            let prelude = engine.core.load(name, source).map_err(EngineError::Prelude)?;
            let run = engine.core.perform(Task::Run(&prelude, Results::Ignored));
            run.map_err(EngineError::Prelude)?;
            engine.preludes.push(prelude);
        }
        Ok(engine)
    }

    /// Runs a source. What it defines stays.
    ///
    /// # Errors
    /// What the script raises, or the limit that it met, with script, line and call stack. What it
    /// changed before that stays changed.
    pub fn run(&mut self, source: &str) -> Result<(), Failure> {
        let name = Arc::clone(&self.chunk_name);
        self.run_chunk(&name, source)
    }

    /// As [`LuaEngine::run`]; `name` is what errors call the source: `levels/one.luau`.
    ///
    /// # Errors
    /// As [`LuaEngine::run`].
    pub fn run_named(&mut self, name: &str, source: &str) -> Result<(), Failure> {
        self.run_chunk(&name.into(), source)
    }

    fn run_chunk(&mut self, name: &Arc<str>, source: &str) -> Result<(), Failure> {
        self.core.begin();
        let loaded;
        let chunk = match self.chunks.get(source) {
            Some(chunk) if chunk.name() == name => chunk,
            _ => {
                loaded = self.core.counted(|core| core.load(name, source))?;
                self.chunks.put(source, loaded.clone(), 0);
                &loaded
            }
        };
        let result = self.core.call(Task::Run(chunk, Results::Ignored));
        self.make_room(result).map(|_| ())
    }

    /// Evaluates an expression such as `1 + 1`, or a source with `return`. Gives the first value.
    ///
    /// # Errors
    /// As [`LuaEngine::run`]; also if the value is not plain data.
    pub fn evaluate(&mut self, source: &str) -> Result<ScriptValue, Failure> {
        self.evaluate_for(source, Results::First).map(ScriptValues::into_first)
    }

    /// As [`LuaEngine::evaluate`], for all values: `string.find(text, 'key')` gives two.
    ///
    /// # Errors
    /// As [`LuaEngine::evaluate`]; together they may have as many bytes as one.
    pub fn evaluate_all(&mut self, source: &str) -> Result<ScriptValues, Failure> {
        self.evaluate_for(source, Results::All)
    }

    fn evaluate_for(&mut self, source: &str, results: Results) -> Result<ScriptValues, Failure> {
        self.core.begin();
        let loaded;
        let chunk = match self.expressions.get(source) {
            Some(chunk) => chunk,
            None => {
                let name = &self.chunk_name;
                loaded = self.core.counted(|core| core.load_expression(name, source))?;
                self.expressions.put(source, loaded.clone(), 0);
                &loaded
            }
        };
        let result = self.core.call(Task::Run(chunk, results));
        self.make_room(result).map(|done| done.values)
    }

    /// As [`LuaEngine::evaluate`], into any type that serde can deserialize.
    ///
    /// # Errors
    /// As [`LuaEngine::evaluate`]; also if the value doesn't fit the type.
    pub fn evaluate_as<T: DeserializeOwned>(&mut self, source: &str) -> Result<T, Failure> {
        let value = self.evaluate(source)?;
        from_value(value).map_err(|error| Failure::new(&self.chunk_name, error))
    }

    /// Calls a function that scripts defined, or a built-in: `tick`, `game.rules.score`. Gives the
    /// first value that it returns.
    ///
    /// # Errors
    /// As [`LuaEngine::run`]; also if there is no such function, or an argument or the result is not
    /// plain data.
    pub fn call(&mut self, name: &str, args: impl IntoScriptArgs) -> Result<ScriptValue, Failure> {
        self.call_for(name, args, Results::First).map(ScriptValues::into_first)
    }

    /// As [`LuaEngine::call`], for all values that the function returns.
    ///
    /// # Errors
    /// As [`LuaEngine::call`]; together they may have as many bytes as one.
    pub fn call_all(
        &mut self,
        name: &str,
        args: impl IntoScriptArgs,
    ) -> Result<ScriptValues, Failure> {
        self.call_for(name, args, Results::All)
    }

    fn call_for(
        &mut self,
        name: &str,
        args: impl IntoScriptArgs,
        results: Results,
    ) -> Result<ScriptValues, Failure> {
        self.core.begin();
        let args = self.core.arguments(name, args)?;
        let result = self.core.call(Task::Call(name, &args, results));
        self.make_room(result).map(|done| done.values)
    }

    /// As [`LuaEngine::call`], into any type that serde can deserialize.
    ///
    /// # Errors
    /// As [`LuaEngine::call`]; also if the value doesn't fit the type.
    pub fn call_as<T: DeserializeOwned>(
        &mut self,
        name: &str,
        args: impl IntoScriptArgs,
    ) -> Result<T, Failure> {
        let value = self.call(name, args)?;
        from_value(value).map_err(|error| Failure::new(&name.into(), error))
    }

    /// Reads a global, or what lies in one: `score`, `player.items`. What is not there is
    /// [`ScriptValue::Nil`].
    ///
    /// # Errors
    /// If it is not plain data, or something on the way has no fields.
    pub fn get(&mut self, name: &str) -> Result<ScriptValue, Failure> {
        self.core.begin();
        self.core.perform(Task::Get(name)).map(|done| done.values.into_first())
    }

    /// Writes a global, or a field of a table in one.
    ///
    /// # Errors
    /// If something on the way has no fields, or can't be written; or if Lua can't hold the value exactly.
    pub fn set(&mut self, name: &str, value: impl IntoScript) -> Result<(), Failure> {
        self.core.begin();
        let value = value.into_script().map_err(|error| Failure::new(&name.into(), error))?;
        self.core.perform(Task::Set(name, &value)).map(|_| ())
    }

    /// All globals that are plain data, such as to save them. Functions, and tables that hold any, are
    /// left out.
    ///
    /// # Errors
    /// If they are larger than the engine's `value_limit`, or to look at them takes longer than its `time_limit`.
    pub fn state(&mut self) -> Result<ScriptTable, Failure> {
        self.core.begin();
        self.core.read_state()
    }

    /// As [`LuaEngine::state`], of an engine that goes. Nobody waits for this call in particular, so neither the limits
    /// of time that are set for its calls nor what cancels them end it.
    fn into_state(mut self) -> Result<ScriptTable, Failure> {
        self.core.call_timeout = None;
        self.core.limits.time = self.core.limits.time.max(LAST_STATE_TIME);
        self.core.begin();
        self.core.limits.call.uncancelled = true;
        self.core.read_state()
    }

    /// Sets all globals in `state`; others stay as they are.
    ///
    /// # Errors
    /// If there is not enough memory; then some may have been set.
    pub fn restore(&mut self, state: &ScriptTable) -> Result<(), Failure> {
        self.core.begin();
        self.core.perform(Task::Restore(state)).map(|_| ())
    }

    /// Returns it to the state after set-up: no globals, no coroutines, no output, random numbers from
    /// the beginning, then the preludes. What was registered stays, and so do compiled sources.
    ///
    /// Takes a fraction of what making an engine takes; a large heap is collected.
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

    /// Offers a function of the host from now on. A dotted name makes tables: `game.damage`.
    ///
    /// # Errors
    /// [`EngineError::Name`] if the name is no Lua name, or taken.
    pub fn register_function<M>(
        &mut self,
        name: &str,
        function: impl IntoNativeFunction<M>,
    ) -> Result<(), EngineError> {
        let function = NativeFunction::new(name, function);
        self.core.offer(|offer| Ok(offer.add_function(function)?))
    }

    /// Offers a function of the host from now on, in place of the one of this name if there is one: whatever scripts
    /// kept of that calls the new one.
    ///
    /// # Errors
    /// [`EngineError::Name`] if the name is no Lua name, or that of something else.
    pub fn replace_function<M>(
        &mut self,
        name: &str,
        function: impl IntoNativeFunction<M>,
    ) -> Result<(), EngineError> {
        let function = NativeFunction::new(name, function);
        if self.core.offer.replace_function(&function) {
            return Ok(());
        }
        self.core.offer(|offer| Ok(offer.add_function(function)?))
    }

    /// Offers live values of the host from now on: what `server` has at `path.to.value` is what
    /// `namespace.path.to.value` gives, asked anew by each read.
    ///
    /// # Errors
    /// As [`LuaEngine::register_function`].
    pub fn register_server(
        &mut self,
        namespace: &str,
        server: impl ValueServer,
    ) -> Result<(), EngineError> {
        self.core.offer(|offer| Ok(offer.add_server(namespace, Arc::new(server))?))
    }

    /// Takes away a function or a value server. Scripts that use it, by whatever they kept of it, get an
    /// error that says so, until the name is registered again. Gives whether there was one.
    pub fn unregister(&mut self, name: &str) -> bool {
        self.core.offer.remove(name)
    }

    /// Offers a module from now on; nothing happens if it is offered already.
    ///
    /// # Errors
    /// [`EngineError::Name`] if one of its names is taken; then nothing of it is offered.
    pub fn install(&mut self, module: &Module) -> Result<(), EngineError> {
        self.core.offer(|offer| Ok(offer.install(module)?))
    }

    /// Offers every module there is.
    ///
    /// # Errors
    /// As [`LuaEngine::install`].
    pub fn install_all(&mut self) -> Result<(), EngineError> {
        modules::all().iter().try_for_each(|module| self.install(module))
    }

    /// The names of the modules that are offered, in the order in which they came.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.core.offer.modules()
    }

    /// What scripts printed and nobody has taken yet, the oldest first.
    pub fn output(&self) -> impl ExactSizeIterator<Item = &OutputLine> {
        self.core.output.lines()
    }

    /// What the last call printed, the oldest first, as far as nobody has taken it.
    pub fn last_output(&self) -> impl ExactSizeIterator<Item = &OutputLine> {
        self.core.output.last_lines()
    }

    /// Takes what scripts printed, the oldest first.
    pub fn take_output(&mut self) -> Vec<OutputLine> {
        self.core.output.take()
    }

    /// The coroutines that are not over, the oldest first. Collects garbage, so that there is none
    /// among them.
    #[must_use]
    pub fn coroutines(&self) -> Vec<CoroutineInfo> {
        self.core.session.collect_garbage();
        self.core.session.coroutines().into_iter().map(CoroutineInfo::from).collect()
    }

    /// Goes on with a coroutine, of which [`LuaEngine::coroutines`] gives the number. What it waits for, its
    /// `coroutine.yield`, gives `args`; if it hasn't started, its function is called with them.
    ///
    /// ```
    /// use bevy_lua_pool::engine::Resumed;
    /// use bevy_lua_pool::LuaEngine;
    ///
    /// let mut engine = LuaEngine::new()?;
    /// engine.run("talk = coroutine.create(function(name) return coroutine.yield('hello ' .. name) end)")?;
    /// let talk = engine.coroutines()[0].id;
    /// let waits = engine.resume_coroutine(talk, "you")?;
    /// assert_eq!(waits, Resumed::Yielded([ "hello you".into() ].into_iter().collect()));
    /// let over = engine.resume_coroutine(talk, (1, 2))?;
    /// assert_eq!(over.values()[..], [1.into(), 2.into()]);
    /// assert!(engine.coroutines().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`LuaEngine::run`]; [`ScriptError::NoCoroutine`] if it is over. If what it hands out isn't plain data it has
    /// gone on all the same.
    pub fn resume_coroutine(
        &mut self,
        id: u64,
        args: impl IntoScriptArgs,
    ) -> Result<Resumed, Failure> {
        self.core.begin();
        let args = self.core.arguments("coroutine", args)?;
        let result = self.core.call(Task::Resume(id, &args));
        self.make_room(result).map(|Performed { values, yielded }| match yielded {
            true => Resumed::Yielded(values),
            false => Resumed::Finished(values),
        })
    }

    /// Ends a coroutine where it stands; whoever resumes it finds it dead. Gives whether there was one
    /// that was not over.
    pub fn destroy_coroutine(&mut self, id: u64) -> bool {
        self.core.session.destroy_coroutine(id)
    }

    /// The figures at this moment.
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

    /// Bytes that it holds, garbage included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.core.session.used_memory()
    }

    /// Changes the CPU time that one call may take.
    pub fn set_time_limit(&mut self, limit: Duration) {
        self.core.limits.time = limit;
    }

    /// Changes the time by the clock on the wall that one call may take; `None` is no limit.
    pub fn set_call_timeout(&mut self, timeout: Option<Duration>) {
        self.core.call_timeout = timeout;
    }

    /// What ends the call that is under way, from any thread.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        let cancel = self.core.session.canceller();
        Interrupter::new(move || cancel())
    }

    /// Changes the bytes that it may hold. If it holds more already, the next call that needs any fails.
    pub fn set_memory_limit(&mut self, bytes: usize) {
        self.core.session.set_memory_limit(bytes);
    }

    /// Collects all garbage now; it is collected by itself as scripts run.
    pub fn collect_garbage(&mut self) {
        self.core.session.collect_garbage();
    }

    /// After running out of memory, what is compiled goes: it may be much.
    fn make_room<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(Failure { error: ScriptError::EngineOutOfMemory { .. }, .. }) = &result {
            self.expressions.clear();
            self.chunks.clear();
            self.core.session.collect_garbage();
        }
        result
    }
}

impl Core {
    /// A call begins.
    fn begin(&mut self) {
        self.session.begin_call();
        let wall = self.call_timeout.and_then(WallDeadline::within);
        self.limits.call = CallBounds { wall, ..CallBounds::default() };
    }

    fn load(&mut self, name: &Arc<str>, source: &str) -> Result<LoadedChunk, Failure> {
        let max_size = self.max_source_size;
        self.loading(name, |session| session.load(name, source, max_size))
    }

    /// Loads `source` as an expression if it is one, else as it stands.
    fn load_expression(&mut self, name: &Arc<str>, source: &str) -> Result<LoadedChunk, Failure> {
        let max_size = self.max_source_size;
        self.loading(name, |session| session.load_expression(name, source, max_size))
    }

    /// What it takes is a part of the call.
    fn loading(
        &mut self,
        name: &Arc<str>,
        load: impl FnOnce(&Session) -> Result<LoadedChunk, ScriptError>,
    ) -> Result<LoadedChunk, Failure> {
        let began = ThreadTime::now();
        let loaded = load(&self.session);
        self.limits.call.used += began.elapsed();
        loaded.map_err(|error| Failure::new(name, error))
    }

    /// Fails if what came before the run has left it no time.
    fn check_time(&self, task: Task<'_>) -> Result<(), Failure> {
        let SessionLimits { time: limit, call: CallBounds { used, wall, .. }, .. } = self.limits;
        let late = match wall {
            _ if used >= limit && !used.is_zero() => {
                ScriptError::TimedOut { limit, used, setting: "time_limit" }
            }
            Some(wall) if wall.has_passed() => wall.error(),
            _ => return Ok(()),
        };
        let name = match task {
            Task::Run(chunk, _) => Arc::clone(chunk.name()),
            _ => CHUNK.into(),
        };
        Err(Failure::new(&name, late))
    }

    /// Makes what comes before a call part of it if it fails.
    fn counted<T>(
        &mut self,
        prepare: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let result = prepare(self);
        if result.is_err() {
            self.calls += 1;
            self.failures += 1;
        }
        result
    }

    /// The arguments of a call.
    fn arguments(
        &mut self,
        name: &str,
        args: impl IntoScriptArgs,
    ) -> Result<Vec<ScriptValue>, Failure> {
        let failed = |error| Failure::new(&name.into(), error);
        self.counted(|_| args.into_script_args().map_err(failed))
    }

    fn call(&mut self, task: Task<'_>) -> Result<Performed, Failure> {
        let result = self.perform(task);
        self.calls += 1;
        self.call_time.record(self.session.last_time());
        if let Err(failure) = &result {
            self.failures += 1;
            self.timeouts += u64::from(matches!(failure.error, ScriptError::TimedOut { .. }));
        }
        result
    }

    fn perform(&mut self, task: Task<'_>) -> Result<Performed, Failure> {
        self.check_time(task)?;
        let output = &mut self.output;
        output.begin();
        let log = |level, text, line| output.write(level, text, line);
        self.session.perform(task, &mut EngineHost::new(&self.offer, log), &self.limits)
    }

    fn read_state(&mut self) -> Result<ScriptTable, Failure> {
        match self.perform(Task::State)?.values.into_first() {
            ScriptValue::Table(state) => Ok(state),
            _ => Ok(ScriptTable::default()),
        }
    }

    /// Changes what is offered, also in the living VM, or changes nothing.
    fn offer(
        &mut self,
        add: impl FnOnce(&mut ApiRegistry) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mark = self.offer.mark();
        add(&mut self.offer)?;
        self.session.extend(self.offer.api(), mark.api).map_err(|error| {
            self.offer.roll_back(mark);
            error.into()
        })
    }
}
