//! The raw Luau API: the only place with `unsafe`.
//!
//! Two rules keep it sound.
//!
//! 1. Every call that may raise a Lua error (allocation included) happens inside
//!    [`mlua::Lua::exec_raw`] or inside a C function that Luau called: a protected call is below. Luau
//!    raises by C++ exception, which unwinds Rust frames and runs their destructors, since every
//!    function on the way is `extern "C-unwind"`. No such call happens inside
//!    [`std::panic::catch_unwind`], which must not meet a foreign exception.
//! 2. The state of the run is reached through a thread-local pointer that [`enter`] sets and takes
//!    back. A VM runs on one thread at a time, the run outlives the call, and a C function turns the
//!    pointer into a reference for no longer than it calls the host, which can't reach the VM.

#![expect(unsafe_code, reason = "the raw Luau API; see the module's two rules")]

mod builtins;
mod exact;
mod guards;
mod internals;
mod numerals;
mod refusal;
mod weak;
mod weigh;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bevy::prelude::{Entity, Vec3};
use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Table};
use rand::Rng;
use smol_str::SmolStr;

use self::builtins::begin_reading;
pub(super) use self::builtins::bound_built_ins;
pub(super) use self::exact::{Measuring, MeasuringLate};
pub(super) use self::guards::install as guard;
use self::guards::note_error;
pub(super) use self::refusal::watch as watch_refusals;
pub(super) use self::weak::forbid_weak_tables;
pub(super) use self::weigh::{Counting, object_bytes};
use super::atom::{Atom, NO_ATOM, atom_of_string};
use super::host::{
    Field, FieldId, FieldRef, Host, Live, LogLevel, LogLine, ReadResult, Scalar, ScalarRead,
};
use super::limits::Deadline;
use super::program::{Callback, CallbackSet, Mutable, Program};
use super::random::RunRandom;
use super::session::Results;
use super::text::Text;
use super::{Call, CallBatch, StateChange, Used};
use crate::error::{RETURNED, ScriptError};
use crate::value::{ScriptKey, ScriptTable, ScriptValue, ScriptValues};

/// Tables nested deeper than this are not data.
const MAX_DEPTH: u32 = 32;
/// Messages longer than this are cut, in bytes.
const MAX_MESSAGE: usize = 2000;
/// What Luau adds to `stack overflow`.
const TOO_DEEP: &CStr = c"too many values";
/// Luau's message for want of memory.
const OUT_OF_MEMORY: &str = "not enough memory";
/// The most bytes that all lists and maps of components may have together that a run gets, and each one when
/// it comes back.
const MAX_HANDED: usize = 8 * 1024 * 1024;
/// The most lines of a file level that are kept.
const MAX_FILE_LINES: usize = 32;
/// The most globals of a script that are told apart from stray ones.
const MAX_GLOBALS: usize = 256;
/// The longest name of a component or field, in bytes.
const MAX_NAME: usize = 1024;
/// The most arguments that a host function gets.
const MAX_ARGUMENTS: c_int = 255;
/// Calls shown in a traceback.
const MAX_FRAMES: c_int = 24;
/// The userdata tag of [`FieldRef`]s; mlua uses none.
const PLACE_TAG: c_int = 7;
/// The userdata tag of handles to spots of the own entity, whichever that is: a VM makes each once.
const OWN_TAG: c_int = 9;
/// The run's environment holds `_G`, `entity`, and what the script defines.
const ENVIRONMENT_SLOTS: c_int = 8;

/// Where things lie on the stack when a file level has run.
const MAIN: c_int = 1;
const ENVIRONMENT: c_int = 2;
const HANDLER: c_int = 3;

/// What a run needs to know of its surroundings.
///
/// Runs that follow one another in a row share one, and what is of a single run alone lies in [`Own`], which
/// [`Run::begin_again`] replaces as a whole. Here are
///
/// - what the runs of a row have in common: `in_callback`, `max_value_size`, `handles`, `handed_ref`,
///   `on_image`;
/// - what has its own way to begin again: `host`, which the row turns to the next entity, and `deadline`.
pub(super) struct Run<'h> {
    /// The world; absent at the file level.
    pub(super) host: &'h mut dyn Host,
    /// Whether the callback runs already, so that `host` may be used.
    pub(super) in_callback: bool,
    /// When it must be over.
    pub(super) deadline: Deadline<'h>,
    /// The most bytes that one value may have.
    pub(super) max_value_size: usize,
    /// The handles to spots that the VM has made; none for sessions.
    handles: Option<&'h OwnHandles>,
    /// The registry slot of the array that holds the handed tables.
    handed_ref: c_int,
    vm: *mut ffi::lua_Callbacks,
    /// Whether it runs on an image.
    on_image: bool,
    own: Own,
}

/// What no run gets from the one before it.
struct Own {
    /// Its random numbers.
    random: RunRandom,
    /// The own entity, once the callback runs.
    entity: Entity,
    /// The tables that stand for lists and maps of components.
    handed: Vec<(FieldRef, ScriptTable)>,
    /// The bytes of all that were handed to it.
    handed_bytes: usize,
    /// The last error raised by this layer, to tell it from one that the script raised.
    raised: Option<Box<ScriptError>>,
    /// The message, line and call stack of the error that ended the run.
    trace: Option<Box<Trace>>,
    /// A host function panicked.
    panicked: Option<Box<ScriptError>>,
    /// It met the difference between an image and a file level of its own.
    touched: Option<Touched>,
    /// It was refused memory, and may have caught the error.
    out_of_memory: bool,
    /// Steps since it began, while they are counted.
    steps: u64,
    /// Those of the file level that ran for it.
    file_steps: u64,
    /// What the file level writes, if that is news.
    file_lines: Option<Box<FileLines>>,
}

/// Lines that a file level writes.
#[derive(Default)]
struct FileLines {
    kept: Vec<LogLine>,
    left_out: usize,
}

impl FileLines {
    fn add(&mut self, line: LogLine) {
        if self.kept.len() < MAX_FILE_LINES {
            self.kept.push(line);
        } else {
            self.left_out += 1;
        }
    }

    fn into_lines(self) -> Vec<LogLine> {
        let Self { mut kept, left_out } = self;
        if left_out > 0 {
            let text = format!("the file level writes {left_out} more lines, which are left out");
            kept.push(LogLine { level: LogLevel::Warn, text, line: None });
        }
        kept
    }
}

impl Own {
    fn new(entity: Entity, random: RunRandom) -> Self {
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
pub(super) struct Touched {
    /// Where it did, as far as that is known.
    pub(super) line: Option<u32>,
}

struct Trace {
    message: String,
    line: Option<u32>,
    frames: String,
}

/// How a run ended.
pub(super) enum Ended {
    /// The script does not define the callback.
    Missing,
    /// With this change of its state.
    Done(StateChange),
    /// It ran on an image, and a script could tell: nothing of it may stay.
    TouchedImage(Touched),
    /// With an error.
    Failed(Box<FailedRun>),
    /// The memory limit was reached.
    OutOfMemory,
}

/// An error that ended a run: what, the line, the call stack.
pub(super) struct FailedRun {
    pub(super) error: ScriptError,
    pub(super) line: Option<u32>,
    pub(super) frames: String,
}

impl Ended {
    /// With an error whose place is not known.
    fn failed(error: ScriptError) -> Self {
        Self::Failed(Box::new(FailedRun { error, line: None, frames: String::new() }))
    }
}

impl<'h> Run<'h> {
    pub(super) fn new(
        host: &'h mut dyn Host,
        deadline: Deadline<'h>,
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
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.own.out_of_memory
    }

    /// Where it ran out of memory: the line and the call stack, as far as they are known.
    pub(super) fn take_place(&mut self) -> (Option<u32>, String) {
        self.own.trace.take().map_or((None, String::new()), |trace| (trace.line, trace.frames))
    }

    pub(super) fn panicked(&self) -> Option<&ScriptError> {
        self.own.panicked.as_deref()
    }

    /// Whether more than its result decides what it came to.
    fn is_to_be_judged(&self) -> bool {
        self.own.out_of_memory || self.own.touched.is_some() || self.own.panicked.is_some()
    }

    /// Another run on an image begins, for this entity, after one that kept to its limits.
    fn begin_again(&mut self, entity: Entity, seed: u64) {
        self.deadline.begin_again();
        self.own = Own::new(entity, RunRandom::new(seed));
        refusal::replace(false);
    }

    /// What it used up, for those who count that.
    #[inline]
    pub(super) fn used(&self) -> Used {
        let Own { steps, file_steps, ref random, .. } = self.own;
        Used { steps, file_steps, drew: random.has_drawn() }
    }

    /// It could tell that it runs on an image, if it does.
    fn touch(&mut self, line: impl FnOnce() -> Option<u32>) {
        if self.on_image && self.own.touched.is_none() {
            self.own.touched = Some(Touched { line: line() });
        }
    }

    /// Remembers a panic of the host: it fails the run even if the script catches the error.
    fn note<R>(&mut self, result: &Result<R, ScriptError>) {
        if let Err(error @ ScriptError::HostPanicked { .. }) = result {
            self.own.panicked = Some(Box::new(error.clone()));
        }
    }
}

/// The registry slots of handles to spots, by spot; 0 where there is none yet.
#[derive(Debug, Default)]
struct OwnHandles(RefCell<Vec<c_int>>);

/// Registry slots that a VM fills once.
#[derive(Debug)]
pub(super) struct Refs {
    /// The name `entity`.
    entity: c_int,
    own: OwnHandles,
    environment_metatable: c_int,
    message_handler: c_int,
    handed: c_int,
    /// [`call_job`].
    job: c_int,
    /// The addresses of everything that is shared and frozen.
    shared: Arc<HashSet<usize>>,
    vm: Callbacks,
}

/// The callbacks of a VM, whose place is theirs as long as it lives.
#[derive(Clone, Copy, Debug)]
struct Callbacks(*mut ffi::lua_Callbacks);

// SAFETY: it is an address, which is used where the VM runs.
unsafe impl Send for Callbacks {}
// SAFETY: as above.
unsafe impl Sync for Callbacks {}

thread_local! {
    static CURRENT: Cell<*mut c_void> = const { Cell::new(std::ptr::null_mut()) };
}

/// Makes `run` the run of this thread while `body` lasts.
fn enter<R>(run: *mut Run<'_>, body: impl FnOnce() -> R) -> R {
    struct Restore {
        outer: *mut c_void,
        refused: bool,
        vm: *mut ffi::lua_Callbacks,
    }
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.outer);
            numerals::turn_to(self.vm);
            refusal::replace(self.refused);
        }
    }
    // SAFETY: no reference to the run is used meanwhile.
    let vm = unsafe { run.as_ref() }.map_or(std::ptr::null_mut(), |run| run.vm);
    let outer = CURRENT.replace(run.cast());
    let vm = numerals::turn_to(vm);
    numerals::forget_blocks();
    let _restore = Restore { outer, refused: refusal::replace(false), vm };
    body()
}

/// Gives the run of this thread to `body`, or reports that there is none.
fn with_run<R>(
    what: &str,
    body: impl FnOnce(&mut Run<'_>) -> Result<R, ScriptError>,
) -> Result<R, ScriptError> {
    let current = CURRENT.get().cast::<Run<'_>>();
    // SAFETY: `run_callback` passed `enter` a pointer to a live run, which `enter` takes back before
    // that borrow ends. `body` only reaches the host, which has no way back into this VM, so no second
    // reference to the same run exists meanwhile.
    match unsafe { current.as_mut() } {
        Some(run) => body(run),
        None => Err(ScriptError::NoRun { what: what.to_owned() }),
    }
}

/// Gives the host of this thread's run to `body`; a panic in it becomes an error that ends the run.
fn with_host<R>(
    what: &str,
    body: impl FnOnce(&mut dyn Host, &mut RunRandom) -> Result<R, ScriptError>,
) -> Result<R, ScriptError> {
    with_run(what, |run| {
        if !run.in_callback {
            return Err(ScriptError::FileLevel { what: what.to_owned() });
        }
        let (host, random) = (&mut *run.host, &mut run.own.random);
        let result = guarded(what, || body(host, random));
        run.note(&result);
        result
    })
}

/// Turns a panic of the host into an error.
fn guarded<R>(what: &str, body: impl FnOnce() -> Result<R, ScriptError>) -> Result<R, ScriptError> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(ScriptError::HostPanicked { function: what.to_owned(), message })
    })
}

/// Has the processor fetch what lies there, to be used soon. It changes nothing, and where it can't be done,
/// nothing is lost.
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which may even name a place that isn't there; all such processors take it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

// ---- set-up ------------------------------------------------------------------------------------

/// Installs what runs need into a fresh VM; `builtins` is what scripts see besides their own.
pub(super) fn set_up(lua: &Lua, builtins: &Table) -> mlua::Result<Refs> {
    let mut refs = Refs {
        entity: 0,
        own: OwnHandles::default(),
        environment_metatable: 0,
        message_handler: 0,
        handed: 0,
        job: 0,
        shared: Arc::default(),
        vm: Callbacks(std::ptr::null_mut()),
    };
    let slots = &mut refs;
    // SAFETY: rule 1: a protected call is below; the stack holds `builtins` at 1 and has room for
    // the few values pushed here; the callbacks outlive the VM, being functions.
    unsafe {
        lua.exec_raw::<()>(builtins, |state| {
            ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
            (*ffi::lua_callbacks(state)).useratom = Some(atom_of);
            slots.vm = Callbacks(ffi::lua_callbacks(state));

            ffi::lua_pushstring(state, c"entity".as_ptr());
            slots.entity = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            ffi::lua_createtable(state, 0, 2);
            ffi::lua_pushvalue(state, 1);
            ffi::lua_rawsetfield(state, -2, c"__index".as_ptr());
            lock_metatable(state);
            slots.environment_metatable = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            push_function(state, on_error);
            slots.message_handler = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            ffi::lua_createtable(state, 0, 0);
            slots.handed = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            push_function(state, call_job);
            slots.job = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            // All strings share one metatable, and so do all vectors. Luau leaves that of strings
            // open.
            ffi::lua_pushlstring(state, c"".as_ptr(), 0);
            lock_shared_metatable(state);
            ffi::lua_pushvector(state, 0.0, 0.0, 0.0);
            lock_shared_metatable(state);

            // Entities are light userdata; their metatable is the type's.
            ffi::lua_pushlightuserdata(state, std::ptr::null_mut());
            ffi::lua_createtable(state, 0, 6);
            set_function(state, c"__index", entity_index);
            set_function(state, c"__newindex", entity_newindex);
            set_function(state, c"__tostring", entity_tostring);
            set_type_name(state, c"Entity");
            lock_metatable(state);
            ffi::lua_setmetatable(state, -2);
            ffi::lua_pop(state, 1);

            ffi::lua_createtable(state, 0, 6);
            set_function(state, c"__index", place_index);
            set_function(state, c"__newindex", place_newindex);
            set_function(state, c"__tostring", place_tostring);
            set_function(state, c"__eq", place_eq);
            set_type_name(state, c"Component");
            lock_metatable(state);
            // Both kinds of handles are alike to scripts.
            ffi::lua_pushvalue(state, -1);
            ffi::lua_setuserdatametatable(state, PLACE_TAG);
            ffi::lua_setuserdatametatable(state, OWN_TAG);

            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slots.environment_metatable.into());
            let shared = reachable(
                state,
                ffi::lua_gettop(state),
                &HashSet::new(),
                &mut |_, _| true,
                &mut |_| {},
                &mut || false,
            );
            slots.shared = Arc::new(shared.expect("everything is accepted"));
            ffi::lua_pop(state, 1);
        })?;
    }
    Ok(refs)
}

/// Collects all garbage, and has the next cycle of the collector begin when a VM that holds `resting` bytes
/// now holds so many.
pub(super) fn collect(lua: &Lua, resting: usize, bytes: usize) -> mlua::Result<()> {
    // When all is collected, Luau computes the beginning of the next cycle from a goal in percents, less
    // half of what is there; see `luaC_fullgc`.
    let goal = 100 * bytes.max(resting) / resting.max(1) + 50;
    let set_goal = |goal: c_int| {
        let mut before = 0;
        lua.exec_raw_lua(|raw| {
            // SAFETY: sets a number, and gives the one before.
            before = unsafe { ffi::lua_gc(raw.state(), ffi::LUA_GCSETGOAL, goal) };
        });
        before
    };
    let usual = set_goal(goal as c_int);
    let collected = lua.gc_collect();
    set_goal(usual);
    collected
}

/// Gives a VM in which nothing runs the short stack that it had when it was new. The collector only halves one each
/// time that a run left long. The allocator has to give what that takes.
pub(super) fn shorten_stack(lua: &Lua) {
    lua.exec_raw_lua(|raw| {
        let state = raw.state();
        // SAFETY: no function is active and nothing is on the stack, so nothing is lost with it, nor has anybody
        // an address within it. It raises if it gets no memory, which is only so if the process has none.
        unsafe {
            if ffi::lua_stackdepth(state) == 0 && ffi::lua_gettop(state) == 0 {
                ffi::lua_resetthread(state);
            }
        }
    });
}

/// A function of the host, by its number.
pub(super) fn host_function(lua: &Lua, number: u32, name: &str) -> mlua::Result<Function> {
    numbered(lua, number, name, call_host)
}

/// The `__index` of a namespace of live values, by its number.
pub(super) fn live_namespace(lua: &Lua, number: u32, name: &str) -> mlua::Result<Function> {
    numbered(lua, number, name, read_live)
}

/// `log.info` and its like.
pub(super) fn log_function(lua: &Lua, level: LogLevel) -> mlua::Result<Function> {
    numbered(lua, level as u32, "log", write_log)
}

/// `math.random` on the run's own generator.
pub(super) fn random_function(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: rule 1; one closure without upvalues.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushcclosurek(state, random, c"random".as_ptr(), 0, None);
        })
    }
}

/// `tostring` that shows no address.
pub(super) fn tostring_function(lua: &Lua) -> mlua::Result<Function> {
    // SAFETY: rule 1.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::lua_pushcclosurek(state, tostring, c"tostring".as_ptr(), 0, None);
        })
    }
}

fn numbered(
    lua: &Lua,
    number: u32,
    name: &str,
    function: ffi::lua_CFunction,
) -> mlua::Result<Function> {
    // SAFETY: rule 1; one closure with the two upvalues that were pushed.
    unsafe {
        lua.exec_raw((number, name), |state| {
            ffi::lua_pushcclosurek(state, function, std::ptr::null(), 2, None);
        })
    }
}

/// # Safety
///
/// Called inside a protected call with a table on top and room for two values.
unsafe fn set_function(state: *mut lua_State, name: &CStr, function: ffi::lua_CFunction) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        push_function(state, function);
        ffi::lua_rawsetfield(state, -2, name.as_ptr());
    }
}

unsafe fn push_function(state: *mut lua_State, function: ffi::lua_CFunction) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { ffi::lua_pushcclosurek(state, function, std::ptr::null(), 0, None) }
}

