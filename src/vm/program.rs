//! [`Program`]: a script, compiled once, that any VM can run.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bevy::platform::hash::FixedHasher;
use mlua::chunk::Compiler;

use super::bytecode::{self, AssigningFunctions, NoSafepoints};
use super::sandbox::Purpose;
use super::text::{Text, weigh_text};
use super::{LogLine, NATIVE_STACK};
use crate::error::ScriptError;

/// The largest source text that compiles, in bytes.
pub const MAX_SOURCE_SIZE: usize = 256 * 1024;

/// Characters of a source that its title shows.
const MAX_TITLE: usize = 60;

/// Globals that differ from run to run: the compiler must not take their values for constants.
const PER_RUN_GLOBALS: [&str; 4] = ["entity", "_G", "time", "params"];

/// A callback that a script may define.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Callback {
    /// `on_stop(self)`: the script was removed or the entity despawned.
    Stop,
    /// `on_start(self)`: before anything else, once in the life of a state.
    Start,
    /// `on_reload(self)`: the script's text changed.
    Reload,
    /// `on_message(self, name, payload, sender)`
    Message,
    /// `on_fixed_update(self, dt)`
    FixedUpdate,
    /// `on_update(self, dt)`
    Update,
}

impl Callback {
    /// Every callback, in the order in which those that are due in one schedule run.
    pub const ALL: [Self; 6] =
        [Self::Stop, Self::Start, Self::Reload, Self::Message, Self::FixedUpdate, Self::Update];

    /// The name of the function.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "on_stop",
            Self::Start => "on_start",
            Self::Reload => "on_reload",
            Self::Message => "on_message",
            Self::FixedUpdate => "on_fixed_update",
            Self::Update => "on_update",
        }
    }

    /// How many there are.
    pub(super) const COUNT: usize = Self::ALL.len();

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Why the file level of a script runs anew before every callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutable {
    /// A function that lives on, or one that it makes, assigns a global, or a variable of a function around
    /// it or of the file level.
    Variables {
        /// Where it does that.
        line: Option<u32>,
    },
    /// The file level keeps something that can't be frozen.
    Values {
        /// A buffer, a coroutine, an iterator, or more than can be looked at.
        what: &'static str,
        /// Where the function is defined that holds it, if it is no global.
        line: Option<u32>,
    },
    /// A callback changed, or tried to change, a table of the file level, or asked whether it is frozen.
    Tables {
        /// Where it did that, if that is known.
        line: Option<u32>,
    },
}

impl Mutable {
    /// The line that is the reason, if there is one.
    #[must_use]
    pub const fn line(self) -> Option<u32> {
        match self {
            Self::Variables { line } | Self::Values { line, .. } | Self::Tables { line } => line,
        }
    }
}

impl fmt::Display for Mutable {
    /// `line 12 assigns a variable that lives on`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.line().map(|line| format!("line {line}"));
        match self {
            Self::Variables { .. } => {
                let place = place.as_deref().unwrap_or("a function");
                write!(f, "{place} assigns a variable that lives on when the function returns")
            }
            Self::Values { what, .. } => match place {
                Some(place) => write!(f, "the function of {place} holds {what} of the file level"),
                None => write!(f, "the file level keeps {what}"),
            },
            Self::Tables { .. } => {
                let place = place.as_deref().unwrap_or("a callback");
                write!(f, "{place} changes a table of the file level, or asks if it is frozen")
            }
        }
    }
}

/// Which callbacks a script defines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallbackSet(u8);

impl CallbackSet {
    /// The set of this one alone.
    pub(crate) const fn only(callback: Callback) -> Self {
        Self(callback.bit())
    }

    /// Whether the script defines this one.
    #[must_use]
    pub const fn contains(self, callback: Callback) -> bool {
        self.0 & callback.bit() != 0
    }

    /// Adds one.
    pub(crate) const fn insert(&mut self, callback: Callback) {
        self.0 |= callback.bit();
    }
}

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
    /// Why its file level runs anew for every run, once that is known.
    mutable: OnceLock<Mutable>,
    callbacks: OnceLock<CallbackSet>,
    /// The callbacks that were searched for stray globals: once each is enough.
    searched: AtomicU8,
    any_strays: AtomicBool,
    /// Its last run came near its memory limit.
    hungry: AtomicBool,
    /// The least limit with which a file level of its own kept to it when it was measured; 0 if none was.
    measured: AtomicUsize,
    /// Its strings.
    texts: Box<[Text]>,
    strays: Mutex<Vec<(Callback, String)>>,
    file_lines: FileLines,
}

/// What the file level of a script wrote when it ran first: it writes the same whenever it runs, on each VM, and
/// for each run if it can't be shared.
#[derive(Debug, Default)]
struct FileLines {
    is_known: AtomicBool,
    /// Some wait to be taken.
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
        super::set_fast_flags();
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
            file_lines: FileLines::default(),
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

