//! One Luau VM: the one place that speaks mlua.
//!
//! A [`Vm`] runs callbacks of [`Program`]s, each run in an environment of its own, over libraries that
//! are frozen. A run starts from the file level as if it had run just now. Where a file level can be shared,
//! it runs once in a VM and all that it made is frozen: the image, on which all runs of the script begin.
//! Where it can't, which is seen in the bytecode, in what it made, or at the latest when a run touches what
//! is frozen, it is executed afresh for each run, and what it defines, changes or captures is garbage when
//! the run is over. That is how two runs can't see each other.
//!
//! The world is behind a [`Host`]; without one there is [`NoWorld`].

mod api;
mod atom;
mod bytecode;
mod change;
mod check;
mod configured;
mod cost;
mod evaluate;
mod exact;
mod factory;
mod function;
mod host;
mod limits;
mod loaded;
mod memory;
mod numerals;
mod program;
mod random;
mod raw;
mod sandbox;
mod server;
mod session;
mod text;
mod watchdog;

pub use self::api::{Api, NameError};
pub use self::atom::Atom;
pub(crate) use self::change::StateChange;
pub use self::factory::{LuauFactory, LuauResetter};
pub use self::function::{Caller, IntoNativeFunction, NativeFunction};
pub use self::host::{
    Field, FieldId, FieldPath, FieldRef, Host, Live, LogLevel, LogLine, NoWorld, ReadResult,
    Scalar, ScalarRead,
};
pub use self::loaded::ProgramStats;
pub use self::program::{Callback, CallbackSet, MAX_SOURCE_SIZE, Mutable, Program};
pub use self::random::RunRandom;
pub use self::server::{Served, SharedValues, ValueServer};

pub(crate) use self::api::ApiMark;
pub(crate) use self::configured::ConfiguredPool;
pub(crate) use self::evaluate::Evaluation;
pub(crate) use self::limits::{CallBounds, WallDeadline};
pub(crate) use self::raw::prefetch;
pub(crate) use self::server::NamedServer;
pub(crate) use self::session::{
    CoroutineState, LoadedChunk, Performed, Results, Session, SessionLimits, Task,
};
pub(crate) use self::watchdog::{Engaged, ticks};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use bevy::prelude::Entity;
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions};

use self::limits::Deadline;
use self::loaded::{Loaded, LoadedPrograms, Main, ProgramCounts, Weight};
use self::memory::{Allowance, Floor, GARBAGE_SLACK, RUN_GARBAGE};
use self::watchdog::Watch;
use crate::config::LuaPoolConfig;
use crate::error::{Failure, ScriptError};
use crate::sandbox::ScriptLimits;
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

/// What one run may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// CPU time: what the system spent on other threads, and what host functions waited, is not charged.
    pub time: Duration,
    /// Bytes that it may hold, on top of what its file level made: its strings, tables and other objects, without
    /// garbage. Never beyond the limit of the VM.
    pub memory: usize,
    /// The most bytes that `self`, an argument or a result may have.
    pub value_size: usize,
}

impl From<&LuaPoolConfig> for RunLimits {
    /// For scripts that no rule of the sandbox names.
    fn from(config: &LuaPoolConfig) -> Self {
        Self::new(config, &config.sandbox.limits)
    }
}

impl RunLimits {
    /// For the script with this asset path.
    #[must_use]
    pub fn of_script(config: &LuaPoolConfig, path: &str) -> Self {
        Self::new(config, &config.sandbox.limits_of(path))
    }

    pub(crate) fn new(config: &LuaPoolConfig, limits: &ScriptLimits) -> Self {
        Self {
            time: limits.run_time_limit.unwrap_or(config.run_time_limit),
            memory: limits.run_memory_limit.unwrap_or_else(|| config.run_memory()),
            value_size: config.max_value_size,
        }
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

/// Runs that follow one another on one VM: the same callback of one program, for one entity after another.
///
/// `H` is the world, as the run sees it whose turn it is.
pub(crate) trait CallBatch<'w, H> {
    /// Turns the world to the next run; `None` ends the row.
    fn turn(&mut self, host: &mut H) -> Option<Turn<'w>>;

    /// The run whose turn it was is over, and all is well.
    fn done(&mut self, host: &mut H, change: StateChange, used: Used);
}

/// One run of a [`CallBatch`].
pub(crate) struct Turn<'w> {
    pub(crate) entity: Entity,
    /// What becomes its `self`.
    pub(crate) state: &'w ScriptTable,
    /// What follows `self`.
    pub(crate) argument: f64,
    /// Where its random numbers start.
    pub(crate) seed: u64,
}