unsafe fn set_type_name(state: *mut lua_State, name: &CStr) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::lua_pushstring(state, name.as_ptr());
        ffi::lua_rawsetfield(state, -2, c"__type".as_ptr());
    }
}

unsafe fn lock_metatable(state: *mut lua_State) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::lua_pushboolean(state, 0);
        ffi::lua_rawsetfield(state, -2, c"__metatable".as_ptr());
        ffi::lua_setreadonly(state, -1, 1);
    }
}

/// Locks the metatable of the value on top, if it has one, and pops the value.
unsafe fn lock_shared_metatable(state: *mut lua_State) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_getmetatable(state, -1) != 0 {
            ffi::lua_setreadonly(state, -1, 0);
            lock_metatable(state);
            ffi::lua_pop(state, 1);
        }
        ffi::lua_pop(state, 1);
    }
}

// ---- one run -----------------------------------------------------------------------------------

/// Runs one callback in a fresh environment: the file level first, then the callback.
pub(super) fn run_callback(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    main: &Function,
    call: Call<'_>,
    run: &mut Run<'_>,
) -> Ended {
    let mut ended = None;
    let out = &mut ended;
    let run_ptr = std::ptr::from_mut(run);
    let result = enter(run_ptr, || {
        // SAFETY: rule 1. `run_ptr` is live and used between calls into Lua only, when no C function
        // is active that could use it too.
        unsafe {
            lua.exec_raw::<()>(main, |state| {
                *out = Some(execute(state, refs, program, call, run_ptr));
                ffi::lua_settop(state, 0);
            })
        }
    });
    match (result, ended) {
        (Ok(()), Some(ended)) => ended,
        (Err(mlua::Error::MemoryError(_)), _) => Ended::OutOfMemory,
        (Err(error), _) => {
            let error = ScriptError::Raised { message: error.to_string() };
            Ended::failed(error)
        }
        (Ok(()), None) => unreachable!("the body sets the outcome or does not return"),
    }
}

/// # Safety
///
/// Called inside a protected call, with the main function at index 1; `run` is live and not
/// otherwise referenced while this function, rather than Lua, is on top of the stack.
unsafe fn execute(
    state: *mut lua_State,
    refs: &Refs,
    program: &Program,
    call: Call<'_>,
    run: *mut Run<'_>,
) -> Ended {
    const SELF: c_int = HANDLER + 1;
    let Call { callback, state: state_in, args, seed } = call;
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::luaL_checkstack(state, 24 + args.len() as c_int, TOO_DEEP.as_ptr());
        if let Err(failed) = run_file_level(state, refs, program, run) {
            return failed;
        }
        if exact::end_of_file_level(state) && !(*run).deadline.has_passed() {
            (*run).deadline.begin_again();
        }

        let searches = program.is_unsearched(callback);
        let known = if searches { globals_of(state, ENVIRONMENT) } else { Vec::new() };

        // The callback.
        (*run).start_with(seed);
        let entity = (*run).own.entity;
        push_entity(state, entity);
        ffi::lua_rawsetfield(state, ENVIRONMENT, c"entity".as_ptr());
        let steps = (*run).own.steps;
        push_table(state, state_in, 0);
        (*run).own.steps = steps;
        push_callback(state, ENVIRONMENT, callback);
        match ffi::lua_type(state, -1) {
            ffi::LUA_TFUNCTION => {}
            ffi::LUA_TNIL => return Ended::Missing,
            other => {
                let name = callback.name();
                let kind = CStr::from_ptr(ffi::lua_typename(state, other)).to_string_lossy();
                let message = format!("`{name}` must be a function, but it is a {kind}");
                let error = ScriptError::Raised { message };
                return Ended::failed(error);
            }
        }
        ffi::lua_pushvalue(state, SELF);
        for arg in args {
            push_value(state, arg, 0);
        }
        numerals::forget_blocks();
        let status = ffi::lua_pcall(state, args.len() as c_int + 1, 0, HANDLER);
        if status != ffi::LUA_OK {
            return failed(state, status, program, &mut *run);
        }

        if searches {
            let mut strays = globals_of(state, ENVIRONMENT);
            // Of more globals than that it is not known which were there before.
            strays.retain(|name| known.len() < MAX_GLOBALS && !known.contains(name));
            program.note_strays(callback, strays);
        }

        // What it leaves behind.
        if let Err(error) = flush(state, &mut *run) {
            return Ended::failed(error);
        }
        let reader = Reader::new((*run).max_value_size, None, &mut (*run).deadline);
        match { reader }.table(state, SELF) {
            Ok(table) => Ended::Done(StateChange::Replaced(table.into())),
            Err(problem) => {
                let error = problem.into_error("self", (*run).max_value_size, "kept");
                Ended::failed(error)
            }
        }
    }
}

/// Runs the file level in a fresh environment. Leaves the environment and the message handler on the
/// stack, at [`ENVIRONMENT`] and [`HANDLER`].
///
/// # Safety
///
/// As `execute`, with nothing but the main function on the stack and room for some values.
unsafe fn run_file_level(
    state: *mut lua_State,
    refs: &Refs,
    program: &Program,
    run: *mut Run<'_>,
) -> Result<(), Ended> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        (*run).own.random = RunRandom::new(file_level_seed(program.name()));
        ffi::lua_createtable(state, 0, ENVIRONMENT_SLOTS);
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.environment_metatable.into());
        ffi::lua_setmetatable(state, ENVIRONMENT);
        ffi::lua_pushvalue(state, ENVIRONMENT);
        ffi::lua_rawsetfield(state, ENVIRONMENT, c"_G".as_ptr());
        ffi::lua_pushlightuserdata(state, std::ptr::null_mut());
        ffi::lua_rawsetfield(state, ENVIRONMENT, c"entity".as_ptr());
        ffi::lua_setsafeenv(state, ENVIRONMENT, 1);
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.message_handler.into());

        ffi::lua_clonefunction(state, MAIN);
        ffi::lua_pushvalue(state, ENVIRONMENT);
        ffi::lua_setfenv(state, -2);
        (*run).own.file_lines = program.wants_file_lines().then(Box::default);
        let status = ffi::lua_pcall(state, 0, 0, HANDLER);
        let lines = (*run).own.file_lines.take();
        let ended = match status {
            ffi::LUA_OK => Ok(()),
            _ => Err(failed(state, status, program, &mut *run)),
        };
        // One that is out of memory may run again with more.
        if let Some(lines) = lines
            && !matches!(ended, Err(Ended::OutOfMemory))
        {
            program.learn_file_lines(lines.into_lines());
        }
        ended?;
        program.learn_callbacks(|| {
            let mut defined = CallbackSet::default();
            for callback in Callback::ALL {
                push_callback(state, ENVIRONMENT, callback);
                if ffi::lua_type(state, -1) != ffi::LUA_TNIL {
                    defined.insert(callback);
                }
                ffi::lua_pop(state, 1);
            }
            defined
        });
        Ok(())
    }
}

/// # Safety
///
/// Inside a protected call; one free slot.
unsafe fn push_callback(state: *mut lua_State, environment: c_int, callback: Callback) {
    let name = match callback {
        Callback::Stop => c"on_stop",
        Callback::Start => c"on_start",
        Callback::Reload => c"on_reload",
        Callback::Message => c"on_message",
        Callback::FixedUpdate => c"on_fixed_update",
        Callback::Update => c"on_update",
    };
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::lua_rawgetfield(state, environment, name.as_ptr());
    }
}

/// The names in an environment, sorted; at most [`MAX_GLOBALS`].
///
/// # Safety
///
/// Inside a protected call; three free slots.
unsafe fn globals_of(state: *mut lua_State, environment: c_int) -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let mut next = ffi::lua_rawiter(state, environment, 0);
        while next >= 0 && names.len() < MAX_GLOBALS {
            names.extend(text_at(state, -2));
            ffi::lua_pop(state, 2);
            next = ffi::lua_rawiter(state, environment, next);
        }
        if next >= 0 {
            ffi::lua_pop(state, 2);
        }
    }
    names.sort();
    names
}

/// Reads the error that a protected call left.
///
/// # Safety
///
/// The error message of that call is on top.
unsafe fn failed(
    state: *mut lua_State,
    status: c_int,
    program: &Program,
    run: &mut Run<'_>,
) -> Ended {
    // Also if the script has made another error of it.
    if status == ffi::LUA_ERRMEM || run.own.out_of_memory || refusal::memory_was_refused() {
        return Ended::OutOfMemory;
    }
    let trace = run.own.trace.take().map(|trace| *trace);
    let trace = trace.unwrap_or_else(|| Trace {
        // SAFETY: see above; the handler left a string, or failed and Luau left one.
        message: unsafe { text_at(state, -1) }.unwrap_or_else(|| "no message".to_owned()),
        line: None,
        frames: String::new(),
    });
    let (line, message) = split_place(&trace.message, program.name());
    let line = line.or(trace.line);
    let error = match run.own.raised.take() {
        Some(error) if message == error.to_string() => *error,
        _ => ScriptError::Raised { message: message.to_owned() },
    };
    Ended::Failed(Box::new(FailedRun { error, line, frames: trace.frames }))
}

/// Takes `scripts/x.luau:12: ` off a message.
fn split_place<'m>(message: &'m str, script: &str) -> (Option<u32>, &'m str) {
    let place = message
        .strip_prefix(script)
        .and_then(|rest| rest.strip_prefix(':'))
        .and_then(|rest| rest.split_once(": "));
    match place {
        Some((line, rest)) => match line.parse() {
            Ok(line) => (Some(line), rest),
            Err(_) => (None, message),
        },
        None => (None, message),
    }
}

/// The handler of the outer protected calls: notes message, line and call stack.
///
/// # Safety
///
/// Luau calls it with the error at 1.
unsafe extern "C-unwind" fn on_error(state: *mut lua_State) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        note_error(state, 1);
        // May run the error object's `__tostring`: the limits are still armed.
        push_text(state, 1);
        let message = text_at(state, -1).unwrap_or_default();
        let (line, frames) = call_stack(state, 1);
        let _ = with_run("error", |run| {
            run.own.trace = Some(Box::new(Trace { message, line, frames }));
            Ok(())
        });
        1
    }
}

/// The calls from a level on, the innermost first, and the first line among them that is known.
///
/// # Safety
///
/// `lua_getinfo` fills the record that it gets and raises no error with these letters; its
/// strings live while the functions do.
unsafe fn call_stack(state: *mut lua_State, level: c_int) -> (Option<u32>, String) {
    let mut first = None;
    let mut text = String::new();
    for level in level..=MAX_FRAMES {
        // SAFETY: the caller keeps what this function asks for.
        let Some((place, name, line)) = (unsafe { frame_at(state, level) }) else {
            break;
        };
        if let Some(line) = line {
            first.get_or_insert(line);
            text.push_str(&format!("{place}:{line}"));
        } else if name.is_empty() || name == "error" {
            // The protected call at the bottom, and what only raised the error.
            continue;
        } else {
            text.push_str("[host]");
        }
        if !name.is_empty() {
            text.push_str(&format!(" in {}", short(&name)));
        }
        text.push('\n');
        if text.len() > 2 * MAX_MESSAGE {
            break;
        }
    }
    text.truncate(text.trim_end().len());
    (first, text)
}

/// # Safety
///
/// As `call_stack`.
unsafe fn frame_at(state: *mut lua_State, level: c_int) -> Option<(String, String, Option<u32>)> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let mut record: ffi::lua_Debug = std::mem::zeroed();
        if ffi::lua_getinfo(state, level, c"sln".as_ptr(), &raw mut record) == 0 {
            return None;
        }
        let text = |text: *const std::ffi::c_char| {
            if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        };
        let line = u32::try_from(record.currentline).ok().filter(|line| *line > 0);
        Some((text(record.short_src), text(record.name), line))
    }
}

/// The line that the Lua function which called this C function is at.
///
/// # Safety
///
/// As `call_stack`.
unsafe fn caller_line(state: *mut lua_State) -> Option<u32> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { frame_at(state, 1) }.and_then(|(_, _, line)| line)
}

// ---- images ------------------------------------------------------------------------------------

/// A file level that ran once and was frozen, with all that it made: it serves every run.
///
/// A run on it can't change it, and what it reaches is as it would be had the file level run just now.
/// Where a script could tell the difference, the run is stopped and begun again on a file level of its
/// own: see [`Touched`].
#[derive(Debug)]
pub(super) struct Image {
    /// Registry slots; or [`MISSING`] or [`WRONG`].
    environment: c_int,
    callbacks: [c_int; Callback::COUNT],
    /// The strings that it holds.
    pub(super) texts: Vec<Text>,
}

impl Image {
    /// Whether the script defines the callback.
    pub(super) fn has(&self, callback: Callback) -> bool {
        self.callbacks[callback as usize] > 0
    }
}

/// In place of a registry slot: the script does not define the callback.
const MISSING: c_int = 0;
/// In place of a registry slot: the script defines it, but as something else than a function.
const WRONG: c_int = -1;

/// What came of making an image.
pub(super) enum Imaged {
    Made(Image),
    /// The file level can't be shared.
    Mutable(Mutable),
    /// The file level failed.
    Failed(Ended),
}

/// In times of what a run may take: how long it may take to look at what a file level made, and to freeze it. That
/// is done once, and a script that has no image pays in every run.
const FREEZING: u32 = 8;
/// Objects that a file level may keep for an image to be worth it.
const MAX_OBJECTS: usize = 50_000;

/// Runs the file level of a program and freezes what it made.
pub(super) fn make_image(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    main: &Function,
    run: &mut Run<'_>,
) -> Imaged {
    let mut made = None;
    let out = &mut made;
    let run_ptr = std::ptr::from_mut(run);
    let result = enter(run_ptr, || {
        // SAFETY: as in `run_callback`.
        unsafe {
            lua.exec_raw::<()>(main, |state| {
                ffi::luaL_checkstack(state, 24, TOO_DEEP.as_ptr());
                *out = Some(match run_file_level(state, refs, program, run_ptr) {
                    Err(ended) => Imaged::Failed(ended),
                    Ok(()) => {
                        let deadline = &mut (*run_ptr).deadline;
                        if !deadline.has_passed() {
                            deadline.go_on_for_many(FREEZING);
                        }
                        match freeze(state, refs, program, deadline) {
                            Ok(image) => Imaged::Made(image),
                            Err(why) => Imaged::Mutable(why),
                        }
                    }
                });
                ffi::lua_settop(state, 0);
            })
        }
    });
    match (result, made) {
        (Ok(()), Some(made)) => made,
        (Err(mlua::Error::MemoryError(_)), _) => Imaged::Failed(Ended::OutOfMemory),
        (Err(error), _) => {
            let error = ScriptError::Raised { message: error.to_string() };
            Imaged::Failed(Ended::failed(error))
        }
        (Ok(()), None) => unreachable!("the body sets the outcome or does not return"),
    }
}

/// Freezes the environment and everything that can be reached from it; if something there can't be frozen,
/// tells what.
///
/// # Invariant
///
/// Nothing that can be reached from an image is ever assigned by a run. What can be reached is looked at here,
/// all of it, by way of keys, values, metatables and upvalues; and it is
///
/// - values that never change, and what all scripts share, which was frozen with the VM;
/// - tables, which are frozen. Luau remembers where a list ended when its length was asked for last, also of a
///   frozen one. `#` gives the same with and without that, and `table.clone`, which copies it, asks for the
///   length first;
/// - closures of the script. The variables that they hold are values in cells, which `SETUPVAL` alone assigns
///   from now on, since the frames whose locals they were have returned: the file level has, and a coroutine
///   that hasn't is out of reach. Let a run execute `SETUPVAL` on a cell of the image. The closure that does
///   it is either part of the image, or was made in the run by one that handed the cell on to it, and so on
///   back to one that is part of the image. Of that one [`Program::check_closure`] says that it may assign
///   the cell, by the bytecode alone, and so it is refused here.
///
/// All else is refused: a buffer can be written to, a coroutine goes on and holds locals, userdata is not
/// ours, a function in C (`string.gmatch` and `coroutine.wrap` make such) may count in its upvalues.
/// The environment's `entity` is assigned between runs, by us.
///
/// # Safety
///
/// After `run_file_level`, with room for some values.
unsafe fn freeze(
    state: *mut lua_State,
    refs: &Refs,
    program: &Program,
    deadline: &mut Deadline<'_>,
) -> Result<Image, Mutable> {
    // What takes too long to look at is made anew each time instead.
    let mut late = || deadline.has_passed();
    let mut why = None;
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let seen = reachable(
            state,
            ENVIRONMENT,
            &refs.shared,
            &mut |state, kind| {
                why = may_be_shared(state, kind, program).err();
                why.is_none()
            },
            &mut |_| {},
            &mut late,
        );
        if let Err(holder) = seen {
            let too_much = Mutable::Values { what: "more than can be looked at", line: None };
            return Err(match why.unwrap_or(too_much) {
                Mutable::Values { what, .. } => Mutable::Values { what, line: holder },
                why => why,
            });
        }
        let mut texts = weigh::Texts::default();
        // Only now, since a file level that is not accepted is run again as it is.
        let frozen = reachable(
            state,
            ENVIRONMENT,
            &refs.shared,
            &mut |state, kind| {
                if kind == ffi::LUA_TTABLE {
                    ffi::lua_setreadonly(state, -1, 1);
                }
                true
            },
            &mut |state| texts.add(state),
            &mut late,
        );
        if frozen.is_err() {
            return Err(Mutable::Values { what: "more than can be looked at", line: None });
        }
        let callbacks = [MISSING; Callback::COUNT];
        let mut image = Image { environment: 0, callbacks, texts: texts.list };
        for callback in Callback::ALL {
            push_callback(state, ENVIRONMENT, callback);
            image.callbacks[callback as usize] = match ffi::lua_type(state, -1) {
                ffi::LUA_TFUNCTION => ffi::lua_ref(state, -1),
                ffi::LUA_TNIL => MISSING,
                _ => WRONG,
            };
            ffi::lua_pop(state, 1);
        }
        ffi::lua_pushvalue(state, ENVIRONMENT);
        image.environment = ffi::lua_ref(state, -1);
        ffi::lua_pop(state, 1);
        Ok(image)
    }
}

/// Whether the object on top, of this kind, may be part of an image: see [`freeze`].
///
/// # Safety
///
/// Inside a protected call; two free slots.
unsafe fn may_be_shared(
    state: *mut lua_State,
    kind: c_int,
    program: &Program,
) -> Result<(), Mutable> {
    let refuse = |what| Err(Mutable::Values { what, line: None });
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match kind {
            ffi::LUA_TTABLE => Ok(()),
            ffi::LUA_TFUNCTION if ffi::lua_iscfunction(state, -1) != 0 => refuse("an iterator"),
            ffi::LUA_TFUNCTION => {
                let mut record: ffi::lua_Debug = std::mem::zeroed();
                let known = ffi::lua_getinfo(state, -1, c"su".as_ptr(), &raw mut record) != 0;
                match u32::try_from(record.linedefined) {
                    Ok(defined) if known => program.check_closure(defined, record.nupvals),
                    _ => Err(Mutable::Variables { line: None }),
                }
            }
            ffi::LUA_TBUFFER => refuse("a buffer"),
            ffi::LUA_TTHREAD => refuse("a coroutine"),
            _ => refuse("a handle"),
        }
    }
}

