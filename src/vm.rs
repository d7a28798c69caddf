//! One Luau VM: the one place that speaks mlua.
//!
//! A [`Vm`] runs callbacks of [`Program`]s, each run in an environment of its own, over libraries that
//! are frozen. A run starts from the file level, which is executed afresh; what it defines, changes or
//! captures is garbage when the run is over. That is how two runs can't see each other.
//!
//! The world is behind a [`Host`]; without one there is [`NoWorld`].

mod api;
mod check;
mod factory;
mod function;
mod host;
mod limits;
mod program;
mod random;
mod raw;
mod sandbox;

pub use self::api::{Api, NameError};
pub use self::factory::{LuauFactory, LuauResetter};
pub use self::function::{Caller, IntoNativeFunction, NativeFunction};
pub use self::host::{Field, FieldPath, Host, LogLevel, NoWorld, Place, Reading};
pub use self::program::{Callback, CallbackSet, MAX_SOURCE_SIZE, Program};
pub use self::random::RunRandom;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use bevy::platform::collections::HashMap;
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions};

use self::limits::{CpuClock, Deadline};
use crate::error::{Failure, ScriptError};
use crate::pool::PoolConfig;
use crate::value::{ScriptTable, ScriptValue};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("bevy_lua_pool needs a 64-bit target: entities are Luau light userdata");

#[cfg(panic = "abort")]
compile_error!(
    "bevy_lua_pool needs `panic = \"unwind\"`: Luau raises errors by C++ exceptions, which cross Rust \
     frames, and a panicking host function must fail one run, not the game"
);

/// Native stack that Luau may need: its C calls nest up to 200 deep.
pub(crate) const NATIVE_STACK: usize = 8 * 1024 * 1024;

/// Programs that a VM keeps loaded. When there are more, all are dropped and loaded again on demand.
const MAX_LOADED: usize = 512;

/// Garbage that a VM may carry from run to run, in bytes, before all of it is collected: so much of
/// its memory limit can be missing to a run.
const GARBAGE_SLACK: usize = 1024 * 1024;

/// What one run may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Wall time, less what the system spent on other threads.
    pub time: Duration,
    /// The most bytes that `self`, an argument or a result may have.
    pub value_size: usize,
}

impl From<&PoolConfig> for RunLimits {
    fn from(config: &PoolConfig) -> Self {
        Self { time: config.run_time_limit, value_size: config.max_value_size }
    }
}

/// One run: which callback, with what.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The function.
    pub callback: Callback,
    /// What becomes its `self`.
    pub state: &'a ScriptTable,
    /// What follows `self`.
    pub args: &'a [ScriptValue],
    /// Where its random numbers start.
    pub seed: u64,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The script does not define the callback; nothing ran but the file level.
    Missing,
    /// It returned, and this is its `self`.
    Done(ScriptTable),
    /// It failed.
    Failed(Failure),
}

/// A Luau VM that runs scripts one after another, each from the same pristine state.
#[derive(Debug)]
pub struct Vm {
    lua: Lua,
    refs: raw::Refs,
    loaded: HashMap<u64, Function>,
    resting_memory: usize,
    memory_limit: usize,
    runs: u64,
    last_program: Option<Arc<str>>,
    last_run_time: Duration,
    cpu: CpuClock,
    fingerprint: check::Fingerprint,
    /// Set from outside to end the current run and all later ones.
    stop: Arc<AtomicBool>,
    /// It met a hard limit or a panic: to be thrown away.
    spent: bool,
}

impl Vm {
    /// Makes a VM that offers `api` and may hold `memory_limit` bytes.
    ///
    /// # Errors
    /// [`ScriptError::Raised`] if Luau can't be set up, [`ScriptError::OutOfMemory`] if the limit is
    /// too small for that.
    pub fn new(api: &Api, memory_limit: usize) -> Result<Self, ScriptError> {
        set_fast_flags();
        let set_up = || -> mlua::Result<(Lua, raw::Refs, check::Fingerprint)> {
            let lua = Lua::new_with(sandbox::libraries(), LuaOptions::new())?;
            let builtins = sandbox::build(&lua, api)?;
            builtins.set_safeenv(true);
            let refs = raw::set_up(&lua, &builtins)?;
            let fingerprint = check::Fingerprint::take(&lua, &builtins)?;
            lua.gc_collect()?;
            lua.set_memory_limit(memory_limit)?;
            Ok((lua, refs, fingerprint))
        };
        let (lua, refs, fingerprint) =
            set_up().map_err(|error| ScriptError::Raised { message: error.to_string() })?;
        let resting_memory = lua.used_memory();
        if resting_memory + GARBAGE_SLACK / 4 > memory_limit {
            return Err(ScriptError::OutOfMemory { limit: memory_limit });
        }
        Ok(Self {
            lua,
            refs,
            loaded: HashMap::new(),
            resting_memory,
            memory_limit,
            runs: 0,
            last_program: None,
            last_run_time: Duration::ZERO,
            cpu: CpuClock::read(),
            fingerprint,
            stop: Arc::default(),
            spent: false,
        })
    }

