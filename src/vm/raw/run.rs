//! [`Run`]: what one run needs to know, and what is known of it.

pub(super) mod current;
pub(super) mod file_lines;

use std::ffi::c_int;

use bevy::prelude::Entity;
use mlua::ffi;

use super::memory::refusal;
use super::refs::{OwnHandles, Refs, SessionRefs};
use super::run::file_lines::FileLines;
use crate::error::ScriptError;
use crate::value::ScriptTable;
use crate::vm::call::Used;
use crate::vm::deadline::RunDeadline;
use crate::vm::host::{FieldRef, Host};
use crate::vm::random::RunRandom;

/// What a run needs to know of its surroundings.
///
/// Runs that follow one another in a row share one, and what is of a single run alone lies in [`Own`], which
/// [`Run::begin_again`] replaces as a whole. Here are
///
/// - what the runs of a row have in common: `in_callback`, `max_value_size`, `handles`, `handed_ref`,
///   `on_image`;
/// - what has its own way to begin again: `host`, which the row turns to the next entity, and `deadline`.
pub(in crate::vm) struct Run<'h> {
    /// The world; absent at the file level.
    pub(in crate::vm) host: &'h mut dyn Host,
    /// Whether the callback runs already, so that `host` may be used.
    pub(in crate::vm) in_callback: bool,
    /// When it must be over.
    pub(in crate::vm) deadline: RunDeadline<'h>,
    /// The most bytes that one value may have.
    pub(in crate::vm) max_value_size: usize,
    /// The handles to spots that the VM has made; none for sessions.
    pub(super) handles: Option<&'h OwnHandles>,
    /// The registry slot of the array that holds the handed tables.
    pub(super) handed_ref: c_int,
    pub(super) vm: *mut ffi::lua_Callbacks,
    /// Whether it runs on an image.
    pub(super) on_image: bool,
    pub(super) own: Own,
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
            handles: Some(&refs.own),
            handed_ref: refs.handed,
            vm: refs.vm.0,
            on_image: false,
            own: Own::new(Entity::PLACEHOLDER, RunRandom::new(0)),
        }
    }

    /// Whether it ran out of memory, caught or not.
    pub(in crate::vm) fn is_out_of_memory(&self) -> bool {
        self.own.out_of_memory
    }

    /// Where it ran out of memory: the line and the call stack, as far as they are known.
    pub(in crate::vm) fn take_place(&mut self) -> (Option<u32>, String) {
        self.own.trace.take().map_or((None, String::new()), |trace| (trace.line, trace.frames))
    }

    pub(in crate::vm) fn panicked(&self) -> Option<&ScriptError> {
        self.own.panicked.as_deref()
    }

    /// Whether more than its result decides what it came to.
    #[inline]
    pub(super) fn is_to_be_judged(&self) -> bool {
        self.own.out_of_memory || self.own.touched.is_some() || self.own.panicked.is_some()
    }

    /// Another run on an image begins, for this entity, after one that kept to its limits.
    #[inline]
    pub(super) fn begin_again(&mut self, entity: Entity, seed: u64) {
        self.deadline.begin_again();
        self.own = Own::new(entity, RunRandom::new(seed));
        refusal::replace(false);
    }

    /// What it used up, for those who count that.
    #[inline]
    pub(in crate::vm) fn used(&self) -> Used {
        let Own { steps, file_steps, ref random, .. } = self.own;
        Used { steps, file_steps, drew: random.has_drawn() }
    }

    /// It could tell that it runs on an image, if it does.
    pub(super) fn touch(&mut self, line: impl FnOnce() -> Option<u32>) {
        if self.on_image && self.own.touched.is_none() {
            self.own.touched = Some(Touched { line: line() });
        }
    }

    /// Remembers a panic of the host: it fails the run even if the script catches the error.
    pub(super) fn note<R>(&mut self, result: &Result<R, ScriptError>) {
        if let Err(error @ ScriptError::HostPanicked { .. }) = result {
            self.own.panicked = Some(Box::new(error.clone()));
        }
    }
}

impl<'h> Run<'h> {
    /// A run that may use its host from the beginning.
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
            own: Own::new(Entity::PLACEHOLDER, random),
        }
    }

    /// Lets it use its host, and draw its random numbers from this seed.
    pub(in crate::vm) fn start_with(&mut self, seed: u64) {
        self.in_callback = true;
        self.own.random = RunRandom::new(seed);
        self.own.file_steps = std::mem::take(&mut self.own.steps);
        self.own.entity = self.host.entity();
    }

    /// What is left of its random numbers.
    pub(in crate::vm) fn into_random(self) -> RunRandom {
        self.own.random
    }
}

/// What no run gets from the one before it.
pub(super) struct Own {
    /// Its random numbers.
    pub(super) random: RunRandom,
    /// The own entity, once the callback runs.
    pub(super) entity: Entity,
    /// The tables that stand for lists and maps of components.
    pub(super) handed: Vec<(FieldRef, ScriptTable)>,
    /// The bytes of all that were handed to it.
    pub(super) handed_bytes: usize,
    /// The last error raised by this layer, to tell it from one that the script raised.
    pub(super) raised: Option<Box<ScriptError>>,
    /// The message, line and call stack of the error that ended the run.
    pub(super) trace: Option<Box<Trace>>,
    /// A host function panicked.
    panicked: Option<Box<ScriptError>>,
    /// It met the difference between an image and a file level of its own.
    pub(super) touched: Option<Touched>,
    /// It was refused memory, and may have caught the error.
    pub(super) out_of_memory: bool,
    /// Steps since it began, while they are counted.
    pub(super) steps: u64,
    /// Those of the file level that ran for it.
    file_steps: u64,
    /// What the file level writes, if that is news.
    pub(super) file_lines: Option<Box<FileLines>>,
}

impl Own {
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

/// A script could tell that it runs on an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::vm) struct Touched {
    /// Where it did, as far as that is known.
    pub(in crate::vm) line: Option<u32>,
}

pub(super) struct Trace {
    pub(super) message: String,
    pub(super) line: Option<u32>,
    pub(super) frames: String,
}