/// The line where the Lua function on top is defined; `None` if it is none.
///
/// # Safety
///
/// Inside a protected call.
unsafe fn line_defined(state: *mut lua_State) -> Option<u32> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_type(state, -1) != ffi::LUA_TFUNCTION || ffi::lua_iscfunction(state, -1) != 0 {
            return None;
        }
        let mut record: ffi::lua_Debug = std::mem::zeroed();
        ffi::lua_getinfo(state, -1, c"s".as_ptr(), &raw mut record);
        u32::try_from(record.linedefined).ok().filter(|line| *line > 0)
    }
}

/// Visits every object that can be reached from the one at `root`, but not `known` ones nor through
/// them: tables, their keys, values and metatables; functions and their upvalues. `accept` gets each on
/// top of the stack with its type, and `meet_text` each string on the way, on top of the stack and as often as it is
/// met.
///
/// Gives the addresses of what was visited. If one is refused, there are too many, or it gets `late`: the line
/// where the function is defined by way of which the last one was found, if one was on the way.
///
/// # Safety
///
/// Inside a protected call; `accept` and `meet_text` leave the stack as they find it.
unsafe fn reachable(
    state: *mut lua_State,
    root: c_int,
    known: &HashSet<usize>,
    accept: &mut dyn FnMut(*mut lua_State, c_int) -> bool,
    meet_text: &mut dyn FnMut(*mut lua_State),
    late: &mut dyn FnMut() -> bool,
) -> Result<HashSet<usize>, Option<u32>> {
    let mut seen = HashSet::new();
    // For each, the number of the one in which it was found.
    let mut found_in = vec![0];
    // SAFETY: the caller keeps what this function asks for. Each object is in the list before the next
    // value is looked at, so none is collected meanwhile.
    unsafe {
        ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
        let base = ffi::lua_gettop(state);
        ffi::lua_createtable(state, 0, 0);
        let list = base + 1;
        // Takes the value on top off the stack, into the list if it is new.
        let mut add = |seen: &mut HashSet<usize>, within: usize| {
            let kind = ffi::lua_type(state, -1);
            if kind == ffi::LUA_TSTRING {
                meet_text(state);
            }
            let object = matches!(
                kind,
                ffi::LUA_TTABLE
                    | ffi::LUA_TFUNCTION
                    | ffi::LUA_TUSERDATA
                    | ffi::LUA_TTHREAD
                    | ffi::LUA_TBUFFER
            );
            let address = ffi::lua_topointer(state, -1) as usize;
            if object && !known.contains(&address) && seen.insert(address) {
                ffi::lua_rawseti(state, list, seen.len() as ffi::lua_Integer);
                found_in.push(within);
            } else {
                ffi::lua_pop(state, 1);
            }
        };
        ffi::lua_pushvalue(state, root);
        add(&mut seen, 0);
        let mut next = 1;
        let mut refused = false;
        while next <= seen.len() && !refused {
            let current = next;
            next += 1;
            ffi::lua_rawgeti(state, list, current as ffi::lua_Integer);
            let kind = ffi::lua_type(state, -1);
            if seen.len() > MAX_OBJECTS || !accept(state, kind) || late() {
                refused = true;
                break;
            }
            let object = ffi::lua_gettop(state);
            match kind {
                ffi::LUA_TTABLE => {
                    if ffi::lua_getmetatable(state, object) != 0 {
                        add(&mut seen, current);
                    }
                    let mut place = ffi::lua_rawiter(state, object, 0);
                    let mut entries = 0_u32;
                    while place >= 0 {
                        add(&mut seen, current);
                        add(&mut seen, current);
                        entries += 1;
                        if entries.is_multiple_of(256) && late() {
                            refused = true;
                            break;
                        }
                        place = ffi::lua_rawiter(state, object, place);
                    }
                }
                ffi::LUA_TFUNCTION => {
                    let mut number = 1;
                    while !ffi::lua_getupvalue(state, object, number).is_null() {
                        add(&mut seen, current);
                        number += 1;
                    }
                }
                _ => {}
            }
            ffi::lua_settop(state, object - 1);
        }
        let mut holder = None;
        if refused {
            let mut number = found_in[next - 1];
            while number > 0 && holder.is_none() {
                ffi::lua_settop(state, list);
                ffi::lua_rawgeti(state, list, number as ffi::lua_Integer);
                holder = line_defined(state);
                number = found_in[number];
            }
        }
        ffi::lua_settop(state, base);
        if refused { Err(holder) } else { Ok(seen) }
    }
}

/// Gives up the registry slots of an image and of the shapes that went with it.
pub(super) fn drop_image(lua: &Lua, image: &Image, shapes: &Shapes) {
    lua.exec_raw_lua(|raw| {
        let slots = image.callbacks.iter().copied().chain([image.environment]);
        for slot in slots.chain(shapes.slots()).filter(|slot| *slot > 0) {
            // SAFETY: giving up a slot raises nothing; slots that hold nothing are 0, which is left alone.
            unsafe { ffi::lua_unref(raw.state(), slot) };
        }
    });
}

/// What [`call_job`] is to do.
struct Job {
    /// Gets `data`.
    perform: unsafe fn(*mut lua_State, *mut c_void),
    data: *mut c_void,
}

/// Does a job that needs a protected call below it.
///
/// # Safety
///
/// `protected_job` calls it with a pointer to the job.
unsafe extern "C-unwind" fn call_job(state: *mut lua_State) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let job = ffi::lua_tolightuserdata(state, 1).cast::<Job>();
        ((*job).perform)(state, (*job).data);
    }
    0
}

/// Does a job for a run on an image; gives what ended it, if an error did.
///
/// # Safety
///
/// `job.perform` may be called with `job.data`, inside a C function that Luau called. `run` is live, and not
/// otherwise referenced while Lua is on top of the stack.
unsafe fn protected_job(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    mut job: Job,
    run: *mut Run<'_>,
) -> Option<Ended> {
    let job = (&raw mut job).cast::<c_void>();
    enter(run, || {
        lua.exec_raw_lua(|raw| {
            let state = raw.state();
            // SAFETY: nothing here raises but what is below the protected call: the stack has room, and
            // pushing what is in the registry allocates nothing. The job lives until the call is over.
            unsafe {
                if ffi::lua_checkstack(state, 8) == 0 {
                    return Some(Ended::OutOfMemory);
                }
                let base = ffi::lua_gettop(state);
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.message_handler.into());
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.job.into());
                ffi::lua_pushlightuserdata(state, job);
                numerals::forget_blocks();
                let status = ffi::lua_pcall(state, 1, 0, base + 1);
                let ended = (status != ffi::LUA_OK).then(|| {
                    // The handler has noted what it got, unless it failed.
                    note_error(state, -1);
                    failed(state, status, program, &mut *run)
                });
                ffi::lua_settop(state, base);
                ended
            }
        })
    })
}

/// One run on an image, as [`perform_on_image`] gets it.
struct ImageCall<'a> {
    image: &'a Image,
    shapes: &'a mut Shapes,
    call: Call<'a>,
    entity_name: c_int,
    run: *mut c_void,
    out: Option<Result<StateChange, ScriptError>>,
}

/// Runs one callback on an image.
pub(super) fn run_on_image(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    (image, shapes): (&Image, &mut Shapes),
    call: Call<'_>,
    run: &mut Run<'_>,
) -> Ended {
    match image.callbacks[call.callback as usize] {
        MISSING => return Ended::Missing,
        // The other way says what is wrong with it.
        WRONG => return Ended::TouchedImage(Touched::default()),
        _ => {}
    }
    run.on_image = true;
    run.start_with(call.seed);
    let run_ptr = std::ptr::from_mut(run);
    let entity_name = refs.entity;
    let mut job = ImageCall { image, shapes, call, entity_name, run: run_ptr.cast(), out: None };
    let data = (&raw mut job).cast::<c_void>();
    // SAFETY: `perform_on_image` gets what it asks for; `job` is not used meanwhile but by it, and the run
    // between calls into Lua only.
    let ended = unsafe {
        protected_job(lua, refs, program, Job { perform: perform_on_image, data }, run_ptr)
    };
    if let Some(touched) = run.own.touched {
        return Ended::TouchedImage(touched);
    }
    ended.unwrap_or_else(|| match job.out {
        Some(Ok(change)) => Ended::Done(change),
        Some(Err(error)) => Ended::failed(error),
        None => unreachable!("a run that raised no error has a result"),
    })
}

/// One run on an image: state in, callback, state out.
///
/// # Safety
///
/// Inside a C function that Luau called, with a pointer to an [`ImageCall`].
unsafe fn perform_on_image(state: *mut lua_State, data: *mut c_void) {
    // SAFETY: the caller keeps what this function asks for. The run is used between calls into Lua only,
    // when no C function is active that could use it too.
    unsafe {
        let job = &mut *data.cast::<ImageCall<'_>>();
        let run = job.run.cast::<Run<'_>>();
        let Call { callback, state: before, args, .. } = job.call;
        ffi::luaL_checkstack(state, CALL_BASE + 24 + args.len() as c_int, TOO_DEEP.as_ptr());
        let stage = Stage::set_up(state, job.image, callback, job.entity_name);
        let steps = (*run).own.steps;
        let shape = job.shapes.of(state, before).map(|known| &job.shapes.known[known]);
        if let Some(shape) = shape {
            shape.lay_out(state, STAGE_END);
        }
        ffi::lua_settop(state, CALL_BASE);
        stage.turn_to(state, (*run).own.entity);
        push_state(state, shape, before);
        (*run).own.steps = steps;
        ffi::lua_pushvalue(state, STAGE_FUNCTION);
        ffi::lua_pushvalue(state, CALL_BASE + 1);
        for arg in args {
            push_value(state, arg, 0);
        }
        ffi::lua_call(state, args.len() as c_int + 1, 0);
        job.out = Some(take_state(state, CALL_BASE + 1, shape, before, &mut *run));
    }
}

// ---- rows ----------------------------------------------------------------------------------------

/// A row of runs on an image, as [`perform_batch`] gets it.
struct BatchCall<'a, H, R> {
    lua: &'a Lua,
    image: &'a Image,
    shapes: &'a mut Shapes,
    callback: Callback,
    entity_name: c_int,
    /// With more bytes than this the row pauses.
    most_memory: usize,
    most_objects: usize,
    host: *mut H,
    row: *mut R,
    run: *mut c_void,
    /// Runs that began.
    began: u64,
    /// What the current run came to, if the row ends with it.
    out: Option<Result<StateChange, ScriptError>>,
}

/// What all runs of a row have in common.
pub(super) struct BatchJob<'h> {
    pub(super) callback: Callback,
    /// With more bytes than this the row pauses.
    pub(super) most_memory: usize,
    /// With objects of more bytes than this, too. Less than `usize::MAX` only while they are counted.
    pub(super) most_objects: usize,
    /// That of the first one; each has as much time.
    pub(super) deadline: Deadline<'h>,
    pub(super) max_value_size: usize,
}

/// What came of a row: the last run, how many began, and what the last one came to if the row ended with it.
pub(super) struct BatchRun<'h> {
    pub(super) run: Run<'h>,
    pub(super) began: u64,
    pub(super) ended: Option<Ended>,
}

/// Runs one callback for one entity after another on an image, in a single protected call. Ends with the row,
/// when the VM holds too many bytes, or with a run that raised an error or has to be judged.
///
/// The image has the callback.
pub(super) fn run_batch<'h, 'w, H: Host, R: CallBatch<'w, H>>(
    lua: &Lua,
    refs: &'h Refs,
    program: &Program,
    (image, shapes): (&Image, &mut Shapes),
    job: BatchJob<'h>,
    (host, row): (&'h mut H, &mut R),
) -> BatchRun<'h> {
    let BatchJob { callback, most_memory, most_objects, deadline, max_value_size } = job;
    let host = std::ptr::from_mut(host);
    // SAFETY: made of a reference that lives as long; from now on it is used in turn by the row and by the
    // run, and each time the run gets it anew.
    let mut run = Run::new(unsafe { &mut *host }, deadline, max_value_size, refs);
    run.on_image = true;
    run.in_callback = true;
    let run_ptr = std::ptr::from_mut(&mut run);
    let mut job = BatchCall {
        lua,
        image,
        shapes,
        callback,
        entity_name: refs.entity,
        most_memory,
        most_objects,
        host,
        row: std::ptr::from_mut(row),
        run: run_ptr.cast(),
        began: 0,
        out: None,
    };
    let data = (&raw mut job).cast::<c_void>();
    let perform = perform_batch::<H, R>;
    // SAFETY: `perform_batch` gets what it asks for; as in `run_on_image`.
    let ended = unsafe { protected_job(lua, refs, program, Job { perform, data }, run_ptr) };
    let BatchCall { began, out, .. } = job;
    let ended = match (ended, out) {
        _ if run.own.touched.is_some() => run.own.touched.map(Ended::TouchedImage),
        (Some(ended), _) => Some(ended),
        (None, Some(Ok(change))) => Some(Ended::Done(change)),
        (None, Some(Err(error))) => Some(Ended::failed(error)),
        (None, None) => None,
    };
    BatchRun { run, began, ended }
}

/// The runs of a row: for each, state in, callback, state out.
///
/// # Safety
///
/// Inside a C function that Luau called, with a pointer to a [`BatchCall`] of these types.
unsafe fn perform_batch<'w, H: Host, R: CallBatch<'w, H>>(
    state: *mut lua_State,
    data: *mut c_void,
) {
    const SELF: c_int = CALL_BASE + 1;
    // SAFETY: the caller keeps what this function asks for. The run is used between calls into Lua only,
    // when no C function is active that could use it too, and the host by the run alone while it lasts.
    unsafe {
        let job = &mut *data.cast::<BatchCall<'_, H, R>>();
        let run = job.run.cast::<Run<'_>>();
        ffi::luaL_checkstack(state, CALL_BASE + 24, TOO_DEEP.as_ptr());
        let stage = Stage::set_up(state, job.image, job.callback, job.entity_name);
        ffi::lua_settop(state, CALL_BASE);
        let mut laid_out: Option<usize> = None;
        // The bytes in use when it was asked last what the VM holds, and the runs since.
        let mut seen = (0, UNSEEN_RUNS);
        while let Some(turn) = (*job.row).turn(&mut *job.host) {
            let before = turn.state;
            job.began += 1;
            (*run).host = &mut *job.host;
            (*run).begin_again(turn.entity, turn.seed);
            let steps = (*run).own.steps;
            // Mostly they are all of one shape.
            let shape = match laid_out {
                Some(known) if job.shapes.known[known].is_of(before) => laid_out,
                _ => {
                    laid_out = job.shapes.of(state, before);
                    if let Some(known) = laid_out {
                        ffi::lua_settop(state, STAGE_END);
                        job.shapes.known[known].lay_out(state, STAGE_END);
                        ffi::lua_settop(state, CALL_BASE);
                    }
                    laid_out
                }
            };
            let shape = shape.map(|known| &job.shapes.known[known]);
            stage.turn_to(state, turn.entity);
            push_state(state, shape, before);
            (*run).own.steps = steps;
            ffi::lua_pushvalue(state, STAGE_FUNCTION);
            ffi::lua_pushvalue(state, SELF);
            ffi::lua_pushnumber(state, turn.argument);
            ffi::lua_call(state, 2, 0);
            let result = take_state(state, SELF, shape, before, &mut *run);
            ffi::lua_settop(state, CALL_BASE);

            let made_too_much = job.most_objects < usize::MAX && weigh::is_ceiling_passed();
            let kept_to_limits =
                !(*run).deadline.end() && !(*run).is_to_be_judged() && !made_too_much;
            match result {
                Ok(change) if kept_to_limits => {
                    (*job.row).done(&mut *job.host, change, (*run).used());
                }
                result => {
                    job.out = Some(result);
                    return;
                }
            }
            if !(*run).own.handed.is_empty() {
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, (*run).handed_ref.into());
                ffi::lua_cleartable(state, -1);
                ffi::lua_pop(state, 1);
            }
            // Asking what the VM holds takes longer than asking what is in use of it; when that moves, so may
            // the other.
            let in_use = ffi::lua_totalbytes(state, -1);
            let unseen = in_use.abs_diff(seen.0) + seen.1 * UNSEEN / UNSEEN_RUNS;
            if unseen < UNSEEN {
                seen.1 += 1;
            } else if job.lua.used_memory() > job.most_memory {
                return;
            } else {
                seen = (in_use, 0);
            }
            if in_use > job.most_objects {
                return;
            }
        }
    }
}

/// When what is in use has changed by so many bytes, or after so many runs, it is asked what the VM holds.
const UNSEEN: usize = 4096;
const UNSEEN_RUNS: usize = 16;

/// What lies on the stack below the calls of an image's functions.
struct Stage(());

const STAGE_ENVIRONMENT: c_int = 2;
const STAGE_NAME: c_int = 3;
const STAGE_FUNCTION: c_int = 4;
/// A shape lies above.
const STAGE_END: c_int = STAGE_FUNCTION;
/// Functions are called from here: whatever lies below, there is as much room on the stack for a script.
const CALL_BASE: c_int = STAGE_END + 1 + MAX_FLAT as c_int;

impl Stage {
    /// Pushes what all runs of a callback need.
    ///
    /// # Safety
    ///
    /// Inside a C function that Luau called with one argument; some free slots. The image has the callback.
    unsafe fn set_up(
        state: *mut lua_State,
        image: &Image,
        callback: Callback,
        entity_name: c_int,
    ) -> Self {
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            for slot in [image.environment, entity_name, image.callbacks[callback as usize]] {
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
            }
        }
        Self(())
    }

    /// Makes an entity the one that the image's functions find as `entity`.
    ///
    /// # Safety
    ///
    /// As [`Stage::set_up`], with the stage below.
    unsafe fn turn_to(&self, state: *mut lua_State, entity: Entity) {
        // SAFETY: the caller keeps what this function asks for. The environment has the field, so setting it
        // allocates nothing and raises nothing.
        unsafe {
            ffi::lua_setreadonly(state, STAGE_ENVIRONMENT, 0);
            ffi::lua_pushvalue(state, STAGE_NAME);
            push_entity(state, entity);
            ffi::lua_rawset(state, STAGE_ENVIRONMENT);
            ffi::lua_setreadonly(state, STAGE_ENVIRONMENT, 1);
        }
    }
}

/// Pushes a state; its shape is laid out on the stage.
///
/// The steps of it depend on whether its shape is known, and so on what ran before: they don't count.
///
/// # Safety
///
/// Inside a protected call; four free slots.
#[inline]
unsafe fn push_state(state: *mut lua_State, shape: Option<&Shape>, before: &ScriptTable) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match shape {
            Some(shape) => shape.push(state, STAGE_END, before),
            None => push_table(state, before, 0),
        }
    }
}