/// Nanoseconds that one step of a run stands for.
pub(crate) const STEP_NANOS: u64 = 10;

/// What a run used up that depends on the script and what it was given alone, and not on the machine or on who
/// ran before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// Safepoints that the callback came to, and what long work of built-ins is worth in them. Only if
    /// they are counted: see [`Vm::count_steps`].
    pub(crate) steps: u64,
    /// The same of the file level, if that ran for it.
    pub(crate) file_steps: u64,
    /// It drew random numbers.
    pub(crate) drew: bool,
}

/// How a [`CallBatch`] ended.
#[derive(Debug)]
pub(crate) enum BatchEnd {
    /// There was none left, or the VM has to be looked at before the next.
    Done,
    /// The run whose turn it was came to this.
    With(Ran),
    /// The run whose turn it was could tell that it ran on an image, and must run again on a file level of its
    /// own. It has used so much time already.
    Again(Duration),
}

/// What a run came to, with its `self` as a change.
#[derive(Debug)]
pub(crate) enum Ran {
    Missing,
    Done(StateChange),
    Failed(Box<Failure>),
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
    id: u64,
    lua: Lua,
    refs: raw::Refs,
    api: Arc<Api>,
    programs: LoadedPrograms,
    counts: Arc<ProgramCounts>,
    evaluated: evaluate::Evaluated,
    /// What it held when it was new, and when its garbage was collected last.
    resting: Floor,
    floor: Floor,
    /// How often garbage was collected.
    collections: u64,
    allowance: Allowance,
    /// The largest limit that a run had so far.
    largest_run: usize,
    memory_limit: usize,
    /// What it should hold at most while nobody uses it.
    resting_limit: usize,
    /// What all programs may hold together.
    programs_limit: usize,
    /// The last run met what the allocator gives.
    ran_out: bool,
    /// Scripts don't find all libraries.
    restricted: bool,
    runs: u64,
    last_program: Option<Arc<str>>,
    suspects: check::Suspects,
    last_run_time: Duration,
    /// What the last run used up.
    used: Used,
    fingerprint: check::Fingerprint,
    watch: Arc<Watch>,
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
        Self::make(Arc::new(api.clone()), memory_limit, Arc::default(), None)
    }

    /// As [`Vm::new`]; counts what becomes of programs there, and is stopped by what stops another VM.
    fn make(
        api: Arc<Api>,
        memory_limit: usize,
        counts: Arc<ProgramCounts>,
        stopped_by: Option<&Arc<Watch>>,
    ) -> Result<Self, ScriptError> {
        set_fast_flags();
        let set_up = || -> mlua::Result<(Lua, raw::Refs, check::Fingerprint)> {
            let lua = Lua::new_with(sandbox::libraries(), LuaOptions::new())?;
            raw::watch_refusals(&lua)?;
            let builtins = sandbox::build(&lua, &api)?;
            builtins.set_safeenv(true);
            let refs = raw::set_up(&lua, &builtins)?;
            sandbox::freeze_types(&lua)?;
            let fingerprint = check::Fingerprint::take(&lua, &builtins)?;
            lua.gc_collect()?;
            let objects = raw::object_bytes(&lua);
            raw::collect(&lua, objects, objects + (memory_limit / 8).min(RUN_GARBAGE))?;
            lua.set_memory_limit(memory_limit)?;
            Ok((lua, refs, fingerprint))
        };
        let (lua, refs, fingerprint) =
            set_up().map_err(|error| ScriptError::Raised { message: error.to_string() })?;
        let resting = Floor::of(&lua);
        if resting.pages + GARBAGE_SLACK / 4 > memory_limit {
            let (limit, used) = (memory_limit, resting.pages);
            return Err(ScriptError::OutOfMemory { limit, used, setting: "memory_limit" });
        }
        let watch = match stopped_by {
            Some(watch) => {
                watch.turn_to(raw::Hook::of(&lua));
                Arc::clone(watch)
            }
            None => watch(&lua)?,
        };
        let restricted = !api.missing_libraries().is_empty();
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let mut vm = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            lua,
            refs,
            api,
            programs: LoadedPrograms::default(),
            counts,
            evaluated: evaluate::Evaluated::new(),
            resting,
            floor: resting,
            collections: 0,
            allowance: Allowance::default(),
            largest_run: 0,
            memory_limit,
            resting_limit: 0,
            programs_limit: 0,
            ran_out: false,
            restricted,
            runs: 0,
            last_program: None,
            suspects: check::Suspects::default(),
            last_run_time: Duration::ZERO,
            used: Used::default(),
            fingerprint,
            watch,
            spent: false,
        };
        vm.limit_resting_memory((memory_limit / 8 * 7).max(4 * GARBAGE_SLACK));
        vm.allow(usize::MAX);
        Ok(vm)
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
        let start = Instant::now();
        let ran = engage(|engaged| self.run_change(program, call, host, limits, None, engaged));
        self.last_run_time = start.elapsed();
        match ran {
            Ran::Missing => Outcome::Missing,
            Ran::Done(change) => Outcome::Done(change.applied_to(call.state)),
            Ran::Failed(failure) => Outcome::Failed(*failure),
        }
    }

    /// As [`Vm::run`], but gives what changed. The run may have used some of its time already.
    pub(crate) fn run_change(
        &mut self,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
        used: Option<Duration>,
        _: &Engaged,
    ) -> Ran {
        self.runs += 1;
        self.note_program(program);
        let ran = if self.limit_memory(limits) && !program.is_hungry() {
            match self.run_once(program, call, host, limits, used) {
                _ if std::mem::take(&mut self.ran_out) => {
                    host.rewind();
                    self.run_measured(program, call, host, limits)
                }
                ran => ran,
            }
        } else {
            host.begin();
            self.run_measured(program, call, host, limits)
        };
        self.tidy();
        ran
    }

    /// Whether a callback of a program can run in a [`CallBatch`]: its image is here.
    pub(crate) fn is_ready_for(&mut self, program: &Program, callback: Callback) -> bool {
        program.mutable().is_none()
            && !program.is_hungry()
            && self.programs.place_of(program.id()).is_some_and(|place| {
                let image = &self.programs.at(place).image;
                image.as_ref().is_some_and(|image| image.has(callback))
            })
    }

    /// Runs a callback for one entity after another, which [`Vm::is_ready_for`] it.
    ///
    /// # Panics
    /// If it is not.
    pub(crate) fn run_batch<'w, H: Host>(
        &mut self,
        program: &Program,
        callback: Callback,
        limits: &RunLimits,
        (host, row): (&mut H, &mut impl CallBatch<'w, H>),
        _: &Engaged,
    ) -> BatchEnd {
        self.note_program(program);
        if !self.limit_memory(limits) {
            return BatchEnd::Again(Duration::ZERO);
        }
        // That may have dropped it.
        let Some(place) = self.programs.place_of(program.id()) else {
            return BatchEnd::Again(Duration::ZERO);
        };
        let Allowance { between_runs, most_objects, .. } = self.allowance;
        let counting = self.allowance.count(&self.lua);
        let Loaded { image, shapes, .. } = self.programs.at(place);
        let image = image.as_ref().expect("the program has an image");
        let job = raw::BatchJob {
            callback,
            most_memory: between_runs,
            most_objects,
            deadline: Deadline::begin(&self.watch, limits.time),
            max_value_size: limits.value_size,
        };
        let raw::BatchRun { mut run, began, ended } =
            raw::run_batch(&self.lua, &self.refs, program, (image, shapes), job, (host, row));
        raw::forget_all(&self.lua, &self.refs, &run);
        let passed = counting.is_some_and(|counting| counting.passed());
        let out_of_memory = passed || matches!(ended, Some(raw::Ended::OutOfMemory));
        let verdict = Verdict::of(&mut run, out_of_memory);
        let used = run.deadline.roughly_used();
        self.used = run.used();
        drop(run);
        self.runs += began;
        let end = match ended {
            None => BatchEnd::Done,
            Some(raw::Ended::TouchedImage(raw::Touched { line })) if !ran_out(&verdict) => {
                program.found_mutable(Mutable::Tables { line });
                self.drop_image(place, program);
                BatchEnd::Again(used)
            }
            Some(ended) => match self.judge(program, ended, verdict) {
                // It runs again where it can be measured.
                _ if std::mem::take(&mut self.ran_out) => {
                    program.note_hungry();
                    BatchEnd::Again(Duration::ZERO)
                }
                ran => BatchEnd::With(ran),
            },
        };
        self.tidy();
        end
    }

    fn note_program(&mut self, program: &Program) {
        let same = |last: &Arc<str>| Arc::ptr_eq(last, program.title());
        if self.suspects.is_empty() || !self.last_program.as_ref().is_some_and(same) {
            self.last_program = Some(Arc::clone(program.title()));
            self.suspects.add(program.title());
        }
    }

    fn run_once(
        &mut self,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
        mut used: Option<Duration>,
    ) -> Ran {
        host.begin();
        self.used = Used::default();
        let mut place = match self.load(program) {
            Ok(place) => place,
            Err(error) => return Ran::Failed(Failure::new(program.name(), error).into()),
        };
        if program.mutable().is_none() {
            if self.programs.at(place).image.is_none() {
                if let Err(failed) = self.image(place, program, host, limits) {
                    return failed;
                }
                if self.is_crowded() {
                    self.tidy_up(Some(program.id()));
                    place = self.programs.place_of(program.id()).expect("it is in use");
                }
            }
            if self.is_cramped() {
                // By what was loaded just now: it runs where that is not in its way.
                self.ran_out = true;
                return Ran::Missing;
            }
            match self.attempt(place, program, call, host, limits, (true, used)) {
                Ok(ran) => return ran,
                // The script could tell that it ran on an image: once more, on a file level of its own.
                Err((already, line)) => {
                    used = Some(already);
                    program.found_mutable(Mutable::Tables { line });
                }
            }
            host.rewind();
        }
        if self.programs.at(place).main().is_none() {
            self.drop_image(place, program);
            // It begins with no more garbage than if it had begun so.
            if self.is_crowded() {
                self.collect();
            }
            match self.load_counted(program) {
                Ok(main) => self.programs.keep_main(place, main),
                Err(error) => return Ran::Failed(Failure::new(program.name(), error).into()),
            }
        }
        self.attempt(place, program, call, host, limits, (false, used))
            .unwrap_or_else(|_| unreachable!("what runs on a file level of its own meets no image"))
    }

    /// Makes the image of a program, if it can have one. That has the time of a run to itself: a run is not
    /// charged for being the first on this VM.
    fn image(
        &mut self,
        place: usize,
        program: &Program,
        host: &mut dyn Host,
        limits: &RunLimits,
    ) -> Result<(), Ran> {
        let needs_room = program.needs_room(limits.memory);
        if needs_room {
            self.allow_more(limits.memory);
        }
        let counting = self.allowance.count(&self.lua).filter(|_| !needs_room);
        let before = raw::object_bytes(&self.lua);
        let main = self.programs.at(place).main().expect("there is no image yet");
        let deadline = Deadline::begin(&self.watch, limits.time);
        let mut run = raw::Run::new(host, deadline, limits.value_size, &self.refs);
        let imaged = raw::make_image(&self.lua, &self.refs, program, main, &mut run);
        let passed = counting.is_some_and(|counting| counting.passed());
        let out_of_memory =
            passed || matches!(imaged, raw::Imaged::Failed(raw::Ended::OutOfMemory));
        let verdict = Verdict::of(&mut run, out_of_memory);
        drop(run);
        self.limit_allocator(self.allowance.total);
        if ran_out(&verdict) {
            // Whatever it has become, it depends on what the VM holds: it runs again where it can be measured.
            let ended = match imaged {
                raw::Imaged::Failed(ended) => ended,
                raw::Imaged::Made(_) | raw::Imaged::Mutable(_) => raw::Ended::Missing,
            };
            return Err(self.judge(program, ended, verdict));
        }
        match imaged {
            raw::Imaged::Mutable(why) => program.found_mutable(why),
            raw::Imaged::Failed(ended) => return Err(self.judge(program, ended, verdict)),
            raw::Imaged::Made(image) => {
                let bytes = raw::object_bytes(&self.lua).saturating_sub(before);
                let weight = Weight { bytes, collections: self.collections };
                let gone = self.programs.keep_image(place, image, weight);
                self.lower_floor(gone);
                self.counts.imaged();
            }
        }
        Ok(())
    }

    /// Drops the image of a program that was found to need a file level for each run: nothing will use it again.
    fn drop_image(&mut self, place: usize, program: &Program) {
        let left = (program.texts(), self.collections);
        let gone = self.programs.drop_image(&self.lua, place, left);
        self.lower_floor(gone);
    }

    /// Runs on the image, or on a file level of its own, with the time that the run has used already. If the
    /// image was met, gives the time that it has used by then, and the line that met it.
    fn attempt(
        &mut self,
        place: usize,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
        (on_image, used): (bool, Option<Duration>),
    ) -> Result<Ran, (Duration, Option<u32>)> {
        let program_here = self.programs.at(place);
        let counting = self.allowance.count(&self.lua);
        let deadline = match used {
            None => Deadline::begin(&self.watch, limits.time),
            Some(used) => Deadline::go_on(&self.watch, limits.time, used),
        };
        let mut run = raw::Run::new(host, deadline, limits.value_size, &self.refs);
        let ended = match &program_here.image {
            Some(image) if on_image => {
                let image = (image, &mut program_here.shapes);
                raw::run_on_image(&self.lua, &self.refs, program, image, call, &mut run)
            }
            _ => {
                let main = program_here.main().expect("it was loaded");
                raw::run_callback(&self.lua, &self.refs, program, main, call, &mut run)
            }
        };
        raw::forget_all(&self.lua, &self.refs, &run);
        let passed = counting.is_some_and(|counting| counting.passed());
        let verdict = Verdict::of(&mut run, passed || matches!(ended, raw::Ended::OutOfMemory));
        let used = run.deadline.roughly_used();
        self.used = run.used();
        drop(run);
        match ended {
            raw::Ended::TouchedImage(raw::Touched { line }) if !ran_out(&verdict) => {
                Err((used, line))
            }
            ended => Ok(self.judge(program, ended, verdict)),
        }
    }

    /// What a run came to: the limits have the last word, whatever the script caught.
    fn judge(
        &mut self,
        program: &Program,
        ended: raw::Ended,
        verdict: Option<Box<Verdict>>,
    ) -> Ran {
        let fail = |error, line, traceback| {
            let script = Arc::clone(program.name());
            Ran::Failed(Box::new(Failure { error, script, line, traceback }))
        };
        let Some(verdict) = verdict else {
            return match ended {
                raw::Ended::Done(change) => Ran::Done(change),
                raw::Ended::Failed(failed) => fail(failed.error, failed.line, failed.frames),
                _ => Ran::Missing,
            };
        };
        let Verdict { out_of_memory, broken, place: (line, frames) } = *verdict;
        self.spent = true;
        self.ran_out = out_of_memory;
        let no_memory = || self.out_of_memory(self.allowance.of_run, usize::MAX);
        match (ended, broken) {
            (raw::Ended::Failed(failed), _) if out_of_memory => {
                fail(no_memory(), failed.line, failed.frames)
            }
            _ if out_of_memory => fail(no_memory(), line, frames),
            (raw::Ended::Failed(failed), limit) => {
                fail(limit.unwrap_or(failed.error), failed.line, failed.frames)
            }
            (_, Some(error)) => fail(error, None, String::new()),
            (raw::Ended::Done(change), None) => Ran::Done(change),
            (_, None) => Ran::Missing,
        }
    }

    /// Loads the main function of a program, against the built-ins alone; gives its place.
    fn load(&mut self, program: &Program) -> Result<usize, ScriptError> {
        if let Some(place) = self.programs.place_of(program.id()) {
            return Ok(place);
        }
        let main = self.load_counted(program)?;
        let place = self.programs.add(program.id(), program.texts());
        self.programs.keep_main(place, main);
        if self.is_crowded() {
            self.tidy_up(Some(program.id()));
        }
        Ok(self.programs.place_of(program.id()).expect("it is in use"))
    }

    /// Loads the main function of a program. What that takes has nothing to do with what its runs may hold.
    fn load_counted(&mut self, program: &Program) -> Result<Main, ScriptError> {
        self.limit_allocator(self.memory_limit);
        let before = raw::object_bytes(&self.lua);
        let function = self.load_main(program);
        self.limit_allocator(self.allowance.total);
        let bytes = raw::object_bytes(&self.lua).saturating_sub(before);
        self.counts.loaded();
        Ok(Main { function: function?, weight: Weight { bytes, collections: self.collections } })
    }

    fn load_main(&mut self, program: &Program) -> Result<Function, ScriptError> {
        let slow;
        let bytecode = if self.restricted {
            slow = bytecode::without_fast_calls(program.bytecode()).ok_or_else(|| {
                let message = "can't be kept from libraries that the sandbox leaves out";
                ScriptError::Raised { message: message.to_owned() }
            })?;
            &slow
        } else {
            program.bytecode()
        };
        let chunk = self
            .lua
            .load(bytecode)
            .set_mode(ChunkMode::Binary)
            .set_name(program::chunk_name(program.name()));
        raw::outside_run(|| chunk.into_function()).map_err(|error| {
            self.spent = true;
            match error {
                mlua::Error::MemoryError(_) => {
                    self.ran_out = true;
                    self.out_of_memory(usize::MAX, usize::MAX)
                }
                error => ScriptError::Raised { message: error.to_string() },
            }
        })
    }

    /// What ends the current run, and all later ones, from any thread: they fail with
    /// [`ScriptError::Interrupted`].
    #[must_use]
    pub fn interrupter(&self) -> Arc<dyn Fn() + Send + Sync> {
        let watch = Arc::clone(&self.watch);
        Arc::new(move || watch.stop())
    }

    /// What ends the current call, and no later one, from any thread: it fails with [`ScriptError::Cancelled`].
    pub(crate) fn canceller(&self) -> Arc<dyn Fn() + Send + Sync> {
        let watch = Arc::clone(&self.watch);
        Arc::new(move || watch.cancel())
    }

    /// A call begins, or is over: what was cancelled before is not this one.
    pub(crate) fn forget_cancelled(&self) {
        self.watch.forget_cancelled();
    }

    /// Has the steps of runs counted from now on, or no more: that makes a run a little slower.
    #[inline]
    pub(crate) fn count_steps(&self, counts: bool) {
        if self.watch.counts_steps() != counts {
            self.watch.count_steps(counts);
        }
    }

    /// What the last run used up; what it drew is not known of one that failed before its callback began.
    pub(crate) fn used(&self) -> Used {
        self.used
    }

    /// Tells it from every other VM that this process made.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
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

    /// The [title](Program::title) of the program that ran last: the path of a script.
    #[must_use]
    pub fn last_program(&self) -> Option<&Arc<str>> {
        self.last_program.as_ref()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.watch.leave(&self.lua);
    }
}