    /// Runs one callback. Whatever happens, the next run starts from the same pristine state, unless
    /// [`Vm::is_spent`] says that there must be none.
    pub fn run(
        &mut self,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
    ) -> Outcome {
        self.runs += 1;
        if self.last_program.as_ref().is_none_or(|last| !Arc::ptr_eq(last, program.name())) {
            self.last_program = Some(Arc::clone(program.name()));
        }
        let outcome = with_native_stack(|| self.run_once(program, call, host, limits));
        self.tidy();
        outcome
    }

    fn run_once(
        &mut self,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
    ) -> Outcome {
        if let Err(error) = self.load(program) {
            return Outcome::Failed(Failure::new(program.name(), error));
        }
        let main = &self.loaded[&program.id()];
        self.cpu.before_run(self.last_run_time, limits.time);
        let start = Instant::now();
        let deadline = Deadline::new(start, limits.time, self.cpu, Arc::clone(&self.stop));
        let mut run = raw::Run::new(host, deadline, program, limits.value_size, &self.refs);
        let ended = raw::run_callback(&self.lua, &self.refs, program, main, call, &mut run);
        raw::forget_all(&self.lua, &self.refs, &run);

        let fail = |error, line, traceback| {
            Outcome::Failed(Failure { error, script: Arc::clone(program.name()), line, traceback })
        };
        self.last_run_time = start.elapsed();
        let timed_out = run.deadline.judge(self.last_run_time);
        let panicked = run.panicked().cloned();
        self.spent |= timed_out || panicked.is_some();
        match ended {
            raw::Ended::OutOfMemory => {
                self.spent = true;
                let limit = self.memory_limit;
                fail(ScriptError::OutOfMemory { limit }, None, String::new())
            }
            raw::Ended::Failed { error, line, frames } => {
                let timed_out = timed_out.then(|| run.deadline.error());
                fail(panicked.or(timed_out).unwrap_or(error), line, frames)
            }
            _ if panicked.is_some() || timed_out => {
                let error = panicked.unwrap_or_else(|| run.deadline.error());
                fail(error, None, String::new())
            }
            raw::Ended::Missing => Outcome::Missing,
            raw::Ended::Done(state) => Outcome::Done(state),
        }
    }

    /// Loads the main function of a program, against the built-ins alone.
    fn load(&mut self, program: &Program) -> Result<(), ScriptError> {
        if self.loaded.contains_key(&program.id()) {
            return Ok(());
        }
        if self.loaded.len() >= MAX_LOADED {
            self.loaded.clear();
        }
        let main = self
            .lua
            .load(program.bytecode())
            .set_mode(ChunkMode::Binary)
            .set_name(format!("@{}", program.name()))
            .into_function()
            .map_err(|error| {
                self.spent = true;
                match error {
                    mlua::Error::MemoryError(_) => {
                        ScriptError::OutOfMemory { limit: self.memory_limit }
                    }
                    error => ScriptError::Raised { message: error.to_string() },
                }
            })?;
        self.loaded.insert(program.id(), main);
        Ok(())
    }

    /// Collects the garbage of earlier runs when it would cut into the next one's memory.
    fn tidy(&mut self) {
        if self.lua.used_memory() <= self.resting_memory + GARBAGE_SLACK {
            return;
        }
        match self.lua.gc_collect() {
            // What is left is loaded programs.
            Ok(()) => {
                let used = self.lua.used_memory();
                if used > self.resting_memory + GARBAGE_SLACK / 2 {
                    self.loaded.clear();
                    self.spent |= self.lua.gc_collect().is_err();
                }
            }
            Err(_) => self.spent = true,
        }
    }

    /// Makes this VM be stopped by what stops the other one, so that it can take its place.
    pub(crate) fn in_place_of(self, other: &Self) -> Self {
        Self { stop: Arc::clone(&other.stop), ..self }
    }

    /// What ends the current run, and all later ones, from any thread: they fail with
    /// [`ScriptError::Interrupted`].
    #[must_use]
    pub fn interrupter(&self) -> Arc<dyn Fn() + Send + Sync> {
        let stop = Arc::clone(&self.stop);
        Arc::new(move || stop.store(true, Ordering::Relaxed))
    }

    /// Whether it met a hard limit or a panic, so that it must be thrown away.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Runs since it was made.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Wall time that the last run took.
    #[must_use]
    pub fn last_run_time(&self) -> Duration {
        self.last_run_time
    }

    /// The bytes that it holds.
    #[must_use]
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// The path of the script that ran last.
    #[must_use]
    pub fn last_program(&self) -> Option<&Arc<str>> {
        self.last_program.as_ref()
    }
}

/// Makes room on the native stack for what Luau may need, then calls `body`.
pub fn with_native_stack<R>(body: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(NATIVE_STACK / 2, NATIVE_STACK, body)
}

#[cfg(test)]
mod tests;

/// Turns on the fixes that stock mlua leaves off, once per process and before any VM or compiler.
fn set_fast_flags() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for flag in ["LuauTableArrayAdjustCheck", "LuauTableRobustOom", "LuauTableMoveTimeoutFix"] {
            // An error only means that this Luau no longer has the flag: the fix is always on.
            let _ = Lua::set_fflag(flag, true);
        }
    });
}
