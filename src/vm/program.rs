//! [`Program`]: a script, compiled once, that any VM can run.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bevy::platform::hash::FixedHasher;

use super::bytecode::{self, AssigningFunctions};
use super::callback::{Callback, CallbackSet};
use super::compile::{MAX_SOURCE_SIZE, Purpose, compile, expression_or_source, refuse_nul};
use super::fast_flags::set_fast_flags;
use super::host::LogLine;
use super::mutable::Mutable;
use super::text::{Text, weigh_text};
use crate::error::ScriptError;

/// The most characters of a source in its title.
const MAX_TITLE: usize = 60;

/// A compiled script. Cheap to share: hand out `Arc`s of it.
#[derive(Debug)]
pub struct Program {
    id: u64,
    name: Arc<str>,
    title: Arc<str>,
    bytecode: Box<[u8]>,
    name_hash: u64,
    /// `None` if its bytecode can't be read.
    assigning: Option<AssigningFunctions>,
    /// Why it can have no image, once that is known.
    mutable: OnceLock<Mutable>,
    callbacks: OnceLock<CallbackSet>,
    /// The callbacks that were searched for stray globals, which is done once for each.
    searched: AtomicU8,
    any_strays: AtomicBool,
    /// Its last run came near its memory limit.
    hungry: AtomicBool,
    /// The lowest memory limit that the file level kept when it was measured; 0 if it never was.
    measured: AtomicUsize,
    /// The strings that it holds.
    texts: Box<[Text]>,
    strays: Mutex<Vec<(Callback, String)>>,
    file_lines: FirstFileLines,
}

/// The log lines of the first run of a file level. It writes the same lines whenever it runs.
#[derive(Debug, Default)]
struct FirstFileLines {
    is_known: AtomicBool,
    /// There are lines to be taken.
    any: AtomicBool,
    lines: Mutex<Vec<LogLine>>,
}

impl Program {
    /// Compiles a script; `name` is its asset path and appears in errors.
    ///
    /// # Errors
    /// [`ScriptError::TooLarge`] over [`MAX_SOURCE_SIZE`], [`ScriptError::Syntax`] with the line, also for
    /// a NUL byte, wherever it is.
    pub fn compile(name: &str, source: &str) -> Result<Self, ScriptError> {
        Self::compile_for(Purpose::Runs, name, source, MAX_SOURCE_SIZE)
    }