/// Reads what a run left as its state.
///
/// # Safety
///
/// Inside a C function that Luau called, with a table at the positive index.
#[inline]
unsafe fn take_state(
    state: *mut lua_State,
    index: c_int,
    shape: Option<&Shape>,
    before: &ScriptTable,
    run: &mut Run<'_>,
) -> Result<StateChange, ScriptError> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if !run.own.handed.is_empty() {
            flush(state, run)?;
        }
        let (budget, deadline) = (run.max_value_size, &mut run.deadline);
        let quick = match shape {
            Some(shape) => shape.read(state, index, before, budget, deadline),
            None => Ok(None),
        };
        match quick {
            Ok(None) => read_state(state, index, before, budget, deadline),
            Ok(Some(change)) => Ok(change),
            Err(problem) => Err(problem),
        }
        .map_err(|problem| problem.into_error("self", budget, "kept"))
    }
}

// ---- shapes --------------------------------------------------------------------------------------

/// States of one shape have the same fields, all with texts as keys: those keys are in the VM already, in
/// a table that is there to be copied.
#[derive(Debug)]
pub(super) struct Shape {
    names: Vec<SmolStr>,
    /// The registry slots of the keys, in their order.
    keys: Vec<c_int>,
    /// The registry slot of a table with these keys, made as [`push_table`] makes one.
    template: c_int,
    /// The keys as going through such a table meets them: where each lies in memory, and its number.
    visits: Vec<(usize, u16)>,
    /// What a [`Reader`] spends on such a table at least.
    least_size: usize,
}

/// The shapes that the states of one program had lately.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: Vec<Shape>,
    /// The one that makes room for the next.
    oldest: usize,
}

impl Shapes {
    /// Shapes that are known of one program; entities that carry it have mostly one.
    const MAX: usize = 4;

    /// The number of a state's shape; `None` if it has none.
    ///
    /// # Safety
    ///
    /// Inside a protected call; some free slots.
    unsafe fn of(&mut self, state: *mut lua_State, table: &ScriptTable) -> Option<usize> {
        if let Some(known) = self.known.iter().position(|shape| shape.is_of(table)) {
            return Some(known);
        }
        if !table.array.is_empty() || table.fields.len() > MAX_FLAT {
            return None;
        }
        // SAFETY: the caller keeps what this function asks for.
        let shape = unsafe { Shape::new(state, table) }?;
        if self.known.len() < Self::MAX {
            self.known.push(shape);
            return Some(self.known.len() - 1);
        }
        self.oldest = (self.oldest + 1) % Self::MAX;
        let known = &mut self.known[self.oldest];
        for slot in std::mem::replace(known, shape).slots() {
            // SAFETY: giving up a slot raises nothing.
            unsafe { ffi::lua_unref(state, slot) };
        }
        Some(self.oldest)
    }

    fn slots(&self) -> impl Iterator<Item = c_int> {
        self.known.iter().flat_map(Shape::slots)
    }
}

impl Shape {
    #[inline]
    fn is_of(&self, table: &ScriptTable) -> bool {
        table.array.is_empty()
            && table.fields.len() == self.names.len()
            && table
                .fields
                .keys()
                .zip(&self.names)
                .all(|(key, name)| matches!(key, ScriptKey::String(key) if key == name))
    }

    fn slots(&self) -> impl Iterator<Item = c_int> {
        self.keys.iter().copied().chain([self.template])
    }

    /// # Safety
    ///
    /// As [`Shapes::of`].
    unsafe fn new(state: *mut lua_State, table: &ScriptTable) -> Option<Self> {
        let mut names = Vec::new();
        for key in table.fields.keys() {
            let ScriptKey::String(name) = key else { return None };
            names.push(name.clone());
        }
        let like = table.fields.keys().map(|key| (key.clone(), true)).collect();
        let fields = names.iter().map(|name| 2 * size_of::<f64>() + name.len());
        let least_size = size_of::<ScriptTable>() + fields.sum::<usize>();
        let (keys, visits) = (Vec::new(), Vec::new());
        let mut shape = Self { names, keys, template: 0, visits, least_size };
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            push_table(state, &like, 0);
            let template = ffi::lua_gettop(state);
            let mut addresses = Vec::new();
            for name in &shape.names {
                ffi::lua_pushlstring(state, name.as_ptr().cast(), name.len());
                addresses.push(ffi::lua_topointer(state, -1) as usize);
                shape.keys.push(ffi::lua_ref(state, -1));
                ffi::lua_pop(state, 1);
            }
            let mut next = ffi::lua_rawiter(state, template, 0);
            while next >= 0 {
                let address = ffi::lua_topointer(state, -2) as usize;
                let number = addresses.iter().position(|known| *known == address);
                let number = number.expect("it has the keys that it was made with");
                shape.visits.push((address, number as u16));
                ffi::lua_pop(state, 2);
                next = ffi::lua_rawiter(state, template, next);
            }
            shape.template = ffi::lua_ref(state, template);
            ffi::lua_pop(state, 1);
        }
        Some(shape)
    }

    /// Pushes the template and the keys, to lie above the index `base`.
    ///
    /// # Safety
    ///
    /// As many free slots; `base` is the top.
    unsafe fn lay_out(&self, state: *mut lua_State, base: c_int) {
        debug_assert!(self.names.len() <= MAX_FLAT);
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            debug_assert_eq!(ffi::lua_gettop(state), base);
            for slot in std::iter::once(self.template).chain(self.keys.iter().copied()) {
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
            }
        }
    }

    /// Pushes a state of this shape: the very table that [`push_table`] pushes. The shape is laid out above
    /// `base`.
    ///
    /// # Safety
    ///
    /// Inside a protected call; four free slots.
    #[inline]
    unsafe fn push(&self, state: *mut lua_State, base: c_int, table: &ScriptTable) {
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            if self.names.is_empty() {
                ffi::lua_createtable(state, 0, 0);
                return;
            }
            ffi::lua_clonetable(state, base + 1);
            for (key, value) in (base + 2..).zip(table.fields.values()) {
                ffi::lua_pushvalue(state, key);
                push_value(state, value, 1);
                ffi::lua_rawset(state, -3);
            }
        }
    }

    /// Compares a table with the state of this shape that it was; `None` if it has other keys now, or may have
    /// too many bytes.
    ///
    /// # Safety
    ///
    /// As `read_state`.
    unsafe fn read(
        &self,
        state: *mut lua_State,
        index: c_int,
        before: &ScriptTable,
        budget: usize,
        deadline: &mut Deadline<'_>,
    ) -> Result<Option<StateChange>, Problem> {
        let top = index + 2;
        let Some(rest) = budget.checked_sub(self.least_size) else { return Ok(None) };
        let mut reader = Reader::new(rest, None, deadline);
        let mut changes = Changes::default();
        let mut met = 0;
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            debug_assert_eq!(ffi::lua_gettop(state), index);
            if ffi::lua_getmetatable(state, index) != 0 {
                ffi::lua_pop(state, 1);
                return Ok(None);
            }
            let mut next = ffi::lua_rawiter(state, index, 0);
            while next >= 0 {
                let address = ffi::lua_topointer(state, top - 1) as usize;
                // They are met in the order of the template, unless one was taken out and put back.
                let is_it = |visit: &&(usize, u16)| visit.0 == address;
                let visit = self.visits.get(met).filter(is_it);
                let field = visit.or_else(|| self.visits.iter().find(is_it)).and_then(|visit| {
                    let (_, old) = before.fields.at(usize::from(visit.1))?;
                    Some((visit.1, old))
                });
                let Some((number, old)) = field else {
                    ffi::lua_settop(state, index);
                    return Ok(None);
                };
                match old {
                    ScriptValue::Number(old) if ffi::lua_type(state, top) == ffi::LUA_TNUMBER => {
                        let new = ffi::lua_tonumber(state, top);
                        if new.to_bits() != old.to_bits() {
                            changes.add_number(number, new);
                        }
                    }
                    old => {
                        let name = &self.names[usize::from(number)];
                        reader.field(state, top, name, (number, old), &mut changes)?;
                    }
                }
                met += 1;
                ffi::lua_settop(state, index);
                next = ffi::lua_rawiter(state, index, next);
            }
        }
        Ok((met == self.names.len()).then(|| changes.into_change()))
    }
}

/// Fields that have other values now, by their places in the order of the keys.
#[derive(Default)]
struct Changes {
    /// The only one so far, if it is a number.
    number: Option<(u16, f64)>,
    /// All of them otherwise.
    fields: Vec<(u16, ScriptValue)>,
}

impl Changes {
    fn add_number(&mut self, place: u16, value: f64) {
        if self.number.is_none() && self.fields.is_empty() {
            self.number = Some((place, value));
        } else {
            self.add(place, value.into());
        }
    }

    fn add(&mut self, place: u16, value: ScriptValue) {
        self.fields.extend(self.number.take().map(|(place, value)| (place, value.into())));
        self.fields.push((place, value));
    }

    fn into_change(self) -> StateChange {
        match self {
            Self { number: Some((place, value)), .. } => StateChange::Number(place, value),
            Self { fields, .. } if fields.is_empty() => StateChange::Unchanged,
            Self { fields, .. } => StateChange::Fields(fields.into()),
        }
    }
}

/// Reads what became of a state.
///
/// # Safety
///
/// Inside a protected call, with a table at the positive index.
unsafe fn read_state(
    state: *mut lua_State,
    index: c_int,
    before: &ScriptTable,
    budget: usize,
    deadline: &mut Deadline<'_>,
) -> Result<StateChange, Problem> {
    // SAFETY: the caller keeps what this function asks for.
    let table = unsafe { Reader::new(budget, None, deadline).table(state, index)? };
    let same = table.is_identical(before);
    Ok(if same { StateChange::Unchanged } else { StateChange::Replaced(table.into()) })
}

/// States with more fields are read as a whole.
const MAX_FLAT: usize = 128;

/// Whether the value at a stack index is this one, as far as a look can tell.
///
/// # Safety
///
/// A valid index.
unsafe fn same(state: *mut lua_State, index: c_int, value: &ScriptValue) -> bool {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let kind = ffi::lua_type(state, index);
        match value {
            ScriptValue::Number(value) => {
                kind == ffi::LUA_TNUMBER
                    && ffi::lua_tonumber(state, index).to_bits() == value.to_bits()
            }
            ScriptValue::Bool(value) => {
                kind == ffi::LUA_TBOOLEAN && (ffi::lua_toboolean(state, index) != 0) == *value
            }
            ScriptValue::String(value) => text_bytes(state, index) == Some(value.as_bytes()),
            ScriptValue::Vector(value) => {
                kind == ffi::LUA_TVECTOR && {
                    let vector = ffi::lua_tovector(state, index);
                    let now = [*vector, *vector.add(1), *vector.add(2)];
                    now.map(f32::to_bits) == value.to_array().map(f32::to_bits)
                }
            }
            ScriptValue::Entity(value) => entity_at(state, index) == Some(*value),
            _ => false,
        }
    }
}

/// The bytes of the string at a stack index, which live as long as it is there.
///
/// # Safety
///
/// A valid index; the string stays reachable while the bytes are used.
unsafe fn text_bytes<'s>(state: *mut lua_State, index: c_int) -> Option<&'s [u8]> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let text = ffi::lua_tolstring(state, index, &raw mut length);
        Some(std::slice::from_raw_parts(text.cast::<u8>(), length))
    }
}

// ---- limits ------------------------------------------------------------------------------------

/// Where Luau finds out what to call at safepoints: nothing, or [`on_interrupt`].
#[derive(Debug)]
pub(super) struct Hook {
    /// Keeps the place alive.
    lua: Lua,
    callbacks: *mut ffi::lua_Callbacks,
}

// SAFETY: the place belongs to the VM, which lives as long as `lua`; it is only written by
// `Hook::write`, and Luau allows that from any thread at any time.
unsafe impl Send for Hook {}

impl Hook {
    pub(super) fn of(lua: &Lua) -> Self {
        let mut callbacks = std::ptr::null_mut();
        // SAFETY: gives a pointer into the VM's state, and can't fail.
        lua.exec_raw_lua(|raw| callbacks = unsafe { ffi::lua_callbacks(raw.state()) });
        Self { lua: lua.clone(), callbacks }
    }

    pub(super) fn is_of(&self, lua: &Lua) -> bool {
        self.callbacks == Self::of(lua).callbacks
    }

    /// Has Luau call [`on_interrupt`] at every safepoint.
    pub(super) fn install(&self) {
        self.write(on_interrupt as *const () as usize);
    }

    /// Has Luau call nothing.
    pub(super) fn remove(&self) {
        self.write(0);
    }

    fn write(&self, function: usize) {
        let _alive = &self.lua;
        // SAFETY: `lua` keeps the place alive.
        unsafe { Self::write_at(self.callbacks, function) }
    }

    /// # Safety
    ///
    /// The callbacks are those of a VM that is alive.
    unsafe fn install_at(callbacks: *mut ffi::lua_Callbacks) {
        // SAFETY: the caller keeps what this function asks for.
        unsafe { Self::write_at(callbacks, on_interrupt as *const () as usize) }
    }

    /// # Safety
    ///
    /// As `install_at`.
    unsafe fn write_at(callbacks: *mut ffi::lua_Callbacks, function: usize) {
        // SAFETY: the place is there; it holds a nullable function pointer, which is as wide as an address and
        // aligned to it. Luau reads it at any time and expects that another thread writes it.
        unsafe {
            let place = (&raw mut (*callbacks).interrupt).cast::<usize>();
            AtomicUsize::from_ptr(place).store(function, Ordering::Relaxed);
        }
    }
}

/// Called at every safepoint while its [`Hook`] is installed.
///
/// # Safety
///
/// Luau calls it; `gc >= 0` are the collector's calls, which must not raise.
unsafe extern "C-unwind" fn on_interrupt(state: *mut lua_State, gc: c_int) {
    // SAFETY: Luau asks.
    let look = unsafe { exact::look(state, gc) };
    if gc >= 0 {
        return;
    }
    let current = CURRENT.get().cast::<Run<'_>>();
    // SAFETY: as in `with_run`; the collector's calls are over, so it may raise.
    let Some(run) = (unsafe {
        numerals::look_at_registers(state);
        current.as_mut()
    }) else {
        return;
    };
    run.own.steps = run.own.steps.saturating_add(1);
    let passed = match look {
        exact::Look::Unmeasured => run.deadline.has_passed_at_safepoint(),
        // Then Luau is to ask again.
        exact::Look::Within => run.deadline.has_passed(),
        exact::Look::Over { limit, used } => {
            let error = ScriptError::OutOfMemory { limit, used, setting: "run_memory_limit" };
            // SAFETY: the caller keeps what this function asks for.
            unsafe { raise_at_safepoint(state, error) }
        }
    };
    if passed {
        let error = run.deadline.error();
        // SAFETY: the caller keeps what this function asks for.
        unsafe { raise_at_safepoint(state, error) }
    }
}

/// Raises if the run must be over.
///
/// # Safety
///
/// Inside a C function that Luau called.
#[inline]
unsafe fn safepoint(state: *mut lua_State) {
    // SAFETY: the caller keeps what this function asks for. The watchdog writes the place at any time, so it is
    // read as it is written: see `Hook::write`.
    unsafe {
        let place = (&raw mut (*ffi::lua_callbacks(state)).interrupt).cast::<usize>();
        let function = AtomicUsize::from_ptr(place).load(Ordering::Relaxed);
        if function != 0 {
            type Interrupt = unsafe extern "C-unwind" fn(*mut lua_State, c_int);
            std::mem::transmute::<usize, Interrupt>(function)(state, -1);
        }
    }
}

// ---- what scripts call -------------------------------------------------------------------------

/// Raises `error` in the script, with the place of the caller in front.
///
/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn raise(state: *mut lua_State, error: ScriptError) -> ! {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { raise_from(state, 1, error) }
}

/// Raises an error at a safepoint, where either a function of Lua is at work or a C function that it called.
///
/// # Safety
///
/// At a safepoint that may raise.
unsafe fn raise_at_safepoint(state: *mut lua_State, error: ScriptError) -> ! {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let in_lua = frame_at(state, 0).is_some_and(|(_, _, line)| line.is_some());
        raise_from(state, c_int::from(!in_lua), error)
    }
}

/// As [`raise`], with the place of the function at a level; that which is at work is 0.
///
/// # Safety
///
/// As [`raise`], or at a safepoint that may raise.
unsafe fn raise_from(state: *mut lua_State, level: c_int, error: ScriptError) -> ! {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let mut message = error.to_string();
        cut(&mut message);
        let _ = with_run("error", |run| {
            run.own.raised = Some(Box::new(error));
            Ok(())
        });
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        ffi::luaL_where(state, level);
        ffi::lua_pushlstring(state, message.as_ptr().cast(), message.len());
        drop(message);
        ffi::lua_concat(state, 2);
        ffi::lua_error(state)
    }
}

fn cut(message: &mut String) {
    if message.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
}

/// Ends a C function: one result, or an error.
///
/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn answer(state: *mut lua_State, result: Result<ReadResult, ScriptError>) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        safepoint(state);
        ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
        match result {
            Ok(ReadResult::Value(value)) => match numerals::check(&value) {
                Ok(()) => push_value(state, &value, 0),
                Err(error) => raise(state, error),
            },
            Ok(ReadResult::FieldRef(place)) => push_place(state, place),
            Ok(ReadResult::Table(table, place)) => match numerals::check_table(&table) {
                Ok(()) => push_handed(state, table, place),
                Err(error) => raise(state, error),
            },
            Err(error) => raise(state, error),
        }
        1
    }
}

/// Ends a C function: these results, or an error.
///
/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn answer_all(state: *mut lua_State, result: Result<ScriptValues, ScriptError>) -> c_int {
    /// A function of Lua has no more results, as [`MAX_ARGUMENTS`] of a function of the host.
    const MOST: usize = MAX_ARGUMENTS as usize;
    let result = result.and_then(|values| match values.len() {
        ..=MOST => values.iter().try_for_each(numerals::check).map(|()| values),
        count => {
            let message = format!("{count} results; at most {MOST} are given");
            Err(ScriptError::Host { message })
        }
    });
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        safepoint(state);
        match result {
            Ok(values) => {
                let count = values.len() as c_int;
                ffi::luaL_checkstack(state, count.saturating_add(8), TOO_DEEP.as_ptr());
                for value in &values {
                    push_value(state, value, 0);
                }
                count
            }
            Err(error) => raise(state, error),
        }
    }
}

/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn answer_nothing(state: *mut lua_State, result: Result<(), ScriptError>) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { safepoint(state) };
    match result {
        Ok(()) => 0,
        // SAFETY: the caller keeps what this function asks for.
        Err(error) => unsafe { raise(state, error) },
    }
}