/// Has a new VM watched.
fn watch(lua: &Lua) -> Result<Arc<Watch>, ScriptError> {
    Watch::new(raw::Hook::of(lua)).map_err(|error| ScriptError::Raised {
        message: format!("no thread for the watchdog, without which nothing runs: {error}"),
    })
}

/// What the limits say of a run that is over.
struct Verdict {
    out_of_memory: bool,
    /// It was late, stopped, or a function of the host panicked.
    broken: Option<ScriptError>,
    /// Where it ran out of memory: the line and the call stack, as far as they are known.
    place: (Option<u32>, String),
}

impl Verdict {
    /// `None` if the run kept to its limits.
    fn of(run: &mut raw::Run<'_>, met_memory_limit: bool) -> Option<Box<Self>> {
        let late = run.deadline.end();
        let out_of_memory = run.is_out_of_memory() || met_memory_limit;
        if !late && !out_of_memory && run.panicked().is_none() {
            return None;
        }
        let broken = run.panicked().cloned().or_else(|| late.then(|| run.deadline.verdict()));
        Some(Box::new(Self { out_of_memory, broken, place: run.take_place() }))
    }
}

/// Whether a run met what the allocator gives. Then all else that it met may come of that, which depends on what
/// the VM holds.
fn ran_out(verdict: &Option<Box<Verdict>>) -> bool {
    verdict.as_ref().is_some_and(|verdict| verdict.out_of_memory)
}

/// Calls `body` with what runs ask for: room on the native stack, and a watchdog that is awake.
pub(crate) fn engage<R>(body: impl FnOnce(&Engaged) -> R) -> R {
    let engaged = Engaged::new();
    with_native_stack(|| body(&engaged))
}

/// Makes room on the native stack for what Luau may need, then calls `body`.
fn with_native_stack<R>(body: impl FnOnce() -> R) -> R {
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