    /// As [`Program::compile`], for VMs of either kind.
    pub(super) fn compile_for(
        purpose: Purpose,
        name: &str,
        source: &str,
        max_size: usize,
    ) -> Result<Self, ScriptError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let limit = max_size.min(MAX_SOURCE_SIZE);
        if source.len() > limit {
            return Err(ScriptError::TooLarge { size: source.len(), limit });
        }
        refuse_nul(name, source)?;
        set_fast_flags();
        let bytecode = compile(purpose, name, source)?;
        let hash = FixedHasher.hash_one(name);
        let name: Arc<str> = name.into();
        Ok(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            title: Arc::clone(&name),
            name,
            name_hash: hash,
            assigning: bytecode::assigning_functions(&bytecode),
            hungry: AtomicBool::new(false),
            measured: AtomicUsize::new(0),
            texts: bytecode::strings(&bytecode).into_iter().flatten().map(weigh_text).collect(),
            bytecode: bytecode.into(),
            mutable: OnceLock::new(),
            callbacks: OnceLock::new(),
            searched: AtomicU8::new(0),
            any_strays: AtomicBool::new(false),
            strays: Mutex::new(Vec::new()),
            file_lines: FirstFileLines::default(),
        })
    }

    /// Compiles a script that arrives as bytes.
    ///
    /// # Errors
    /// [`ScriptError::NotText`] if it is not UTF-8 (bytecode isn't), else as [`Program::compile`].
    pub fn compile_bytes(name: &str, source: &[u8]) -> Result<Self, ScriptError> {
        if source.len() > MAX_SOURCE_SIZE {
            let (size, limit) = (source.len(), MAX_SOURCE_SIZE);
            return Err(ScriptError::TooLarge { size, limit });
        }
        let text = std::str::from_utf8(source)
            .map_err(|error| ScriptError::NotText { offset: error.valid_up_to() })?;
        Self::compile(name, text.trim_start_matches('\u{feff}'))
    }

    /// Compiles an expression such as `1 + 1`, or a whole source with `return`; `name` appears in
    /// errors.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn compile_expression(name: &str, source: &str) -> Result<Self, ScriptError> {
        Self::compile_expression_of(name, source, MAX_SOURCE_SIZE)
    }

    /// As [`Program::compile_expression`], for a source of at most so many bytes.
    pub(crate) fn compile_expression_of(
        name: &str,
        source: &str,
        max_size: usize,
    ) -> Result<Self, ScriptError> {
        expression_or_source(source, max_size, |source, max_size| {
            Self::compile_for(Purpose::Runs, name, source, max_size)
        })
    }

    /// The asset path.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is called in lists of VMs: its name, or for a source without a name its first line.
    #[must_use]
    pub fn title(&self) -> &Arc<str> {
        &self.title
    }

    /// Gives a source without a name a title: its first line, as Lua does.
    #[must_use]
    pub(crate) fn titled_after(mut self, source: &str) -> Self {
        let mut lines = source.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let end = first.char_indices().nth(MAX_TITLE).map_or(first.len(), |(end, _)| end);
        let more = if end < first.len() || lines.next().is_some() { "..." } else { "" };
        self.title = format!("[string \"{}{more}\"]", &first[..end]).into();
        self
    }

    /// Unique among the programs of this process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// A hash of the asset path.
    pub(crate) fn name_hash(&self) -> u64 {
        self.name_hash
    }

    /// Which callbacks the script defines; known after its first run.
    #[must_use]
    pub fn callbacks(&self) -> Option<CallbackSet> {
        self.callbacks.get().copied()
    }

    pub(super) fn learn_callbacks(&self, callbacks: impl FnOnce() -> CallbackSet) {
        self.callbacks.get_or_init(callbacks);
    }

    /// Whether a callback has not been searched for stray globals yet.
    pub(super) fn is_unsearched(&self, callback: Callback) -> bool {
        self.searched.load(Ordering::Relaxed) & callback.bit() == 0
    }

    /// Notes the globals that a callback assigned.
    pub(super) fn note_strays(&self, callback: Callback, globals: Vec<String>) {
        let before = self.searched.fetch_or(callback.bit(), Ordering::Relaxed);
        if before & callback.bit() == 0 && !globals.is_empty() {
            let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
            strays.extend(globals.into_iter().map(|global| (callback, global)));
            self.any_strays.store(true, Ordering::Release);
        }
    }

    /// Takes the globals that callbacks assigned, which are gone after the run: the first mistake that everyone
    /// makes. Each is given once.
    pub fn take_strays(&self) -> Vec<(Callback, String)> {
        if !self.any_strays.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.any_strays.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.strays.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the log lines of the file level are not known yet.
    pub(super) fn wants_file_lines(&self) -> bool {
        !self.file_lines.is_known.load(Ordering::Relaxed)
    }

    /// Keeps the log lines of the first run of the file level.
    pub(super) fn learn_file_lines(&self, lines: Vec<LogLine>) {
        let FirstFileLines { is_known, any, lines: kept } = &self.file_lines;
        if !is_known.swap(true, Ordering::Relaxed) && !lines.is_empty() {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = lines;
            any.store(true, Ordering::Release);
        }
    }

    /// Takes the lines that the file level wrote with `print` or `log.*` when it first ran: at most 32, and a warning
    /// if there were more. It writes the same lines each time, so each is given once.
    pub fn take_file_lines(&self) -> Vec<LogLine> {
        let FirstFileLines { any, lines, .. } = &self.file_lines;
        if !any.load(Ordering::Acquire) {
            return Vec::new();
        }
        any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the file level of this script runs anew before every callback; `None` if it does not.
    ///
    /// Most file levels hold constants and functions. They run once in a VM, and all that they made is
    /// frozen and serves every run. But a script that changes its file level must find it unchanged in the
    /// next run, so it is made anew each time, which takes longer.
    #[must_use]
    pub fn mutable(&self) -> Option<Mutable> {
        self.mutable.get().copied()
    }

    /// The file level can't serve more than one run.
    pub(super) fn found_mutable(&self, why: Mutable) {
        let _ = self.mutable.set(why);
    }

    /// Gives each run a file level of its own, whatever the script does. Call it before the first run. For tests
    /// that compare.
    #[doc(hidden)]
    pub fn has_own_file_levels(&self) {
        self.found_mutable(Mutable::Tables { line: None });
    }

    /// Whether a closure of a function that is defined at this line, with so many upvalues, may be part of an image.
    pub(super) fn check_closure(&self, defined: u32, upvalues: u8) -> Result<(), Mutable> {
        let known = self.assigning.as_ref().ok_or(Mutable::Variables { line: None })?;
        match known.line_of(defined, upvalues) {
            Some(line) => Err(Mutable::Variables { line: Some(line) }),
            None => Ok(()),
        }
    }

    pub(super) fn note_hungry(&self) {
        self.hungry.store(true, Ordering::Relaxed);
    }

    /// Whether its last run came near its memory limit, so that the next one should be measured at once.
    pub(super) fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed)
    }

    /// A run with this limit was measured, and its file level kept it.
    pub(super) fn note_measured(&self, limit: usize, hungry: bool) {
        self.hungry.store(hungry, Ordering::Relaxed);
        let less = |before| (before == 0 || limit < before).then_some(limit);
        let _ = self.measured.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether its file level is known to keep this limit, but perhaps no lower one.
    pub(super) fn needs_room(&self, limit: usize) -> bool {
        let measured = self.measured.load(Ordering::Relaxed);
        measured != 0 && measured <= limit
    }

    pub(super) fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// Roughly its size, in bytes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.bytecode.len()
    }

    pub(super) fn bytecode(&self) -> &[u8] {
        &self.bytecode
    }
}

#[cfg(test)]
mod tests;