/// `entity.Name`
unsafe extern "C-unwind" fn entity_index(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operands at 1 and 2.
    unsafe {
        if push_own_component(state) {
            return 1;
        }
        let result = field_at(state, 2).and_then(|field| match field {
            Field::Name(name) => match entity_at(state, 1) {
                Some(entity) => with_host(name, |host, _| host.component(entity, name)),
                None => Err(ScriptError::FileLevel { what: format!("entity.{name}") }),
            },
            Field::Position(position) => Err(no_field("entity", &position.to_string())),
        });
        answer(state, result)
    }
}

/// `entity.Name = value`
unsafe extern "C-unwind" fn entity_newindex(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operands at 1, 2 and 3.
    unsafe {
        let result = field_at(state, 2).and_then(|field| {
            let Field::Name(name) = field else {
                return Err(no_field("entity", "a position"));
            };
            let Some(entity) = entity_at(state, 1) else {
                return Err(ScriptError::FileLevel { what: format!("entity.{name}") });
            };
            flush_current(state)?;
            let value = hand_over(state, 3, name)?;
            with_host(name, |host, _| host.set_component(entity, name, value))?;
            forget_stale(state);
            Ok(())
        });
        answer_nothing(state, result)
    }
}

unsafe extern "C-unwind" fn entity_tostring(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operand at 1.
    unsafe {
        let text = match entity_at(state, 1) {
            Some(entity) => format!("Entity({entity})"),
            None => "Entity(none)".to_owned(),
        };
        answer(state, Ok(ReadResult::Value(ScriptValue::String(text))))
    }
}

/// What asks a host about a spot, with the run's own handles.
///
/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn ask_own<R>(
    state: *mut lua_State,
    ask: impl FnOnce(&mut dyn Host) -> Option<R>,
) -> Option<(R, *const OwnHandles)> {
    let current = CURRENT.get().cast::<Run<'_>>();
    // SAFETY: as in `with_run`.
    let run = unsafe { current.as_mut() }?;
    let own = run.handles.filter(|_| run.in_callback)?;
    let host = &mut *run.host;
    let result = guarded("component", || Ok(ask(host)));
    match result {
        Ok(answer) => answer.map(|answer| (answer, std::ptr::from_ref(own))),
        Err(error) => {
            run.note::<()>(&Err(error.clone()));
            // SAFETY: the caller keeps what this function asks for.
            unsafe { raise(state, error) }
        }
    }
}

/// Whether the entity at 1 is the own one, and has a component of the name at 2 that is as it is in the
/// world: pushes the handle to it.
///
/// # Safety
///
/// Inside a C function that Luau called, with two arguments.
unsafe fn push_own_component(state: *mut lua_State) -> bool {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let Some(name) = atom_at(state, 2) else { return false };
        let entity = entity_at(state, 1);
        let spot = ask_own(state, |host| {
            if entity == Some(host.entity()) { host.own_component(name) } else { None }
        });
        match spot {
            Some((spot, own)) => push_own(state, &*own, spot),
            None => return false,
        }
        true
    }
}

/// Pushes the handle to a spot of the own entity.
///
/// # Safety
///
/// Inside a C function that Luau called with few arguments: two free slots.
#[inline]
unsafe fn push_own(state: *mut lua_State, own: &OwnHandles, spot: FieldId) {
    let place = spot as usize;
    let known = own.0.borrow().get(place).copied().unwrap_or(0);
    // SAFETY: the caller keeps what this function asks for; a handle is a number without a destructor.
    unsafe {
        if known != 0 {
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, known.into());
            return;
        }
        let memory = ffi::lua_newuserdatataggedwithmetatable(state, size_of::<FieldId>(), OWN_TAG);
        memory.cast::<FieldId>().write_unaligned(spot);
        let slot = ffi::lua_ref(state, -1);
        let mut slots = own.0.borrow_mut();
        let end = slots.len().max(place + 1);
        slots.resize(end, 0);
        slots[place] = slot;
    }
}

/// `place.field`
unsafe extern "C-unwind" fn place_index(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operands at 1 and 2.
    unsafe {
        if let Some(within) = own_at(state, 1)
            && let Some(name) = atom_at(state, 2)
            && let Some((reading, own)) = ask_own(state, |host| host.own_field(within, name))
        {
            match reading {
                ScalarRead::Scalar(Scalar::Number(value)) => ffi::lua_pushnumber(state, value),
                ScalarRead::Scalar(Scalar::Vector(Vec3 { x, y, z })) => {
                    ffi::lua_pushvector(state, x, y, z);
                }
                ScalarRead::Scalar(Scalar::Bool(value)) => {
                    ffi::lua_pushboolean(state, value.into())
                }
                ScalarRead::FieldId(spot) => push_own(state, &*own, spot),
            }
            return 1;
        }
        let result = field_at(state, 2).and_then(|field| {
            let handle = handle_at(state, 1)?;
            with_host("component", |host, _| host.field(handle.place(host), field))
        });
        answer(state, result)
    }
}

/// The plain value at a stack index that needs no memory.
///
/// # Safety
///
/// A valid index.
#[inline]
unsafe fn leaf_at(state: *mut lua_State, index: c_int) -> Option<Scalar> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TNUMBER => Some(Scalar::Number(ffi::lua_tonumber(state, index))),
            ffi::LUA_TBOOLEAN => Some(Scalar::Bool(ffi::lua_toboolean(state, index) != 0)),
            ffi::LUA_TVECTOR => {
                let vector = ffi::lua_tovector(state, index);
                Some(Scalar::Vector(Vec3::new(*vector, *vector.add(1), *vector.add(2))))
            }
            _ => None,
        }
    }
}

/// `place.field = value`
unsafe extern "C-unwind" fn place_newindex(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operands at 1, 2 and 3.
    unsafe {
        if let Some(within) = own_at(state, 1)
            && let Some(name) = atom_at(state, 2)
            && let Some(value) = leaf_at(state, 3)
            && ask_own(state, |host| host.set_own_field(within, name, value).then_some(()))
                .is_some()
        {
            return 0;
        }
        let result = field_at(state, 2).and_then(|field| {
            let handle = handle_at(state, 1)?;
            flush_current(state)?;
            let value = hand_over(state, 3, "component")?;
            with_host("component", |host, _| host.set_field(handle.place(host), field, value))?;
            forget_stale(state);
            Ok(())
        });
        answer_nothing(state, result)
    }
}

unsafe extern "C-unwind" fn place_tostring(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operand at 1.
    unsafe {
        let result = handle_at(state, 1).and_then(|handle| {
            with_host("tostring", |host, _| {
                let place = handle.place(host);
                let name = host.name(place);
                Ok(ReadResult::Value(ScriptValue::String(format!("{name} {}", host.copy(place)?))))
            })
        });
        answer(state, result)
    }
}

unsafe extern "C-unwind" fn place_eq(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operands at 1 and 2.
    unsafe {
        safepoint(state);
        let equal = match (handle_at(state, 1), handle_at(state, 2)) {
            (Ok(Handle::Own(a)), Ok(Handle::Own(b))) => a == b,
            (Ok(a), Ok(b)) => with_host("component", |host, _| Ok(a.place(host) == b.place(host)))
                .unwrap_or(false),
            _ => false,
        };
        ffi::lua_pushboolean(state, equal.into());
        1
    }
}

/// A host function; its number and name are the upvalues.
unsafe extern "C-unwind" fn call_host(state: *mut lua_State) -> c_int {
    // SAFETY: `numbered` made the closure with two upvalues; arguments lie from 1 to the top.
    unsafe {
        let number = upvalue_number(state);
        let result = flush_current(state).and_then(|()| {
            let name = text_at(state, ffi::lua_upvalueindex(2)).unwrap_or_default();
            let count = ffi::lua_gettop(state);
            if count > MAX_ARGUMENTS {
                let message =
                    format!("{name}: {count} arguments; at most {MAX_ARGUMENTS} are taken");
                return Err(ScriptError::Host { message });
            }
            let args = hand_over_arguments(state, count, &name)?;
            with_host(&name, |host, random| {
                if host.wants_line() {
                    host.note_line(caller_line(state));
                }
                host.call(number, args, random)
            })
        });
        answer_all(state, result)
    }
}

/// A live value; the namespace's number and name are the upvalues.
unsafe extern "C-unwind" fn read_live(state: *mut lua_State) -> c_int {
    // SAFETY: `numbered` made the closure with two upvalues; a metamethod's operands are at 1 and 2.
    unsafe {
        let number = upvalue_number(state);
        let result = field_at(state, 2).and_then(|field| match field {
            Field::Name(name) => with_host(name, |host, _| host.live(number, &[name])),
            Field::Position(position) => Err(no_field("namespace", &position.to_string())),
        });
        answer_live(state, number, "", result)
    }
}

/// `print` and `log.*`; the level is the first upvalue.
unsafe extern "C-unwind" fn write_log(state: *mut lua_State) -> c_int {
    // SAFETY: `numbered` made the closure with two upvalues; arguments lie from 1 to the top.
    unsafe {
        let level = match upvalue_number(state) {
            0 => LogLevel::Info,
            1 => LogLevel::Warn,
            _ => LogLevel::Error,
        };
        let count = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        let mut text = String::new();
        for position in 1..=count {
            if position > 1 {
                text.push('\t');
            }
            push_text(state, position);
            text.push_str(&text_at(state, -1).unwrap_or_default());
            ffi::lua_pop(state, 1);
            if text.len() > MAX_MESSAGE {
                break;
            }
        }
        cut(&mut text);
        let line = caller_line(state);
        let result = match with_run("print", |run| Ok(run.in_callback)) {
            Ok(false) => with_run("print", |run| {
                if let Some(lines) = &mut run.own.file_lines {
                    lines.add(LogLine { level, text, line });
                }
                Ok(())
            }),
            _ => with_host("print", |host, _| host.log(level, text, line)),
        };
        answer_nothing(state, result)
    }
}

/// `tostring(value)`
unsafe extern "C-unwind" fn tostring(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; `luaL_checkany` raises as C functions may.
    unsafe {
        safepoint(state);
        ffi::luaL_checkany(state, 1);
        push_text(state, 1);
        1
    }
}

/// Pushes what `tostring` gives, but no address: those differ from run to run.
///
/// # Safety
///
/// Inside a protected call, with a valid positive index and two free slots.
unsafe fn push_text(state: *mut lua_State, index: c_int) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if may_have_address(ffi::lua_type(state, index)) {
            if ffi::luaL_getmetafield(state, index, c"__tostring".as_ptr()) == 0 {
                ffi::lua_pushstring(state, ffi::lua_typename(state, ffi::lua_type(state, index)));
                return;
            }
            ffi::lua_pop(state, 1);
        }
        // Luau's own: mlua's knows no vectors.
        ffi::luaL_tolstring_(state, index, std::ptr::null_mut());
    }
}

/// Whether Luau shows a value of this type by its address, unless it has a metamethod for that.
fn may_have_address(kind: c_int) -> bool {
    matches!(
        kind,
        ffi::LUA_TTABLE
            | ffi::LUA_TFUNCTION
            | ffi::LUA_TTHREAD
            | ffi::LUA_TUSERDATA
            | ffi::LUA_TLIGHTUSERDATA
            | ffi::LUA_TBUFFER
    )
}

/// `math.random` as Luau documents it, on the run's own generator.
unsafe extern "C-unwind" fn random(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; `luaL_check…` raise as C functions may.
    unsafe {
        let count = ffi::lua_gettop(state);
        begin_reading(state, c"random", 2);
        let (low, high) = match count {
            0 => (0, 0),
            1 => (1, ffi::luaL_checknumber(state, 1) as i64),
            2 => {
                let low = ffi::luaL_checknumber(state, 1);
                (low as i64, ffi::luaL_checknumber(state, 2) as i64)
            }
            _ => ffi::luaL_error(state, c"wrong number of arguments".as_ptr()),
        };
        if low > high {
            ffi::luaL_argerror(state, count, c"interval is empty".as_ptr());
        }
        let bits = with_run("math.random", |run| Ok(run.own.random.next_u64()));
        let bits = match bits {
            Ok(bits) => bits,
            Err(error) => raise(state, error),
        };
        if count == 0 {
            // 53 random bits: every multiple of 2^-53 below 1, equally likely.
            ffi::lua_pushnumber(state, (bits >> 11) as f64 / (1_u64 << 53) as f64);
        } else {
            // Lemire's multiply-shift; the bias is the span times 2^-64.
            let span = u128::from(high.abs_diff(low)) + 1;
            let offset = ((u128::from(bits) * span) >> 64) as i64;
            ffi::lua_pushnumber(state, low.wrapping_add(offset) as f64);
        }
        1
    }
}

fn no_field(owner: &str, field: &str) -> ScriptError {
    ScriptError::UnknownField { owner: owner.to_owned(), field: field.to_owned(), similar: None }
}

/// # Safety
///
/// Inside a closure that `numbered` made.
unsafe fn upvalue_number(state: *mut lua_State) -> u32 {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { ffi::lua_tonumber(state, ffi::lua_upvalueindex(1)) as u32 }
}

/// The entity at a stack index; `None` for anything else and for the file level's stand-in.
///
/// # Safety
///
/// A valid index.
#[inline]
unsafe fn entity_at(state: *mut lua_State, index: c_int) -> Option<Entity> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TLIGHTUSERDATA {
            return None;
        }
        Entity::try_from_bits(ffi::lua_tolightuserdata(state, index) as u64)
    }
}

/// # Safety
///
/// Inside a protected call; one free slot. Light userdata is as wide as an entity's bits on
/// the 64-bit targets that this crate builds for.
unsafe fn push_entity(state: *mut lua_State, entity: Entity) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { ffi::lua_pushlightuserdata(state, entity.to_bits() as usize as *mut c_void) }
}

/// What a script holds to get at the fields of a component.
#[derive(Clone, Copy)]
enum Handle {
    FieldRef(FieldRef),
    /// A spot of the own entity.
    Own(FieldId),
}

impl Handle {
    fn place(self, host: &dyn Host) -> FieldRef {
        match self {
            Self::FieldRef(place) => place,
            Self::Own(spot) => host.own_place(spot),
        }
    }
}

/// # Safety
///
/// A valid index.
unsafe fn handle_at(state: *mut lua_State, index: c_int) -> Result<Handle, ScriptError> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if let Some(spot) = own_at(state, index) {
            return Ok(Handle::Own(spot));
        }
        let place = ffi::lua_touserdatatagged(state, index, PLACE_TAG).cast::<FieldRef>();
        if place.is_null() {
            return Err(ScriptError::Raised { message: "not a component".to_owned() });
        }
        // The tag is set by `push_place` alone, which wrote a `FieldRef`.
        Ok(Handle::FieldRef(place.read_unaligned()))
    }
}

/// The spot of the own entity that the handle at a stack index is for.
///
/// # Safety
///
/// A valid index.
#[inline]
unsafe fn own_at(state: *mut lua_State, index: c_int) -> Option<FieldId> {
    // SAFETY: the caller keeps what this function asks for; the tag is set by `push_own` alone, which
    // wrote a number.
    unsafe {
        let spot = ffi::lua_touserdatatagged(state, index, OWN_TAG).cast::<FieldId>();
        if spot.is_null() { None } else { Some(spot.read_unaligned()) }
    }
}

/// The atom of the string at a stack index, if it is one and has one.
///
/// # Safety
///
/// A valid index.
#[inline]
unsafe fn atom_at(state: *mut lua_State, index: c_int) -> Option<Atom> {
    let mut atom = NO_ATOM.into();
    // SAFETY: the caller keeps what this function asks for.
    let text = unsafe { ffi::lua_tostringatom(state, index, &raw mut atom) };
    if text.is_null() { None } else { Atom::from_luau(atom) }
}

/// Luau asks once for the atom of a string.
///
/// # Safety
///
/// Luau calls it with a string and its length.
unsafe extern "C-unwind" fn atom_of(
    _: *mut lua_State,
    text: *const std::ffi::c_char,
    length: usize,
) -> i16 {
    // SAFETY: the caller keeps what this function asks for.
    atom_of_string(unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) })
}

/// # Safety
///
/// Inside a protected call; one free slot.
unsafe fn push_place(state: *mut lua_State, place: FieldRef) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let size = size_of::<FieldRef>();
        let memory = ffi::lua_newuserdatataggedwithmetatable(state, size, PLACE_TAG);
        // A `FieldRef` is plain data without a destructor.
        memory.cast::<FieldRef>().write_unaligned(place);
    }
}

/// The field name or position at a stack index. The name lives while the value is on the stack.
///
/// # Safety
///
/// A valid index; strings there are not moved by the collector.
unsafe fn field_at<'s>(state: *mut lua_State, index: c_int) -> Result<Field<'s>, ScriptError> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TSTRING => {
                let mut length = 0;
                let text = ffi::lua_tolstring(state, index, &raw mut length);
                if length > MAX_NAME {
                    return Err(no_field("entity", &format!("a name of {length} bytes")));
                }
                let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length);
                std::str::from_utf8(bytes)
                    .map(Field::Name)
                    .map_err(|_| no_field("entity", "a name that is not UTF-8"))
            }
            ffi::LUA_TNUMBER => Ok(Field::Position(ffi::lua_tonumber(state, index))),
            other => {
                let kind = CStr::from_ptr(ffi::lua_typename(state, other)).to_string_lossy();
                Err(no_field("entity", &format!("a {kind}")))
            }
        }
    }
}

/// The string at a stack index, made valid UTF-8; `None` if it is none.
///
/// # Safety
///
/// A valid index.
unsafe fn text_at(state: *mut lua_State, index: c_int) -> Option<String> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let text = ffi::lua_tolstring(state, index, &raw mut length);
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length.min(2 * MAX_MESSAGE));
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        cut(&mut text);
        Some(text)
    }
}

// ---- lists and maps that go out and come back ----------------------------------------------------

/// Pushes the table that stands for the list or map at `place`: the same one each time.
///
/// # Safety
///
/// Inside a protected call; four free slots.
unsafe fn push_handed(state: *mut lua_State, table: ScriptTable, place: FieldRef) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let known = with_run("table", |run| {
            let index = run.own.handed.iter().position(|(known, _)| *known == place);
            Ok((index, run.handed_ref, run.own.handed.len()))
        });
        let (index, slot, len) = match known {
            Ok(known) => known,
            Err(error) => raise(state, error),
        };
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
        if let Some(index) = index {
            ffi::lua_rawgeti(state, -1, index as ffi::lua_Integer + 1);
        } else {
            let size = table.size();
            let counted = with_run("table", |run| {
                let bytes = run.own.handed_bytes.saturating_add(size);
                if bytes > MAX_HANDED {
                    return Err(handed_too_much());
                }
                run.own.handed_bytes = bytes;
                Ok(())
            });
            if let Err(error) = counted {
                raise(state, error);
            }
            push_table(state, &table, 0);
            ffi::lua_pushvalue(state, -1);
            ffi::lua_rawseti(state, -3, len as ffi::lua_Integer + 1);
            let _ = with_run("table", |run| {
                run.own.handed.push((place, table));
                Ok(())
            });
        }
        ffi::lua_remove(state, -2);
    }
}

