//! [`Run`]: what one run needs to know, and what is known of it.
//!
//! # What a run may not inherit
//!
//! The runs of a batch share one [`Run`]. What belongs to one run alone lies in [`PerRun`], and
//! [`Run::begin_again`] replaces all of it. It also resets the deadline and the note that memory
//! was refused, which the allocator keeps. The batch itself resets the rest: it gives the run the
//! host of the next entity, sets `entity` in the environment, and empties the array of handed
//! tables in the registry. A new field of `Run` is either the same for all runs of a batch, or
//! belongs in `PerRun`.

pub(super) mod current;
pub(super) mod file_lines;

use std::ffi::c_int;

use bevy::prelude::Entity;
use mlua::ffi;

use super::memory::refusal;
use super::refs::{OwnHandles, Refs, SessionRefs};
use super::run::file_lines::FileLevelLog;
use crate::error::ScriptError;
use crate::value::ScriptTable;
use crate::vm::call::Used;
use crate::vm::deadline::RunDeadline;
use crate::vm::host::{FieldRef, Host};
use crate::vm::random::RunRandom;

/// What a run needs to know of its surroundings.
pub(in crate::vm) struct Run<'h> {
    /// The world; nothing may be asked of it at the file level.
    pub(in crate::vm) host: &'h mut dyn Host,
    /// Whether the callback is running, so that `host` may be used.
    pub(in crate::vm) in_callback: bool,
    /// When the run must end.
    pub(in crate::vm) deadline: RunDeadline<'h>,
    /// The most bytes that one value may have.
    pub(in crate::vm) max_value_size: usize,
    /// The handles to fields of the own entity that the VM has made; none for sessions.
    pub(super) handles: Option<&'h OwnHandles>,
    /// The registry slot of the array of handed tables.
    pub(super) handed_ref: c_int,
    pub(super) vm: *mut ffi::lua_Callbacks,
    /// Whether it runs on an image.
    pub(super) on_image: bool,
    pub(super) per_run: PerRun,
}

impl<'h> Run<'h> {
    pub(in crate::vm) fn new(
        host: &'h mut dyn Host,
        deadline: RunDeadline<'h>,
        max_value_size: usize,
        refs: &'h Refs,
    ) -> Self {
        Self {
            host,
            in_callback: false,
            deadline,
            max_value_size,
            handles: Some(&refs.own_handles),
            handed_ref: refs.handed,
            vm: refs.vm.0,
            on_image: false,
            per_run: PerRun::new(Entity::PLACEHOLDER, RunRandom::new(0)),
        }
    }

    /// Whether it was refused memory, even if the script caught the error.
    pub(in crate::vm) fn is_out_of_memory(&self) -> bool {
        self.per_run.out_of_memory
    }

    /// The line and the call stack where it ran out of memory, as far as they are known.
    pub(in crate::vm) fn take_place(&mut self) -> (Option<u32>, String) {
        self.per_run.trace.take().map_or((None, String::new()), |trace| (trace.line, trace.frames))
    }

    pub(in crate::vm) fn panicked(&self) -> Option<&ScriptError> {
        self.per_run.panicked.as_deref()
    }

    /// Whether the outcome depends on more than the result of the callback.
    #[inline]
    pub(super) fn is_to_be_judged(&self) -> bool {
        self.per_run.out_of_memory
            || self.per_run.touched.is_some()
            || self.per_run.panicked.is_some()
    }

    /// Begins the next run of a batch; the run before must have kept to its limits. See the head of
    /// this file.
    #[inline(always)]
    pub(super) fn begin_again(&mut self, entity: Entity, seed: u64) {
        self.deadline.begin_again();
        let before =
            std::mem::replace(&mut self.per_run, PerRun::new(entity, RunRandom::new(seed)));
        // Mostly there is nothing to free: looking here is quicker than calling the code that frees.
        if before.owns_nothing() {
            std::mem::forget(before);
        }
        refusal::replace(false);
    }

    /// What it used, as far as that is counted.
    #[inline]
    pub(in crate::vm) fn used(&self) -> Used {
        let PerRun { steps, file_steps, ref random, .. } = self.per_run;
        Used { steps, file_steps, drew: random.has_drawn() }
    }