    /// The asset path.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is called where VMs are looked at: the name, but for a source that nobody gave one.
    #[must_use]
    pub fn title(&self) -> &Arc<str> {
        &self.title
    }

    /// Gives a source without a name a title: how it begins, as Lua does it.
    #[must_use]
    pub(crate) fn titled_after(mut self, source: &str) -> Self {
        let mut lines = source.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        let end = first.char_indices().nth(MAX_TITLE).map_or(first.len(), |(end, _)| end);
        let more = if end < first.len() || lines.next().is_some() { "..." } else { "" };
        self.title = format!("[string \"{}{more}\"]", &first[..end]).into();
        self
    }

    /// Tells this program from any other that this process compiled.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Depends on the asset path alone.
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

    /// Whether a callback is still to be searched for globals that it assigns.
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

    /// Takes the globals that callbacks were found to assign and that are gone after the run: the first
    /// mistake everyone makes. Each is told once.
    pub fn take_strays(&self) -> Vec<(Callback, String)> {
        if !self.any_strays.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.any_strays.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.strays.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the file level has not run yet, so that what it writes is news.
    pub(super) fn wants_file_lines(&self) -> bool {
        !self.file_lines.is_known.load(Ordering::Relaxed)
    }

    /// Keeps what the file level wrote, if it is the first time that it ran.
    pub(super) fn learn_file_lines(&self, lines: Vec<LogLine>) {
        let FileLines { is_known, any, lines: kept } = &self.file_lines;
        if !is_known.swap(true, Ordering::Relaxed) && !lines.is_empty() {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = lines;
            any.store(true, Ordering::Release);
        }
    }

    /// Takes the lines that the file level wrote with `print` or `log.*`: those of the first time that it ran, at
    /// most 32, and a warning if there were more. It writes the same each time, so each is told once.
    pub fn take_file_lines(&self) -> Vec<LogLine> {
        let FileLines { any, lines, .. } = &self.file_lines;
        if !any.load(Ordering::Acquire) {
            return Vec::new();
        }
        any.store(false, Ordering::Relaxed);
        std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the file level of this script runs anew before every callback; `None` as long as it need not.
    ///
    /// Most file levels hold constants and functions: those run once in a VM, and what they made is
    /// frozen and serves every run. A script that changes its file level must find it unchanged in the
    /// next run, and the only way is to make it anew, which takes longer.
    #[must_use]
    pub fn mutable(&self) -> Option<Mutable> {
        self.mutable.get().copied()
    }

    /// Notes that the file level can't serve more than one run.
    pub(super) fn found_mutable(&self, why: Mutable) {
        let _ = self.mutable.set(why);
    }

    /// Gives each run a file level of its own, whatever the script does: for tests that compare. Before its
    /// first run.
    #[doc(hidden)]
    pub fn has_own_file_levels(&self) {
        self.found_mutable(Mutable::Tables { line: None });
    }

    /// Whether a closure of a function that is defined at this line, with so many upvalues, may be part of
    /// an image; if not, why.
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

    /// Whether its last run came near its memory limit, so that the next one had better be measured at once.
    pub(super) fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed)
    }

    /// A run that has this limit was measured, and its file level kept to it.
    pub(super) fn note_measured(&self, limit: usize, hungry: bool) {
        self.hungry.store(hungry, Ordering::Relaxed);
        let less = |before| (before == 0 || limit < before).then_some(limit);
        let _ = self.measured.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether its file level keeps to this limit, but perhaps not to much less.
    pub(super) fn needs_room(&self, limit: usize) -> bool {
        let measured = self.measured.load(Ordering::Relaxed);
        measured != 0 && measured <= limit
    }

    pub(super) fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// Roughly the bytes that it takes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.bytecode.len()
    }

    pub(super) fn bytecode(&self) -> &[u8] {
        &self.bytecode
    }
}

/// The largest bytecode that a script may have, in bytes: a small text can stand for much, since the
/// compiler joins constant strings.
const MAX_BYTECODE_SIZE: usize = 8 * MAX_SOURCE_SIZE;

/// Pairs of strings of one script whose hashes collide, besides as many as it has strings, which is twice what comes
/// about by chance. A VM has one table for the strings of all scripts, so that many scripts may collide together: each
/// string is compared with those of the others, which takes some nanoseconds for each.
const MAX_COLLISIONS: usize = 2_000;

const UNREADABLE: &str = "bevy_lua_pool can't read the bytecode of this version of Luau, and so can't tell whether \
                          a run of it ends in time; use the version of mlua that it was made for";