fn handed_too_much() -> ScriptError {
    ScriptError::TooMuchInLists { limit: MAX_HANDED }
}

/// Writes back the handed tables that were changed, from within a C function.
///
/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn flush_current(state: *mut lua_State) -> Result<(), ScriptError> {
    let handed = with_run("table", |run| Ok(!run.own.handed.is_empty()));
    if handed == Ok(true) {
        // SAFETY: the caller keeps what this function asks for.
        with_run("table", |run| unsafe { flush(state, run) })?;
    }
    Ok(())
}

/// # Safety
///
/// Inside a protected call. ReadResult raises nothing but a stack overflow.
unsafe fn flush(state: *mut lua_State, run: &mut Run<'_>) -> Result<(), ScriptError> {
    if run.own.handed.is_empty() {
        return Ok(());
    }
    // All of them together have room for as much as was handed out at most.
    let mut left = MAX_HANDED;
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, run.handed_ref.into());
        for index in 0..run.own.handed.len() {
            ffi::lua_rawgeti(state, -1, index as ffi::lua_Integer + 1);
            let mut reader = Reader::new(left, Some(&mut *run.host), &mut run.deadline);
            let table = reader.table(state, ffi::lua_gettop(state));
            left = reader.budget;
            ffi::lua_pop(state, 1);
            let (place, before) = &mut run.own.handed[index];
            let host = &mut *run.host;
            let result = guarded("component", || {
                let table = table.map_err(|problem| match problem.what {
                    ProblemKind::TooLarge => handed_too_much(),
                    _ => problem.into_error(&host.name(*place), MAX_HANDED, "handed over"),
                })?;
                if table != *before {
                    host.replace(*place, ScriptValue::Table(table.clone()), before.size())?;
                    *before = table;
                }
                Ok(())
            });
            run.note(&result);
            if result.is_err() {
                ffi::lua_pop(state, 1);
                return result;
            }
        }
        ffi::lua_pop(state, 1);
    }
    Ok(())
}

/// Forgets the handed tables whose place has another value since it was written in another way: the
/// next read gets a new one. All others still come back.
///
/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn forget_stale(state: *mut lua_State) {
    let _ = with_run("table", |run| {
        let host = &mut *run.host;
        let deadline = &mut run.deadline;
        let fresh: Vec<bool> = run
            .own
            .handed
            .iter()
            .map(|(place, before)| {
                // Nothing is read any more.
                if deadline.has_passed() {
                    return true;
                }
                let now = guarded("component", || host.copy(*place));
                matches!(&now, Ok(ScriptValue::Table(now)) if now == before)
            })
            .collect();
        if fresh.iter().all(|fresh| *fresh) {
            return Ok(());
        }
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, run.handed_ref.into());
            let mut kept = 0;
            for index in (1..).zip(&fresh).filter(|(_, fresh)| **fresh).map(|(index, _)| index) {
                kept += 1;
                ffi::lua_rawgeti(state, -1, index);
                ffi::lua_rawseti(state, -2, kept);
            }
            for index in kept + 1..=fresh.len() as ffi::lua_Integer {
                ffi::lua_pushnil(state);
                ffi::lua_rawseti(state, -2, index);
            }
            ffi::lua_pop(state, 1);
        }
        let mut fresh = fresh.into_iter();
        run.own.handed.retain(|_| fresh.next().unwrap_or(false));
        Ok(())
    });
}

/// Empties the array of handed tables between two runs.
pub(super) fn forget_all(lua: &Lua, refs: &Refs, run: &Run<'_>) {
    if run.own.handed.is_empty() {
        return;
    }
    let slot = refs.handed;
    // SAFETY: rule 1.
    let cleared = unsafe {
        lua.exec_raw::<()>((), |state| {
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
            ffi::lua_cleartable(state, -1);
            ffi::lua_pop(state, 1);
        })
    };
    debug_assert!(cleared.is_ok(), "clearing a table allocates nothing");
}

// ---- plain data in and out ----------------------------------------------------------------------

/// # Safety
///
/// Inside a protected call; two free slots.
#[inline]
unsafe fn push_value(state: *mut lua_State, value: &ScriptValue, depth: u32) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match value {
            ScriptValue::Nil => ffi::lua_pushnil(state),
            ScriptValue::Bool(value) => ffi::lua_pushboolean(state, (*value).into()),
            ScriptValue::Number(value) => ffi::lua_pushnumber(state, *value),
            ScriptValue::String(value) => {
                ffi::lua_pushlstring(state, value.as_ptr().cast(), value.len());
            }
            ScriptValue::Bytes(value) => {
                ffi::lua_pushlstring(state, value.as_ptr().cast(), value.len());
            }
            ScriptValue::Vector(value) => {
                ffi::lua_pushvector(state, value.x, value.y, value.z);
            }
            ScriptValue::Entity(value) => push_entity(state, *value),
            ScriptValue::Table(value) => push_table(state, value, depth),
        }
    }
}

/// Values that are pushed between two safepoints.
const PUSHED: usize = 64;

/// # Safety
///
/// Inside a protected call; two free slots.
unsafe fn push_table(state: *mut lua_State, table: &ScriptTable, depth: u32) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if depth >= MAX_DEPTH {
            let message = format!("a value of the host is nested deeper than {MAX_DEPTH} levels");
            raise(state, ScriptError::Host { message });
        }
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        ffi::lua_createtable(state, table.array.len() as c_int, table.fields.len() as c_int);
        for (index, value) in table.array.iter().enumerate() {
            if index % PUSHED == PUSHED - 1 {
                safepoint(state);
            }
            push_value(state, value, depth + 1);
            ffi::lua_rawseti(state, -2, index as ffi::lua_Integer + 1);
        }
        for (number, (key, value)) in table.fields.iter().enumerate() {
            // They may have been chosen so that their hashes collide.
            if number % PUSHED == PUSHED - 1 {
                safepoint(state);
            }
            match key {
                ScriptKey::Bool(key) => ffi::lua_pushboolean(state, (*key).into()),
                // NaN can't be a key in Lua; a table that came from Lua has none.
                ScriptKey::Number(key) if key.is_nan() => continue,
                ScriptKey::Number(key) => ffi::lua_pushnumber(state, *key),
                ScriptKey::String(key) => {
                    ffi::lua_pushlstring(state, key.as_ptr().cast(), key.len());
                }
                ScriptKey::Entity(key) => push_entity(state, *key),
            }
            push_value(state, value, depth + 1);
            ffi::lua_rawset(state, -3);
        }
    }
}

/// Reads a value that a script hands to the host: component handles are copied.
///
/// # Safety
///
/// Inside a C function that Luau called; a valid positive index.
unsafe fn hand_over(
    state: *mut lua_State,
    index: c_int,
    what: &str,
) -> Result<ScriptValue, ScriptError> {
    with_run(what, |run| {
        let limit = run.max_value_size;
        let mut reader = Reader::new(limit, Some(&mut *run.host), &mut run.deadline);
        // SAFETY: the caller keeps what this function asks for.
        let result = unsafe { reader.value(state, index) }
            .map_err(|problem| problem.into_error(what, limit, "handed over"));
        run.note(&result);
        result
    })
}

/// Reads the arguments of a host function. Each may have as many bytes as a value may; all together have that
/// twice, since a script can pass one value many times.
///
/// # Safety
///
/// Inside a C function that Luau called, with so many arguments.
unsafe fn hand_over_arguments(
    state: *mut lua_State,
    count: c_int,
    name: &str,
) -> Result<Vec<ScriptValue>, ScriptError> {
    with_run(name, |run| {
        let limit = run.max_value_size;
        let mut left = limit.saturating_mul(2);
        let mut args = Vec::with_capacity(count as usize);
        for position in 1..=count {
            let budget = limit.min(left);
            let mut reader = Reader::new(budget, Some(&mut *run.host), &mut run.deadline);
            // SAFETY: the caller keeps what this function asks for.
            let value = unsafe { reader.value(state, position) };
            let result = value.and_then(|value| reader.look().map(|()| value));
            left -= budget - reader.budget;
            let result =
                result.map_err(|problem| match problem.into_error(name, limit, "handed over") {
                    ScriptError::NotData { place, what, purpose } => {
                        let within = place.strip_prefix(name).unwrap_or_default();
                        let place = format!("{name}: argument {position}{within}");
                        ScriptError::NotData { place, what, purpose }
                    }
                    error => error,
                });
            run.note(&result);
            args.push(result?);
        }
        Ok(args)
    })
}

/// Reads plain data off the stack, within a budget of bytes.
struct Reader<'r, 'w> {
    budget: usize,
    /// Where component handles are copied from; without one they are no data.
    host: Option<&'r mut dyn Host>,
    /// When to give up: values can be referred to many times, so that a few make much.
    deadline: &'r mut Deadline<'w>,
    /// Values read so far.
    steps: u32,
}

/// Why a value can't be read: what, and the keys that lead there, the innermost first.
struct Problem {
    what: ProblemKind,
    keys: Vec<String>,
}

/// The most bytes that a message shows of a name.
const MAX_SHOWN: usize = 80;

/// A name as messages show it.
fn short(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_SHOWN {
        return name.into();
    }
    let mut end = MAX_SHOWN;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &name[..end]).into()
}

enum ProblemKind {
    NotData(String),
    TooLarge,
    Host(ScriptError),
}

impl Problem {
    fn new(what: impl Into<String>) -> Self {
        Self { what: ProblemKind::NotData(what.into()), keys: Vec::new() }
    }

    fn into_error(self, root: &str, limit: usize, purpose: &'static str) -> ScriptError {
        match self.what {
            ProblemKind::NotData(what) => {
                let mut place = root.to_owned();
                place.extend(self.keys.into_iter().rev());
                ScriptError::NotData { place, what, purpose }
            }
            ProblemKind::TooLarge => ScriptError::TooMuch {
                what: "bytes in one value",
                limit,
                setting: "max_value_size",
            },
            ProblemKind::Host(error) => error,
        }
    }
}

impl<'r, 'w> Reader<'r, 'w> {
    /// Values that are read between two looks at the deadline.
    const STEPS: u32 = 64;

    fn new(budget: usize, host: Option<&'r mut dyn Host>, deadline: &'r mut Deadline<'w>) -> Self {
        Self { budget, host, deadline, steps: 0 }
    }

    /// Gives up if the run must be over.
    fn look(&mut self) -> Result<(), Problem> {
        if self.deadline.has_passed() {
            let error = self.deadline.error();
            return Err(Problem { what: ProblemKind::Host(error), keys: Vec::new() });
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Problem> {
        self.steps += 1;
        if self.steps.is_multiple_of(Self::STEPS) {
            self.look()?;
        }
        match self.budget.checked_sub(bytes) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(Problem { what: ProblemKind::TooLarge, keys: Vec::new() }),
        }
    }

    /// Counts a copy of a component as if it were a table: or a component that takes copies of itself could be
    /// made ever deeper, and ever larger.
    fn take_copy(&mut self, value: &ScriptValue, depth: u32) -> Result<(), Problem> {
        fn levels(value: &ScriptValue) -> u32 {
            match value {
                ScriptValue::Table(table) => {
                    table.array.iter().chain(table.fields.values()).map(levels).max().unwrap_or(0)
                        + 1
                }
                _ => 0,
            }
        }
        self.spend(value.size())?;
        if depth + levels(value) > MAX_DEPTH {
            return Err(Problem::new(format!(
                "a component that is nested deeper than {MAX_DEPTH} levels, with the tables around it"
            )));
        }
        Ok(())
    }

    /// Notes the field on top if its value is not what it was. What the least value takes is spent already.
    ///
    /// # Safety
    ///
    /// As `value`.
    unsafe fn field(
        &mut self,
        state: *mut lua_State,
        top: c_int,
        key: &str,
        (place, old): (u16, &ScriptValue),
        changes: &mut Changes,
    ) -> Result<(), Problem> {
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            if same(state, top, old) {
                return self.spend(if let ScriptValue::String(old) = old { old.len() } else { 0 });
            }
            self.budget += size_of::<f64>();
            let value = self.value_at(state, top, 1).map_err(|mut problem| {
                problem.keys.push(format!(".{}", short(key)));
                problem
            })?;
            if !value.is_identical(old) {
                changes.add(place, value);
            }
        }
        Ok(())
    }

    /// # Safety
    ///
    /// A valid positive index; a protected call is below.
    unsafe fn value(
        &mut self,
        state: *mut lua_State,
        index: c_int,
    ) -> Result<ScriptValue, Problem> {
        // SAFETY: the caller keeps what this function asks for.
        unsafe { self.value_at(state, index, 0) }
    }

    /// # Safety
    ///
    /// As `value`, with a table at the index.
    unsafe fn table(
        &mut self,
        state: *mut lua_State,
        index: c_int,
    ) -> Result<ScriptTable, Problem> {
        // SAFETY: the caller keeps what this function asks for.
        unsafe { self.table_at(state, index, 0) }
    }

    unsafe fn value_at(
        &mut self,
        state: *mut lua_State,
        index: c_int,
        depth: u32,
    ) -> Result<ScriptValue, Problem> {
        self.spend(size_of::<f64>())?;
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            Ok(match ffi::lua_type(state, index) {
                ffi::LUA_TNIL | ffi::LUA_TNONE => ScriptValue::Nil,
                ffi::LUA_TBOOLEAN => ScriptValue::Bool(ffi::lua_toboolean(state, index) != 0),
                ffi::LUA_TNUMBER => ScriptValue::Number(ffi::lua_tonumber(state, index)),
                ffi::LUA_TSTRING => {
                    let mut length = 0;
                    let text = ffi::lua_tolstring(state, index, &raw mut length);
                    self.spend(length)?;
                    let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length).to_vec();
                    match String::from_utf8(bytes) {
                        Ok(text) => ScriptValue::String(text),
                        Err(error) => ScriptValue::Bytes(error.into_bytes()),
                    }
                }
                ffi::LUA_TVECTOR => {
                    let vector = ffi::lua_tovector(state, index);
                    ScriptValue::Vector(Vec3::new(*vector, *vector.add(1), *vector.add(2)))
                }
                ffi::LUA_TLIGHTUSERDATA => match entity_at(state, index) {
                    Some(entity) => ScriptValue::Entity(entity),
                    None => return Err(Problem::new("the `entity` of the file level")),
                },
                ffi::LUA_TTABLE => ScriptValue::Table(self.table_at(state, index, depth)?),
                ffi::LUA_TUSERDATA => match (handle_at(state, index), &mut self.host) {
                    (Ok(handle), Some(host)) => {
                        let value = guarded("component", || host.copy(handle.place(*host)))
                            .map_err(|error| Problem {
                                what: ProblemKind::Host(error),
                                keys: Vec::new(),
                            })?;
                        self.take_copy(&value, depth)?;
                        value
                    }
                    (Ok(_), None) => {
                        return Err(Problem::new("a component (keep its fields instead)"));
                    }
                    (Err(_), _) => return Err(Problem::new("a userdata")),
                },
                ffi::LUA_TFUNCTION => return Err(Problem::new("a function")),
                ffi::LUA_TTHREAD => return Err(Problem::new("a coroutine")),
                ffi::LUA_TBUFFER => {
                    return Err(Problem::new("a buffer (use buffer.tostring)"));
                }
                other => {
                    let kind = CStr::from_ptr(ffi::lua_typename(state, other)).to_string_lossy();
                    return Err(Problem::new(format!("a {kind}")));
                }
            })
        }
    }

    unsafe fn table_at(
        &mut self,
        state: *mut lua_State,
        index: c_int,
        depth: u32,
    ) -> Result<ScriptTable, Problem> {
        if depth >= MAX_DEPTH {
            return Err(Problem::new(format!(
                "a table nested deeper than {MAX_DEPTH} levels, or one that holds itself"
            )));
        }
        self.spend(size_of::<ScriptTable>())?;
        // It may have many slots and nothing in them.
        self.look()?;
        let mut entries = Entries::default();
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            if ffi::lua_getmetatable(state, index) != 0 {
                ffi::lua_pop(state, 1);
                return Err(Problem::new("a table with a metatable"));
            }
            let mut next = ffi::lua_rawiter(state, index, 0);
            while next >= 0 {
                let top = ffi::lua_gettop(state);
                let read = self.entry(state, top, depth, &mut entries);
                ffi::lua_settop(state, top - 2);
                read?;
                next = ffi::lua_rawiter(state, index, next);
            }
        }
        Ok(entries.into_table())
    }

    /// Reads the key at `top - 1` and the value at `top`.
    unsafe fn entry(
        &mut self,
        state: *mut lua_State,
        top: c_int,
        depth: u32,
        entries: &mut Entries,
    ) -> Result<(), Problem> {
        // SAFETY: the caller keeps what this function asks for.
        let key = unsafe { self.key_at(state, top - 1, depth + 1) }?;
        // SAFETY: the caller keeps what this function asks for.
        let value = unsafe { self.value_at(state, top, depth + 1) }.map_err(|mut problem| {
            problem.keys.push(match &key {
                ScriptKey::String(key) => format!(".{}", short(key)),
                key => format!("[{key}]"),
            });
            problem
        })?;
        match key {
            ScriptKey::Number(key) if key == entries.array.len() as f64 + 1.0 => {
                entries.array.push(value);
            }
            key => entries.fields.push((key, value)),
        }
        Ok(())
    }

    unsafe fn key_at(
        &mut self,
        state: *mut lua_State,
        index: c_int,
        depth: u32,
    ) -> Result<ScriptKey, Problem> {
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            // Most keys are short texts, which lie in the key itself.
            if let Some(text) = text_bytes(state, index)
                && let Ok(text) = str::from_utf8(text)
            {
                self.spend(size_of::<f64>())?;
                self.spend(text.len())?;
                return Ok(text.into());
            }
            match self.value_at(state, index, depth)? {
                ScriptValue::Bool(key) => Ok(key.into()),
                ScriptValue::Number(key) => Ok(key.into()),
                ScriptValue::String(key) => Ok(key.into()),
                ScriptValue::Entity(key) => Ok(key.into()),
                other => Err(Problem::new(format!("a table with a {} as key", other.type_name()))),
            }
        }
    }
}

/// The entries of a table, in the order in which going through it meets them.
#[derive(Default)]
struct Entries {
    /// Those whose key was the next number.
    array: Vec<ScriptValue>,
    /// The others. A script can choose the order, so they are sorted once, when all are there.
    fields: Vec<(ScriptKey, ScriptValue)>,
}

impl Entries {
    fn into_table(self) -> ScriptTable {
        let mut table = ScriptTable { array: self.array, fields: self.fields.into() };
        // Elements that were not met in order.
        table.settle();
        table.array.shrink_to_fit();
        table
    }
}