    /// Notes that the script met the difference between an image and a file level of its own, if it
    /// runs on an image.
    pub(super) fn touch_image(&mut self, line: impl FnOnce() -> Option<u32>) {
        if self.on_image && self.per_run.touched.is_none() {
            self.per_run.touched = Some(Touched { line: line() });
        }
    }

    /// Remembers a panic of the host: it fails the run even if the script catches the error.
    #[inline]
    pub(super) fn note_panic<R>(&mut self, result: &Result<R, ScriptError>) {
        if let Err(error @ ScriptError::HostPanicked { .. }) = result {
            self.per_run.panicked = Some(Box::new(error.clone()));
        }
    }
}

impl<'h> Run<'h> {
    /// A run of a session: it may use its host from the beginning.
    pub(in crate::vm) fn of_session(
        host: &'h mut dyn Host,
        deadline: RunDeadline<'h>,
        max_value_size: usize,
        random: RunRandom,
        refs: &SessionRefs,
    ) -> Self {
        Self {
            host,
            in_callback: true,
            deadline,
            max_value_size,
            handles: None,
            handed_ref: refs.handed,
            vm: refs.vm.0,
            on_image: false,
            per_run: PerRun::new(Entity::PLACEHOLDER, random),
        }
    }

    /// Begins the callback of a run that has one host: see [`Run::begin_callback`].
    pub(in crate::vm) fn start_with(&mut self, seed: u64) {
        self.begin_callback(self.host.entity(), seed);
    }

    /// Begins the callback: from here on the host may be used, and random numbers come from this
    /// seed.
    #[inline]
    pub(super) fn begin_callback(&mut self, entity: Entity, seed: u64) {
        self.in_callback = true;
        self.per_run.random = RunRandom::new(seed);
        self.per_run.file_steps = std::mem::take(&mut self.per_run.steps);
        self.per_run.entity = entity;
    }

    /// The generator of its random numbers, as it is now.
    pub(in crate::vm) fn into_random(self) -> RunRandom {
        self.per_run.random
    }
}

/// What belongs to one run: see the head of this file.
pub(super) struct PerRun {
    /// Its random numbers.
    pub(super) random: RunRandom,
    /// The own entity, once the callback runs.
    pub(super) entity: Entity,
    /// The tables handed out for lists and maps of components, with the values that they had;
    /// parallel to the array in the registry (see `handles::handed`).
    pub(super) handed: Vec<(FieldRef, ScriptTable)>,
    /// The bytes of all of them.
    pub(super) handed_bytes: usize,
    /// The last error that this layer raised, to tell it from an error with the same text that the
    /// script raised.
    pub(super) raised: Option<Box<ScriptError>>,
    /// Message, line and call stack of the error that ended the run.
    pub(super) trace: Option<Box<ErrorTrace>>,
    /// A host function panicked.
    panicked: Option<Box<ScriptError>>,
    /// The script met the difference between an image and a file level of its own.
    pub(super) touched: Option<Touched>,
    /// It was refused memory, even if the script caught the error.
    pub(super) out_of_memory: bool,
    /// Steps since the callback began, while they are counted.
    pub(super) steps: u64,
    /// Steps of the file level that ran for it.
    file_steps: u64,
    /// What the file level logs, if anybody wants to know.
    pub(super) file_lines: Option<Box<FileLevelLog>>,
}

impl PerRun {
    /// Whether dropping it frees nothing.
    #[inline]
    fn owns_nothing(&self) -> bool {
        self.handed.capacity() == 0
            && self.raised.is_none()
            && self.trace.is_none()
            && self.panicked.is_none()
            && self.file_lines.is_none()
    }

    #[inline]
    pub(super) fn new(entity: Entity, random: RunRandom) -> Self {
        Self {
            random,
            entity,
            handed: Vec::new(),
            handed_bytes: 0,
            raised: None,
            trace: None,
            panicked: None,
            touched: None,
            out_of_memory: false,
            steps: 0,
            file_steps: 0,
            file_lines: None,
        }
    }
}

/// The script could tell that it runs on an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::vm) struct Touched {
    /// The line, as far as it is known.
    pub(in crate::vm) line: Option<u32>,
}

pub(super) struct ErrorTrace {
    pub(super) message: String,
    pub(super) line: Option<u32>,
    pub(super) frames: String,
}