/// Compiles to code that never works for long between two safepoints.
fn compile(purpose: Purpose, name: &str, source: &str) -> Result<Vec<u8>, ScriptError> {
    let compiler = Compiler::new()
        .set_optimization_level(1)
        .set_debug_level(1)
        .set_mutable_globals(PER_RUN_GLOBALS)
        .set_disabled_builtins(purpose.replaced().iter().copied());
    // Deeply nested source recurses deeply in the parser, and loaders run on small stacks.
    let bytecode = stacker::maybe_grow(NATIVE_STACK / 2, NATIVE_STACK, || compiler.compile(source))
        .map_err(|error| syntax_error(name, &error))?;
    let check_size = |size| {
        let limit = MAX_BYTECODE_SIZE;
        if size > limit { Err(ScriptError::TooLarge { size, limit }) } else { Ok(()) }
    };
    check_size(bytecode.len())?;
    let refused = |line, message: &str| {
        let (script, message) = (name.to_owned(), message.to_owned());
        ScriptError::Syntax { script, line, message }
    };
    let strings = bytecode::strings(&bytecode).ok_or_else(|| refused(1, UNREADABLE))?;
    if bytecode::collisions(&strings) > MAX_COLLISIONS + strings.len() {
        return Err(refused(1, "its strings all have the same hash: nobody can load that in time"));
    }
    let bytecode = bytecode::with_safepoints(&bytecode).map_err(|error| match error {
        NoSafepoints::Unreadable => refused(1, UNREADABLE),
        NoSafepoints::TooFar(line) => refused(
            line,
            "this function is too long for Luau to be interrupted everywhere; make two of it",
        ),
    })?;
    check_size(bytecode.len())?;
    Ok(bytecode.into_owned())
}

/// Luau's parser takes a NUL byte for the end of the text, and what follows would be lost without a word.
fn refuse_nul(name: &str, source: &str) -> Result<(), ScriptError> {
    let Some(offset) = source.find('\0') else { return Ok(()) };
    let before = &source[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = format!(
        "a NUL byte in column {column}, which would end the text here; remove it, write `\\0` if a text is \
         to hold it, and save the file as UTF-8"
    );
    let line = u32::try_from(line).unwrap_or(u32::MAX);
    Err(ScriptError::Syntax { script: name.to_owned(), line, message })
}

/// What Luau calls a chunk: the name of a file. No NUL byte can be part of it.
pub(super) fn chunk_name(name: &str) -> String {
    format!("@{}", name.replace('\0', "\\0"))
}

/// Takes the line out of Luau's `12: message`.
fn syntax_error(name: &str, error: &mlua::Error) -> ScriptError {
    let text = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let (line, message) = text
        .trim_start_matches(':')
        .split_once(':')
        .and_then(|(line, message)| Some((line.trim().parse().ok()?, message.trim())))
        .unwrap_or((1, text.as_str()));
    ScriptError::Syntax { script: name.to_owned(), line, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_names_file_line_and_reason() {
        let error = Program::compile("scripts/x.luau", "local a = 1\nlocal b = = 2\n").map(|_| ());
        let Err(ScriptError::Syntax { script, line, message }) = error else {
            panic!("not a syntax error: {error:?}");
        };
        assert_eq!((script.as_str(), line), ("scripts/x.luau", 2));
        assert!(message.contains('='), "{message}");
    }

    #[test]
    fn bytecode_and_oversized_text_are_refused() {
        assert!(matches!(
            Program::compile_bytes("x", &[6, 3, 0xff, 1]),
            Err(ScriptError::NotText { offset: 2 })
        ));
        let long = " ".repeat(MAX_SOURCE_SIZE + 1);
        assert!(matches!(Program::compile("x", &long), Err(ScriptError::TooLarge { .. })));
        let program = Program::compile("x", &long[1..]);
        assert!(program.is_ok(), "exactly the limit compiles");
    }

    #[test]
    fn text_nested_too_deeply_is_a_syntax_error_not_a_crash() {
        let source = format!("return {}1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(matches!(Program::compile("x", &source), Err(ScriptError::Syntax { .. })));
    }

    #[test]
    fn however_many_strings_a_script_has_they_may_collide_by_chance_but_not_on_purpose() {
        let list = |names: Vec<String>| format!("return {{'{}'}}", names.join("','"));
        for source in [
            list((0..20_000).map(|n| format!("k{n}")).collect()),
            list((0..10_000).map(|n| format!("item_{n:05}_name")).collect()),
            list((0..12_000).map(|n| format!("{n:x}")).collect()),
            list((0..5_000).map(|n| format!("assets/models/tree_{n}/leaf.png")).collect()),
        ] {
            let compiled = Program::compile("names.luau", &source);
            assert!(compiled.is_ok(), "{}: {:?}", &source[..40], compiled.err());
        }
        let all = include_str!("../../tests/attacks/host/collisions_in_source.luau");
        let names: Vec<&str> =
            all.lines().filter_map(|line| line.trim().strip_suffix(" = 1,")).collect();
        let of = |count: usize| {
            Program::compile("all.luau", &format!("return {{'{}'}}", names[..count].join("','")))
        };
        assert!(of(50).is_ok());
        assert!(
            matches!(of(80), Err(ScriptError::Syntax { .. })),
            "they would fill a table of all"
        );
    }
}