/// The seed that the file level of a script has: it depends on the script alone.
fn file_level_seed(name: &str) -> u64 {
    // FNV-1a, 64 bits.
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

// ---- sessions -----------------------------------------------------------------------------------
//
// VMs whose environment lasts, runs of whole sources, and the namespaces of value servers.

/// The userdata tag of the namespaces of value servers: a number, and the parts of the name, joined.
const SERVER_TAG: c_int = 8;
/// Joins the parts of a name in such a namespace.
const JOINT: char = '\0';
/// Where the holder of a session's coroutines keeps how many there ever were, the weak table of those
/// that there are, and how many there were at the last reset.
const EVER: ffi::lua_Integer = 0;
const ALIVE: ffi::lua_Integer = 1;
const BEFORE: ffi::lua_Integer = 2;

/// Registry slots that a session fills once; the environment's is filled again by each reset.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionRefs {
    environment_metatable: c_int,
    environment: c_int,
    coroutines: c_int,
    message_handler: c_int,
    handed: c_int,
    vm: Callbacks,
}

/// What a session is to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum SessionTask<'t> {
    /// Run the main function of a chunk.
    Chunk(&'t Function, Results),
    /// Call the function at this path.
    Call(&'t str, &'t [ScriptValue], Results),
    /// Go on with the coroutine of this number.
    Resume(u64, &'t [ScriptValue]),
    /// Read what is at this path.
    Get(&'t str),
    /// Write what is at this path.
    Set(&'t str, &'t ScriptValue),
    /// Read all globals that are data.
    State,
    /// Set these globals.
    Restore(&'t ScriptTable),
}

/// How a task ended.
pub(super) enum SessionEnded {
    /// With these values.
    Done(ScriptValues),
    /// A coroutine that was resumed waits again, and handed out these values.
    Yielded(ScriptValues),
    /// With an error: what, in which script and line, the call stack.
    Failed { error: ScriptError, script: Option<String>, line: Option<u32>, frames: String },
    /// The memory limit was reached.
    OutOfMemory,
}

/// A coroutine of a session that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawCoroutine {
    pub(super) id: u64,
    pub(super) started: bool,
    pub(super) script: String,
    pub(super) line: Option<u32>,
}

impl<'h> Run<'h> {
    /// A run that may use its host from the beginning.
    pub(super) fn of_session(
        host: &'h mut dyn Host,
        deadline: Deadline<'h>,
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
    pub(super) fn start_with(&mut self, seed: u64) {
        self.in_callback = true;
        self.own.random = RunRandom::new(seed);
        self.own.file_steps = std::mem::take(&mut self.own.steps);
        self.own.entity = self.host.entity();
    }

    /// What is left of its random numbers.
    pub(super) fn into_random(self) -> RunRandom {
        self.own.random
    }
}

/// Calls `body` as if no run were on this thread: what it makes Luau do (loading a chunk reads its
/// imports) reaches no host, also when a host function of another VM is what called.
pub(super) fn outside_run<R>(body: impl FnOnce() -> R) -> R {
    enter(std::ptr::null_mut(), body)
}

// -- what a VM is given

/// Installs the metatable of value servers' namespaces; before [`server`] makes the first one.
pub(super) fn set_up_servers(lua: &Lua) -> mlua::Result<()> {
    // SAFETY: rule 1.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            ffi::lua_createtable(state, 0, 6);
            set_function(state, c"__index", server_index);
            set_function(state, c"__newindex", server_newindex);
            set_function(state, c"__iter", server_iter);
            set_function(state, c"__tostring", server_tostring);
            set_type_name(state, c"Namespace");
            lock_metatable(state);
            ffi::lua_setuserdatametatable(state, SERVER_TAG);
        })
    }
}

/// The namespace of a value server, by its number.
pub(super) fn server(lua: &Lua, number: u32, name: &str) -> mlua::Result<mlua::Value> {
    // SAFETY: rule 1; `set_up_servers` came before.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 2, TOO_DEEP.as_ptr());
            push_server(state, number, name);
        })
    }
}

/// A plain value as Lua has it.
pub(super) fn plain(lua: &Lua, value: &ScriptValue) -> mlua::Result<mlua::Value> {
    // SAFETY: rule 1.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            push_value(state, value, 0);
        })
    }
}

/// The holder of a session's coroutines.
pub(super) fn coroutine_holder(lua: &Lua) -> mlua::Result<Table> {
    // SAFETY: rule 1.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 6, TOO_DEEP.as_ptr());
            ffi::lua_createtable(state, 2, 1);
            for slot in [EVER, BEFORE] {
                ffi::lua_pushnumber(state, 0.0);
                ffi::lua_rawseti(state, -2, slot);
            }
            push_weak_table(state);
            ffi::lua_rawseti(state, -2, ALIVE);
        })
    }
}

/// `coroutine.create` or `coroutine.wrap` that puts what it makes into `holder`; `original` is Luau's
/// own.
pub(super) fn recording_function(
    lua: &Lua,
    (name, original): (&'static CStr, Function),
    holder: &Table,
) -> mlua::Result<Function> {
    // SAFETY: rule 1; one closure with the two upvalues that were pushed.
    unsafe {
        lua.exec_raw((original, holder), |state| {
            ffi::lua_pushcclosurek(state, record_coroutine, name.as_ptr(), 2, None);
        })
    }
}

/// `rawset` that makes later reads see a built-in which it shadows.
pub(super) fn rawset_function(lua: &Lua, builtins: &Table) -> mlua::Result<Function> {
    // SAFETY: rule 1; one closure with the one upvalue that was pushed.
    unsafe {
        lua.exec_raw(builtins, |state| {
            ffi::lua_pushcclosurek(state, rawset, c"rawset".as_ptr(), 1, None);
        })
    }
}

/// Installs what a session needs into a fresh VM on which [`set_up`] was called.
pub(super) fn set_up_session(
    lua: &Lua,
    builtins: &Table,
    holder: &Table,
    refs: &Refs,
) -> mlua::Result<SessionRefs> {
    let mut session = SessionRefs {
        environment_metatable: 0,
        environment: 0,
        coroutines: 0,
        message_handler: refs.message_handler,
        vm: refs.vm,
        handed: refs.handed,
    };
    let slots = &mut session;
    // SAFETY: rule 1: the stack holds `builtins` at 1 and `holder` at 2.
    unsafe {
        lua.exec_raw::<()>((builtins, holder), |state| {
            ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
            slots.coroutines = ffi::lua_ref(state, 2);

            ffi::lua_createtable(state, 0, 3);
            ffi::lua_pushvalue(state, 1);
            ffi::lua_rawsetfield(state, -2, c"__index".as_ptr());
            ffi::lua_pushvalue(state, 1);
            ffi::lua_pushcclosurek(state, global_newindex, std::ptr::null(), 1, None);
            ffi::lua_rawsetfield(state, -2, c"__newindex".as_ptr());
            lock_metatable(state);
            slots.environment_metatable = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            push_environment(state, slots.environment_metatable);
            slots.environment = ffi::lua_ref(state, -1);
            ffi::lua_settop(state, 0);
        })?;
    }
    Ok(session)
}

/// Puts a fresh environment in place of the session's, and forgets its coroutines.
pub(super) fn reset_session(lua: &Lua, refs: &SessionRefs) -> mlua::Result<()> {
    // SAFETY: rule 1; the slots are those that `set_up_session` filled.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
            push_environment(state, refs.environment_metatable);
            ffi::lua_rawseti(state, ffi::LUA_REGISTRYINDEX, refs.environment.into());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.coroutines.into());
            let ever = number_in(state, -1, EVER);
            if ever > number_in(state, -1, BEFORE) {
                push_weak_table(state);
                ffi::lua_rawseti(state, -2, ALIVE);
                ffi::lua_pushnumber(state, ever);
                ffi::lua_rawseti(state, -2, BEFORE);
            }
            ffi::lua_pop(state, 1);
        })
    }
}

/// # Safety
///
/// Inside a protected call; four free slots.
unsafe fn push_environment(state: *mut lua_State, metatable: c_int) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::lua_createtable(state, 0, ENVIRONMENT_SLOTS);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawsetfield(state, -2, c"_G".as_ptr());
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, metatable.into());
        ffi::lua_setmetatable(state, -2);
        ffi::lua_setsafeenv(state, -1, 1);
    }
}

/// # Safety
///
/// Inside a protected call; three free slots.
unsafe fn push_weak_table(state: *mut lua_State) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::lua_createtable(state, 0, 0);
        ffi::lua_createtable(state, 0, 1);
        ffi::lua_pushstring(state, c"v".as_ptr());
        ffi::lua_rawsetfield(state, -2, c"__mode".as_ptr());
        ffi::lua_setmetatable(state, -2);
    }
}

/// The number at a position of a table.
///
/// # Safety
///
/// Inside a protected call; a table at the index, one free slot.
unsafe fn number_in(state: *mut lua_State, index: c_int, slot: ffi::lua_Integer) -> f64 {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::lua_rawgeti(state, index, slot);
        let number = ffi::lua_tonumber(state, -1);
        ffi::lua_pop(state, 1);
        number
    }
}

// -- tasks

/// Does what a session is to do.
pub(super) fn run_session(
    lua: &Lua,
    refs: &SessionRefs,
    task: SessionTask<'_>,
    run: &mut Run<'_>,
) -> SessionEnded {
    let main = match task {
        SessionTask::Chunk(main, _) => Some(main),
        _ => None,
    };
    protected(lua, main, run, |state, run| {
        // SAFETY: `protected` gives a state in a protected call, and the run.
        unsafe { perform(state, refs, task, run) }
    })
}

/// Runs a whole source in an environment of its own that holds `params`.
pub(super) fn run_alone(
    lua: &Lua,
    refs: &Refs,
    main: &Function,
    params: &ScriptTable,
    results: Results,
    run: &mut Run<'_>,
) -> SessionEnded {
    const MAIN: c_int = 1;
    const HANDLER: c_int = 2;
    if let Err(error) = numerals::check_table(params) {
        return failed_with(error);
    }
    protected(lua, Some(main), run, |state, run| {
        // SAFETY: `protected` gives a state in a protected call, with the main function at 1.
        unsafe {
            ffi::luaL_checkstack(state, 12, TOO_DEEP.as_ptr());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.message_handler.into());
            ffi::lua_clonefunction(state, MAIN);
            push_environment(state, refs.environment_metatable);
            push_table(state, params, 0);
            ffi::lua_rawsetfield(state, -2, c"params".as_ptr());
            ffi::lua_setfenv(state, -2);
            numerals::forget_blocks();
            let status = ffi::lua_pcall(state, 0, results.count(), HANDLER);
            returned(state, status, HANDLER + 1, run)
        }
    })
}

/// Calls `body` in a protected call, with `main` (or nil) alone on the stack and `run` as the run of
/// this thread.
fn protected(
    lua: &Lua,
    main: Option<&Function>,
    run: &mut Run<'_>,
    body: impl FnOnce(*mut lua_State, *mut Run<'_>) -> SessionEnded,
) -> SessionEnded {
    let mut ended = None;
    let out = &mut ended;
    let run_ptr = std::ptr::from_mut(run);
    let result = enter(run_ptr, || {
        // SAFETY: rule 1. `run_ptr` is live and used between calls into Lua only, when no C function
        // is active that could use it too.
        unsafe {
            lua.exec_raw::<()>(main, |state| {
                *out = Some(body(state, run_ptr));
                ffi::lua_settop(state, 0);
            })
        }
    });
    match (result, ended) {
        (Ok(()), Some(ended)) => ended,
        (Err(mlua::Error::MemoryError(_)), _) => SessionEnded::OutOfMemory,
        (Err(error), _) => {
            let raised = run.own.raised.take();
            let error =
                raised.map_or_else(|| ScriptError::Raised { message: error.to_string() }, |it| *it);
            SessionEnded::Failed { error, script: None, line: None, frames: String::new() }
        }
        (Ok(()), None) => unreachable!("the body sets the outcome or does not return"),
    }
}

/// # Safety
///
/// Called inside a protected call, with the main function, or nil, alone on the stack; `run` is live
/// and not otherwise referenced while this function, rather than Lua, is on top of the stack.
unsafe fn perform(
    state: *mut lua_State,
    refs: &SessionRefs,
    task: SessionTask<'_>,
    run: *mut Run<'_>,
) -> SessionEnded {
    const MAIN: c_int = 1;
    const HANDLER: c_int = 2;
    const ENVIRONMENT: c_int = 3;
    const RESULTS: c_int = 4;
    let given = match task {
        SessionTask::Set(_, value) => numerals::check(value),
        SessionTask::Call(_, args, _) | SessionTask::Resume(_, args) => {
            args.iter().try_for_each(numerals::check)
        }
        SessionTask::Restore(globals) => numerals::check_table(globals),
        SessionTask::Chunk(..) | SessionTask::Get(_) | SessionTask::State => Ok(()),
    };
    if let Err(error) = given {
        return failed_with(error);
    }
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::luaL_checkstack(state, 16, TOO_DEEP.as_ptr());
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.message_handler.into());
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.environment.into());
        match task {
            SessionTask::Chunk(_, results) => {
                ffi::lua_pushvalue(state, ENVIRONMENT);
                ffi::lua_setfenv(state, MAIN);
                ffi::lua_pushvalue(state, MAIN);
                let status = ffi::lua_pcall(state, 0, results.count(), HANDLER);
                returned(state, status, RESULTS, run)
            }
            SessionTask::Get(path) => {
                let status = follow(state, path, None);
                returned(state, status, RESULTS, run)
            }
            SessionTask::Set(path, value) => {
                let status = follow(state, path, Some(value));
                returned(state, status, RESULTS, run)
            }
            SessionTask::Call(path, args, results) => {
                let status = follow(state, path, None);
                if status != ffi::LUA_OK {
                    return returned(state, status, RESULTS, run);
                }
                if !is_callable(state) {
                    let kind = ffi::lua_typename(state, ffi::lua_type(state, -1));
                    let got = CStr::from_ptr(kind).to_string_lossy();
                    let got = if got == "nil" { "nil".to_owned() } else { format!("a {got}") };
                    return failed_with(ScriptError::NotCallable { name: path.to_owned(), got });
                }
                ffi::luaL_checkstack(state, args.len() as c_int + 4, TOO_DEEP.as_ptr());
                for arg in args {
                    push_value(state, arg, 0);
                }
                numerals::forget_blocks();
                let status = ffi::lua_pcall(state, args.len() as c_int, results.count(), HANDLER);
                returned(state, status, RESULTS, run)
            }
            SessionTask::Resume(id, args) => {
                push_coroutine(state, refs, id);
                resume_coroutine(state, id, args, run)
            }
            SessionTask::State => {
                let (limit, deadline) = ((*run).max_value_size, &mut (*run).deadline);
                match globals_as_data(state, ENVIRONMENT, limit, deadline) {
                    Ok(state) => SessionEnded::Done(ScriptValue::Table(state).into()),
                    Err(error) => failed_with(error),
                }
            }
            SessionTask::Restore(globals) => {
                push_table(state, globals, 0);
                let table = ffi::lua_gettop(state);
                let mut next = ffi::lua_rawiter(state, table, 0);
                while next >= 0 {
                    safepoint(state);
                    ffi::lua_settable(state, ENVIRONMENT);
                    next = ffi::lua_rawiter(state, table, next);
                }
                SessionEnded::Done(ScriptValues::default())
            }
        }
    }
}

/// Goes on with a coroutine, with `args` as what it was waiting for.
///
/// # Safety
///
/// As `perform`, with the coroutine, or anything else, on top.
unsafe fn resume_coroutine(
    state: *mut lua_State,
    id: u64,
    args: &[ScriptValue],
    run: *mut Run<'_>,
) -> SessionEnded {
    // SAFETY: the caller keeps what this function asks for. The coroutine stays on the stack of `state`, so that it
    // lives, and one that is suspended may be resumed. What is moved is below the top of the one, and there is room
    // for it on the other. No memory is asked for from the coroutine's state, where nothing would catch an error.
    unsafe {
        let coroutine = ffi::lua_tothread(state, -1);
        if coroutine.is_null() || !is_suspended(state, coroutine) {
            return failed_with(ScriptError::NoCoroutine { id });
        }
        let count = args.len() as c_int;
        ffi::luaL_checkstack(state, count.saturating_add(4), TOO_DEEP.as_ptr());
        if ffi::lua_checkstack(coroutine, count.saturating_add(4)) == 0 {
            ffi::luaL_checkstack(state, c_int::MAX, TOO_DEEP.as_ptr());
        }
        for arg in args {
            push_value(state, arg, 0);
        }
        ffi::lua_xmove(state, coroutine, count);
        let mut count = 0;
        numerals::forget_blocks();
        let status = ffi::lua_resume(coroutine, state, args.len() as c_int, &raw mut count);
        if status != ffi::LUA_OK && status != ffi::LUA_YIELD {
            ffi::lua_xmove(coroutine, state, 1);
            note_error(state, ffi::lua_gettop(state));
            push_text(state, -1);
            let message = text_at(state, -1).unwrap_or_default();
            let (line, frames) = call_stack(coroutine, 0);
            (*run).own.trace = Some(Box::new(Trace { message, line, frames }));
            return session_failed(state, status, &mut *run);
        }
        ffi::luaL_checkstack(state, count.saturating_add(4), TOO_DEEP.as_ptr());
        ffi::lua_xmove(coroutine, state, count);
        let first = ffi::lua_gettop(state) - count + 1;
        match returned(state, ffi::LUA_OK, first, run) {
            SessionEnded::Done(values) if status == ffi::LUA_YIELD => SessionEnded::Yielded(values),
            ended => ended,
        }
    }
}

/// Reads, or writes, what is at a dotted path below the environment, as a script would. Gives the
/// status of the protected call; the value or the error is on top.
///
/// # Safety
///
/// As `perform`, with the handler at 2 and the environment at 3.
unsafe fn follow(state: *mut lua_State, path: &str, value: Option<&ScriptValue>) -> c_int {
    const HANDLER: c_int = 2;
    const ENVIRONMENT: c_int = 3;
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let parts = path.split('.').count().min(MAX_NAME) as c_int;
        ffi::luaL_checkstack(state, parts + 8, TOO_DEEP.as_ptr());
        push_function(state, if value.is_some() { write_path } else { read_path });
        ffi::lua_pushvalue(state, ENVIRONMENT);
        for part in path.split('.').take(MAX_NAME) {
            ffi::lua_pushlstring(state, part.as_ptr().cast(), part.len());
        }
        if let Some(value) = value {
            push_value(state, value, 0);
        }
        let arguments = parts + 1 + c_int::from(value.is_some());
        ffi::lua_pcall(state, arguments, 1, HANDLER)
    }
}

/// `read_path(table, "a", "b", …)`: `table.a.b…`
unsafe extern "C-unwind" fn read_path(state: *mut lua_State) -> c_int {
    // SAFETY: `follow` calls it; the table is at 1.
    unsafe {
        let last = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        ffi::lua_pushvalue(state, 1);
        for part in 2..=last {
            ffi::lua_pushvalue(state, part);
            ffi::lua_gettable(state, -2);
            ffi::lua_remove(state, -2);
        }
        1
    }
}

