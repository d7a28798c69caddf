//! [`Vm`]: a Luau VM that runs scripts one after another.
//!
//! What it does with them is in the files below: [run](self::run) one callback, or [many](self::batch); run a
//! whole [source](self::evaluate); [load](self::load) programs and make their [images](self::image); keep
//! [memory](self::memory) in bounds, and [measure](self::measured) runs that need much of it.

mod batch;
mod evaluate;
mod health;
mod image;
mod load;
mod measured;
mod memory;
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlua::{Lua, LuaOptions};

use super::allowance::{Allowance, Floor, GARBAGE_SLACK, RUN_GARBAGE};
use super::api::Api;
use super::call::Used;
use super::fast_flags::set_fast_flags;
use super::fingerprint::{Fingerprint, Suspects};
use super::loaded_programs::LoadedPrograms;
use super::loaded_sources::LoadedSources;
use super::program_stats::ProgramCounts;
use super::watchdog::RunWatch;
use super::watched::watch;
use super::{raw, sandbox};
use crate::error::{ScriptError, Setting};

/// A Luau VM that runs scripts one after another, each from the same pristine state.
#[derive(Debug)]
pub struct Vm {
    id: u64,
    lua: Lua,
    refs: raw::Refs,
    api: Arc<Api>,
    programs: LoadedPrograms,
    counts: Arc<ProgramCounts>,
    sources: LoadedSources,
    /// What it held when it was new.
    resting: Floor,
    /// What it held when its garbage was collected last.
    floor: Floor,
    /// How often its garbage was collected.
    collections: u64,
    allowance: Allowance,
    /// The largest memory limit that a run has had.
    largest_run: usize,
    memory_limit: usize,
    /// The most bytes that it should hold while idle.
    resting_limit: usize,
    /// The most bytes that all programs may hold together.
    programs_limit: usize,
    /// The last run met the limit of the allocator.
    ran_out: bool,
    /// The sandbox leaves libraries out.
    restricted: bool,
    runs: u64,
    last_program: Option<Arc<str>>,
    suspects: Suspects,
    last_run_time: Duration,
    /// What the last run used up.
    used: Used,
    fingerprint: Fingerprint,
    watch: Arc<RunWatch>,
    /// A run met a hard limit, or the host panicked: to be thrown away.
    spent: bool,
}

impl Vm {
    /// Makes a VM that offers `api` and may hold `memory_limit` bytes.
    ///
    /// # Errors
    /// [`ScriptError::Vm`] if Luau can't be set up, [`ScriptError::OutOfMemory`] if the limit is
    /// too small for that.
    pub fn new(api: &Api, memory_limit: usize) -> Result<Self, ScriptError> {
        Self::make(Arc::new(api.clone()), memory_limit, Arc::default(), None)
    }

    /// As [`Vm::new`]. Programs are counted in `counts`; with `stopped_by`, whatever stops that VM stops this one.
    pub(super) fn make(
        api: Arc<Api>,
        memory_limit: usize,
        counts: Arc<ProgramCounts>,
        stopped_by: Option<&Arc<RunWatch>>,
    ) -> Result<Self, ScriptError> {
        set_fast_flags();
        let set_up = || -> mlua::Result<(Lua, raw::Refs, Fingerprint)> {
            let lua = Lua::new_with(sandbox::libraries(), LuaOptions::new())?;
            raw::watch_refusals(&lua)?;
            let builtins = sandbox::build(&lua, &api)?;
            builtins.set_safeenv(true);
            let refs = raw::set_up(&lua, &builtins)?;
            sandbox::freeze_types(&lua)?;
            let fingerprint = Fingerprint::take(&lua, &builtins)?;
            lua.gc_collect()?;
            let objects = raw::object_bytes(&lua);
            raw::collect(&lua, objects, objects + (memory_limit / 8).min(RUN_GARBAGE))?;
            lua.set_memory_limit(memory_limit)?;
            Ok((lua, refs, fingerprint))
        };
        let (lua, refs, fingerprint) =
            set_up().map_err(|error| ScriptError::vm("the VM can't be set up", error))?;
        let resting = Floor::of(&lua);
        if resting.pages + GARBAGE_SLACK / 4 > memory_limit {
            let (limit, used) = (memory_limit, resting.pages);
            return Err(ScriptError::OutOfMemory { limit, used, setting: Setting::MemoryLimit });
        }
        let watch = match stopped_by {
            Some(watch) => {
                watch.turn_to(Box::new(raw::Hook::of(&lua)));
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
            sources: LoadedSources::new(),
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
            suspects: Suspects::default(),
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
    /// A function that ends the current run and all later ones, from any thread: they fail with
    /// [`ScriptError::Interrupted`].
    #[must_use]
    pub fn interrupter(&self) -> Arc<dyn Fn() + Send + Sync> {
        let watch = Arc::clone(&self.watch);
        Arc::new(move || watch.stop())
    }

    /// A function that ends the current call alone, from any thread: it fails with [`ScriptError::Cancelled`].
    pub(crate) fn canceller(&self) -> Arc<dyn Fn() + Send + Sync> {
        let watch = Arc::clone(&self.watch);
        Arc::new(move || watch.cancel())
    }

    /// A call begins, or is over: a cancellation from before is not meant for the next one.
    pub(crate) fn forget_cancelled(&self) {
        self.watch.forget_cancelled();
    }

    /// Turns the counting of steps on or off. It makes runs a little slower.
    #[inline]
    pub(crate) fn count_steps(&self, counts: bool) {
        if self.watch.counts_steps() != counts {
            self.watch.count_steps(counts);
        }
    }

    /// What the last run used up. Of a run that failed before its callback began, it is not known whether it drew
    /// random numbers.
    pub(crate) fn used(&self) -> Used {
        self.used
    }

    /// Unique among the VMs of this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether a run met a hard limit or the host panicked, so that the VM must be thrown away.
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

    /// The [title](super::Program::title) of the program that ran last: the path of a script.
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

#[cfg(test)]
mod tests;