/// `write_path(table, "a", "b", …, value)`: `table.a.b… = value`
unsafe extern "C-unwind" fn write_path(state: *mut lua_State) -> c_int {
    // SAFETY: `follow` calls it; the table is at 1, the value on top.
    unsafe {
        let value = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        ffi::lua_pushvalue(state, 1);
        for part in 2..value - 1 {
            ffi::lua_pushvalue(state, part);
            ffi::lua_gettable(state, -2);
            ffi::lua_remove(state, -2);
        }
        ffi::lua_pushvalue(state, value - 1);
        ffi::lua_pushvalue(state, value);
        ffi::lua_settable(state, -3);
        ffi::lua_pushnil(state);
        1
    }
}

/// Whether the value on top can be called.
///
/// # Safety
///
/// Inside a protected call; two free slots.
unsafe fn is_callable(state: *mut lua_State) -> bool {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_type(state, -1) == ffi::LUA_TFUNCTION {
            return true;
        }
        let callable = ffi::luaL_getmetafield(state, -1, c"__call".as_ptr()) != 0;
        if callable {
            ffi::lua_pop(state, 1);
        }
        callable
    }
}

/// The globals that are data; all others are left out.
///
/// # Safety
///
/// Inside a protected call; a table at the index.
unsafe fn globals_as_data(
    state: *mut lua_State,
    environment: c_int,
    limit: usize,
    deadline: &mut Deadline<'_>,
) -> Result<ScriptTable, ScriptError> {
    let mut globals = Entries::default();
    let mut reader = Reader::new(limit, None, deadline);
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        let mut next = ffi::lua_rawiter(state, environment, 0);
        while next >= 0 {
            let top = ffi::lua_gettop(state);
            let read = reader.entry(state, top, 0, &mut globals);
            ffi::lua_settop(state, top - 2);
            match read {
                Err(problem) if !matches!(problem.what, ProblemKind::NotData(_)) => {
                    return Err(problem.into_error("globals", limit, "kept"));
                }
                _ => {}
            }
            next = ffi::lua_rawiter(state, environment, next);
        }
    }
    Ok(globals.into_table())
}

/// What a protected call came to: its values lie from `first` to the top, or the error is on top.
///
/// # Safety
///
/// As `perform`.
unsafe fn returned(
    state: *mut lua_State,
    status: c_int,
    first: c_int,
    run: *mut Run<'_>,
) -> SessionEnded {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if status != ffi::LUA_OK {
            return session_failed(state, status, &mut *run);
        }
        let limit = (*run).max_value_size;
        ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
        let last = ffi::lua_gettop(state);
        let mut reader = Reader::new(limit, None, &mut (*run).deadline);
        let mut values = ScriptValues::default();
        for index in first..=last {
            match reader.value(state, index) {
                Ok(value) => values.push(value),
                Err(problem) => {
                    let place = match last - first {
                        0 => "result".to_owned(),
                        _ => format!("result {}", index - first + 1),
                    };
                    return failed_with(problem.into_error(&place, limit, RETURNED));
                }
            }
        }
        SessionEnded::Done(values)
    }
}

fn failed_with(error: ScriptError) -> SessionEnded {
    SessionEnded::Failed { error, script: None, line: None, frames: String::new() }
}

/// Reads the error that a protected call left.
///
/// A script may catch that memory ran out, and go on. So it is what the last error came of that counts: memory was
/// refused after whatever the script caught, or it raises again what it caught then, as it was or with something in
/// front.
///
/// # Safety
///
/// The error message of that call is on top.
unsafe fn session_failed(state: *mut lua_State, status: c_int, run: &mut Run<'_>) -> SessionEnded {
    let raised_again = run.own.out_of_memory && {
        // SAFETY: see above; all of the text is looked at, however long it is.
        let message = unsafe { text_bytes(state, -1) };
        message.is_some_and(|message| message.ends_with(OUT_OF_MEMORY.as_bytes()))
    };
    if status == ffi::LUA_ERRMEM || refusal::memory_was_refused() || raised_again {
        return SessionEnded::OutOfMemory;
    }
    let trace = run.own.trace.take().map(|trace| *trace);
    let trace = trace.unwrap_or_else(|| Trace {
        // SAFETY: see above; the handler left a string, or failed and Luau left one.
        message: unsafe { text_at(state, -1) }.unwrap_or_else(|| "no message".to_owned()),
        line: None,
        frames: String::new(),
    });
    let frames = || trace.frames.lines().filter_map(place_of_frame);
    let told = frames().find_map(|(script, _)| match split_place(&trace.message, script) {
        (Some(line), message) => Some((script, line, message)),
        _ => None,
    });
    let (script, line, message) = match told {
        Some((script, line, message)) => (Some(script), Some(line), message),
        None => {
            let first = frames().next();
            (first.map(|(script, _)| script), trace.line, trace.message.as_str())
        }
    };
    let error = match run.own.raised.take() {
        Some(error) if message == error.to_string() => *error,
        _ => ScriptError::Raised { message: message.to_owned() },
    };
    let script = script.map(str::to_owned);
    SessionEnded::Failed { error, script, line, frames: trace.frames }
}

/// Script and line of a frame as `call_stack` writes it: `scripts/x.luau:12 in f`.
fn place_of_frame(frame: &str) -> Option<(&str, u32)> {
    let place = |text: &'_ str| -> Option<(usize, u32)> {
        let (script, line) = text.rsplit_once(':')?;
        Some((script.len(), line.parse().ok()?))
    };
    let (end, line) =
        frame.rsplit_once(" in ").and_then(|(before, _)| place(before)).or_else(|| place(frame))?;
    Some((&frame[..end], line))
}

// -- globals and coroutines

/// A global that a script defines: `__newindex` of a session's environment. The built-ins are its
/// upvalue.
unsafe extern "C-unwind" fn global_newindex(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operands at 1, 2 and 3.
    unsafe {
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        note_shadowing(state);
        ffi::lua_settop(state, 3);
        ffi::lua_rawset(state, 1);
        0
    }
}

/// `rawset(table, key, value)`; the built-ins are its upvalue.
unsafe extern "C-unwind" fn rawset(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; `luaL_check…` raise as C functions may.
    unsafe {
        ffi::luaL_checktype(state, 1, ffi::LUA_TTABLE);
        ffi::luaL_checkany(state, 2);
        ffi::luaL_checkany(state, 3);
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        note_shadowing(state);
        ffi::lua_settop(state, 3);
        ffi::lua_rawset(state, 1);
        ffi::lua_settop(state, 1);
        1
    }
}

/// Built-ins are read once, when a chunk is loaded, as long as the environment is safe: it is no longer
/// when the key at 2 is going to shadow one of them.
///
/// # Safety
///
/// Inside a C function that Luau called, with a table at 1, the built-ins as first upvalue, and two
/// free slots.
unsafe fn note_shadowing(state: *mut lua_State) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_type(state, 2) != ffi::LUA_TSTRING {
            return;
        }
        ffi::lua_pushvalue(state, 2);
        ffi::lua_rawget(state, ffi::lua_upvalueindex(1));
        if ffi::lua_type(state, -1) != ffi::LUA_TNIL {
            ffi::lua_setsafeenv(state, 1, 0);
        }
        ffi::lua_pop(state, 1);
    }
}

/// `coroutine.create` and `coroutine.wrap`; Luau's own and the holder are the upvalues.
unsafe extern "C-unwind" fn record_coroutine(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; the upvalues are a function and the holder. What
    // `coroutine.wrap` gives is a C function with the coroutine as upvalue.
    unsafe {
        ffi::luaL_checkstack(state, 6, TOO_DEEP.as_ptr());
        builtins::call_original(state);
        let made = ffi::lua_gettop(state);
        if ffi::lua_type(state, made) == ffi::LUA_TTHREAD {
            ffi::lua_pushvalue(state, made);
        } else if ffi::lua_getupvalue(state, made, 1).is_null() {
            return 1;
        }
        let holder = ffi::lua_upvalueindex(2);
        let id = number_in(state, holder, EVER) + 1.0;
        ffi::lua_pushnumber(state, id);
        ffi::lua_rawseti(state, holder, EVER);
        ffi::lua_rawgeti(state, holder, ALIVE);
        ffi::lua_insert(state, -2);
        // A number as key: there may be more coroutines than Luau's whole numbers go to.
        ffi::lua_pushnumber(state, id);
        ffi::lua_insert(state, -2);
        ffi::lua_rawset(state, -3);
        ffi::lua_pop(state, 1);
        1
    }
}

/// Has the next coroutine of a session be numbered as if there had been so many.
#[cfg(test)]
pub(super) fn skip_coroutines(lua: &Lua, refs: &SessionRefs, ever: f64) -> mlua::Result<()> {
    // SAFETY: rule 1; the slot is the one that `set_up_session` filled.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.coroutines.into());
            ffi::lua_pushnumber(state, ever);
            ffi::lua_rawseti(state, -2, EVER);
            ffi::lua_pop(state, 1);
        })
    }
}

/// The coroutines of a session that are not over, the oldest first.
pub(super) fn coroutines(lua: &Lua, refs: &SessionRefs) -> mlua::Result<Vec<RawCoroutine>> {
    let mut found = Vec::new();
    let out = &mut found;
    // SAFETY: rule 1; the slot is the one that `set_up_session` filled, its table holds coroutines by
    // number.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            ffi::luaL_checkstack(state, 6, TOO_DEEP.as_ptr());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.coroutines.into());
            ffi::lua_rawgeti(state, -1, ALIVE);
            let alive = ffi::lua_gettop(state);
            let mut next = ffi::lua_rawiter(state, alive, 0);
            while next >= 0 {
                let id = ffi::lua_tonumber(state, -2) as u64;
                let coroutine = ffi::lua_tothread(state, -1);
                if !coroutine.is_null() && is_suspended(state, coroutine) {
                    out.push(describe_coroutine(coroutine, id));
                }
                ffi::lua_pop(state, 2);
                next = ffi::lua_rawiter(state, alive, next);
            }
            ffi::lua_settop(state, 0);
        })?;
    }
    found.sort_by_key(|coroutine| coroutine.id);
    Ok(found)
}

/// Pushes the holder of a session's coroutines, the table of those that there are, and the one of a number, or nil.
///
/// # Safety
///
/// Inside a protected call; five free slots; `set_up_session` filled the slots.
unsafe fn push_coroutine(state: *mut lua_State, refs: &SessionRefs, id: u64) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.coroutines.into());
        ffi::lua_rawgeti(state, -1, ALIVE);
        ffi::lua_pushnumber(state, id as f64);
        ffi::lua_rawget(state, -2);
    }
}

/// Ends a coroutine of a session where it stands. Gives whether there was one that was not over.
pub(super) fn destroy_coroutine(lua: &Lua, refs: &SessionRefs, id: u64) -> mlua::Result<bool> {
    let mut destroyed = false;
    let out = &mut destroyed;
    // SAFETY: rule 1; the slot is the one that `set_up_session` filled. No coroutine runs meanwhile,
    // so one that is suspended may be reset.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            ffi::luaL_checkstack(state, 6, TOO_DEEP.as_ptr());
            push_coroutine(state, refs, id);
            let coroutine = ffi::lua_tothread(state, -1);
            if !coroutine.is_null() && is_suspended(state, coroutine) {
                ffi::lua_resetthread(coroutine);
                ffi::lua_pushnumber(state, id as f64);
                ffi::lua_pushnil(state);
                ffi::lua_rawset(state, -4);
                *out = true;
            }
            ffi::lua_settop(state, 0);
        })?;
    }
    Ok(destroyed)
}

/// # Safety
///
/// Both states belong to one VM.
unsafe fn is_suspended(state: *mut lua_State, coroutine: *mut lua_State) -> bool {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { ffi::lua_costatus(state, coroutine) == ffi::LUA_COSUS }
}

/// # Safety
///
/// A suspended coroutine.
unsafe fn describe_coroutine(coroutine: *mut lua_State, id: u64) -> RawCoroutine {
    // SAFETY: as `call_stack`; one that has not started has its function alone on its stack.
    unsafe {
        for level in 0..MAX_FRAMES {
            match frame_at(coroutine, level) {
                Some((script, _, Some(line))) => {
                    return RawCoroutine { id, started: true, script, line: Some(line) };
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut record: ffi::lua_Debug = std::mem::zeroed();
        let level = -ffi::lua_gettop(coroutine);
        if level == 0 || ffi::lua_getinfo(coroutine, level, c"s".as_ptr(), &raw mut record) == 0 {
            return RawCoroutine { id, started: true, script: "[host]".to_owned(), line: None };
        }
        let script = CStr::from_ptr(record.short_src).to_string_lossy().into_owned();
        let line = u32::try_from(record.linedefined).ok().filter(|line| *line > 0);
        RawCoroutine { id, started: false, script, line }
    }
}

// -- value servers

/// # Safety
///
/// Inside a protected call; one free slot; `set_up_servers` was called.
unsafe fn push_server(state: *mut lua_State, number: u32, name: &str) {
    // SAFETY: the caller keeps what this function asks for; the memory holds the number and the name,
    // which are plain data without a destructor.
    unsafe {
        let size = size_of::<u32>() + name.len();
        let memory = ffi::lua_newuserdatataggedwithmetatable(state, size, SERVER_TAG).cast::<u8>();
        memory.cast::<u32>().write_unaligned(number);
        memory.add(size_of::<u32>()).copy_from_nonoverlapping(name.as_ptr(), name.len());
    }
}

/// The number and the name of the namespace at a stack index. The name lives while the value is on the
/// stack.
///
/// # Safety
///
/// A valid index.
unsafe fn server_at<'s>(
    state: *mut lua_State,
    index: c_int,
) -> Result<(u32, &'s str), ScriptError> {
    // SAFETY: the caller keeps what this function asks for; the tag is set by `push_server` alone, which
    // wrote a number and a text.
    unsafe {
        let memory = ffi::lua_touserdatatagged(state, index, SERVER_TAG).cast::<u8>();
        if memory.is_null() {
            return Err(ScriptError::Raised { message: "not a namespace".to_owned() });
        }
        let number = memory.cast::<u32>().read_unaligned();
        let length = ffi::lua_objlen(state, index) - size_of::<u32>();
        let name = std::slice::from_raw_parts(memory.add(size_of::<u32>()), length);
        Ok((number, std::str::from_utf8_unchecked(name)))
    }
}

/// The name of what lies below a namespace.
fn name_below(namespace: &str, field: Field<'_>) -> Result<String, ScriptError> {
    let shown = || namespace.replace(JOINT, ".");
    let name = match field {
        Field::Name(name) => format!("{namespace}{JOINT}{name}"),
        Field::Position(position) => format!("{namespace}{JOINT}{position}"),
    };
    if name.len() > MAX_NAME || matches!(field, Field::Name(name) if name.contains(JOINT)) {
        return Err(no_field(&shown(), "a name that is too long or holds a zero byte"));
    }
    Ok(name)
}

/// The parts of a name below its namespace.
fn path_of(name: &str) -> Vec<&str> {
    name.split(JOINT).skip(1).collect()
}

/// Ends a C function that read a live value; `name` is what was read, if more can lie below it.
///
/// # Safety
///
/// Inside a C function that Luau called.
unsafe fn answer_live(
    state: *mut lua_State,
    number: u32,
    name: &str,
    result: Result<Live, ScriptError>,
) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match result {
            Ok(Live::Value(value)) => answer(state, Ok(ReadResult::Value(value))),
            Ok(Live::Namespace) => {
                ffi::luaL_checkstack(state, 2, TOO_DEEP.as_ptr());
                push_server(state, number, name);
                1
            }
            Err(error) => raise(state, error),
        }
    }
}

/// `Namespace.name`
unsafe extern "C-unwind" fn server_index(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operands at 1 and 2.
    unsafe {
        let found = field_at(state, 2).and_then(|field| {
            let (number, namespace) = server_at(state, 1)?;
            Ok((number, name_below(namespace, field)?))
        });
        match found {
            Ok((number, name)) => {
                let result = read_server(&name, |host, path| host.live(number, path));
                answer_live(state, number, &name, result)
            }
            Err(error) => raise(state, error),
        }
    }
}

/// Asks the host about a name.
fn read_server<R>(
    name: &str,
    read: impl FnOnce(&mut dyn Host, &[&str]) -> Result<R, ScriptError>,
) -> Result<R, ScriptError> {
    with_host(&name.replace(JOINT, "."), |host, _| read(host, &path_of(name)))
}

/// `Namespace.name = value`
unsafe extern "C-unwind" fn server_newindex(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operands at 1, 2 and 3.
    unsafe {
        let name = field_at(state, 2).and_then(|field| {
            let (_, namespace) = server_at(state, 1)?;
            name_below(namespace, field)
        });
        let error = match name {
            Ok(name) => ScriptError::ReadOnly { name: name.replace(JOINT, ".") },
            Err(error) => error,
        };
        raise(state, error)
    }
}

/// `for name, value in Namespace`
unsafe extern "C-unwind" fn server_iter(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operand at 1.
    unsafe {
        let names = server_at(state, 1).and_then(|(number, name)| {
            read_server(name, |host, path| host.live_names(number, path))
        });
        let names = match names {
            Ok(names) => names,
            Err(error) => raise(state, error),
        };
        ffi::luaL_checkstack(state, 5, TOO_DEEP.as_ptr());
        ffi::lua_createtable(state, names.len() as c_int, 0);
        for (position, name) in (1..).zip(&names) {
            ffi::lua_pushlstring(state, name.as_ptr().cast(), name.len());
            ffi::lua_rawseti(state, -2, position);
        }
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushnumber(state, 0.0);
        ffi::lua_pushcclosurek(state, server_next, std::ptr::null(), 3, None);
        1
    }
}

/// The next name of a namespace and its value; the names, the namespace and the position are the
/// upvalues.
unsafe extern "C-unwind" fn server_next(state: *mut lua_State) -> c_int {
    // SAFETY: `server_iter` made the closure with three upvalues.
    unsafe {
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        let position = ffi::lua_tonumber(state, ffi::lua_upvalueindex(3)) + 1.0;
        ffi::lua_pushnumber(state, position);
        ffi::lua_replace(state, ffi::lua_upvalueindex(3));
        ffi::lua_rawgeti(state, ffi::lua_upvalueindex(1), position as ffi::lua_Integer);
        if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
            return 1;
        }
        ffi::lua_pushvalue(state, -1);
        ffi::lua_gettable(state, ffi::lua_upvalueindex(2));
        2
    }
}

unsafe extern "C-unwind" fn server_tostring(state: *mut lua_State) -> c_int {
    // SAFETY: a metamethod gets the operand at 1.
    unsafe {
        let text = server_at(state, 1).map(|(_, name)| name.replace(JOINT, "."));
        answer(state, text.map(|text| ReadResult::Value(ScriptValue::String(text))))
    }
}
