//! [`run_batch`]: calls one callback again and again, in one protected call. This is the only way
//! in which callbacks run; a single run is a batch of one.
//!
//! The runs of a batch share the file level of an [`Image`]. A script that can't have one gets a
//! fresh file level, which runs first and serves a batch of one.
//!
//! Between two runs everything is reset that one could learn of the other: see the head of `run`.
//!
//! A panic in the [`CallBatch`] unwinds through the protected call: see `run::current`.

pub(super) mod base;
pub(super) mod fresh;
pub(super) mod state;

use std::ffi::{c_int, c_void};

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use super::batch::base::{BASE_END, CALL_BASE, CALLBACK_AT, CallBase};
use super::batch::fresh::{StrayGlobals, prepare};
use super::batch::state::{push_state, take_state};
use super::data::push::push_value;
use super::errors::outcome::RunStop;
use super::image::shapes::Shapes;
use super::image::{Image, MISSING, WRONG};
use super::memory::{blocks, ceiling};
use super::protected::{ProtectedJob, protected_job};
use super::refs::Refs;
use super::run::{Run, Touched};
use super::stack::TOO_DEEP;
use crate::vm::batch::{CallArgs, CallBatch};
use crate::vm::callback::Callback;
use crate::vm::deadline::RunDeadline;
use crate::vm::program::Program;
use crate::vm::state_change::StateChange;

/// Where the runs of a batch find what the file level of the script defined.
pub(in crate::vm) enum FileLevel<'l> {
    /// In an image, with the shapes of states that came to it.
    Shared(&'l Image, &'l mut Shapes),
    /// In an environment of its own, in which this main function runs first. The batch has one run.
    Fresh(&'l Function),
}

/// What all runs of a batch have in common.
pub(in crate::vm) struct BatchJob<'h> {
    pub(in crate::vm) callback: Callback,
    /// The batch pauses when the VM holds more bytes than this.
    pub(in crate::vm) most_memory: usize,
    /// And when its objects have more bytes than this. It is less than `usize::MAX` only while they
    /// are counted.
    pub(in crate::vm) most_objects: usize,
    /// The deadline of the first run; each later one has as much time.
    pub(in crate::vm) deadline: RunDeadline<'h>,
    pub(in crate::vm) max_value_size: usize,
}

/// A batch that is over.
pub(in crate::vm) struct EndedBatch<'h> {
    /// The last run.
    pub(in crate::vm) run: Run<'h>,
    /// How many runs began.
    pub(in crate::vm) began: u64,
    /// How the last run ended, if the batch ended with it. It has no result if the script does not
    /// define the callback.
    pub(in crate::vm) ended: Option<Result<Option<StateChange>, RunStop>>,
}

/// Runs one callback for one entity after another. It ends when the batch has no more runs, when
/// the VM holds too much, or with a run that failed or whose outcome must be judged.
pub(in crate::vm) fn run_batch<'h, 'w, H: ?Sized, B: CallBatch<'w, H>>(
    lua: &Lua,
    refs: &'h Refs,
    program: &Program,
    file_level: FileLevel<'_>,
    job: BatchJob<'h>,
    (host, batch): (&'h mut H, &mut B),
) -> EndedBatch<'h> {
    let BatchJob { callback, most_memory, most_objects, deadline, max_value_size } = job;
    let host = std::ptr::from_mut(host);
    // SAFETY: `host` was a reference that lives as long. From here on the batch and the run use it
    // in turn; the run gets a new reference each time.
    let mut run = Run::new(B::as_host(unsafe { &mut *host }), deadline, max_value_size, refs);
    let mut no_shapes = Shapes::default();
    let (image, shapes, main) = match file_level {
        FileLevel::Shared(image, shapes) => (Some(image), shapes, None),
        FileLevel::Fresh(main) => (None, &mut no_shapes, Some(main)),
    };
    let ended = match image.map(|image| image.callbacks[callback as usize]) {
        Some(MISSING) => Some(Ok(None)),
        // A run on a fresh file level reports what is wrong with it.
        Some(WRONG) => Some(Err(RunStop::TouchedImage(Touched::default()))),
        _ => None,
    };
    if ended.is_some() {
        return EndedBatch { run, began: 0, ended };
    }
    run.on_image = image.is_some();
    let run_ptr = std::ptr::from_mut(&mut run);
    let mut job = BatchCall {
        lua,
        refs,
        program,
        image,
        shapes,
        callback,
        most_memory,
        most_objects,
        host,
        batch: std::ptr::from_mut(batch),
        run: run_ptr.cast(),
        began: 0,
        ended: None,
    };
    let data = (&raw mut job).cast::<c_void>();
    let perform = perform_batch::<H, B>;
    // SAFETY: `job` is of the types that `perform_batch` expects, and lives; nothing else uses it
    // meanwhile, or the run.
    let raised =
        unsafe { protected_job(lua, refs, program, main, ProtectedJob { perform, data }, run_ptr) };
    let BatchCall { began, ended, .. } = job;
    let ended = match run.per_run.touched {
        Some(touched) => Some(Err(RunStop::TouchedImage(touched))),
        None => raised.map(Err).or(ended),
    };
    EndedBatch { run, began, ended }
}

/// What [`perform_batch`] gets.
struct BatchCall<'a, H: ?Sized, B> {
    lua: &'a Lua,
    refs: &'a Refs,
    program: &'a Program,
    /// `None` for a fresh file level.
    image: Option<&'a Image>,
    shapes: &'a mut Shapes,
    callback: Callback,
    /// The batch pauses when the VM holds more bytes than this.
    most_memory: usize,
    most_objects: usize,
    host: *mut H,
    batch: *mut B,
    run: *mut c_void,
    /// How many runs began.
    began: u64,
    /// How the current run ended, if the batch ends with it and it raised no error.
    ended: Option<Result<Option<StateChange>, RunStop>>,
}

/// Finds the callback, and calls it for each run.
///
/// # Safety
///
/// In a C function that Luau called with one argument, and for a fresh file level with the main
/// function as a second one; with a pointer to a [`BatchCall`] of these types.
unsafe fn perform_batch<'w, H: ?Sized, B: CallBatch<'w, H>>(
    state: *mut lua_State,
    data: *mut c_void,
) {
    // SAFETY: in a C function, with the room on the stack that is made here: the base, a shape, and
    // a state with an argument. The run is referenced between calls into Lua only.
    unsafe {
        let job = &mut *data.cast::<BatchCall<'_, H, B>>();
        ffi::luaL_checkstack(state, CALL_BASE + 24, TOO_DEEP.as_ptr());
        let (base, globals) = match job.image {
            Some(image) => {
                let base = CallBase::of_image(state, image, job.callback, job.refs.entity);
                (base, StrayGlobals::default())
            }
            None => {
                ffi::lua_remove(state, 1);
                match prepare(state, job.refs, (job.program, job.callback), job.run.cast()) {
                    Err(stop) => {
                        job.ended = Some(Err(stop));
                        return;
                    }
                    Ok(None) => {
                        job.ended = Some(Ok(None));
                        return;
                    }
                    Ok(Some(base)) => (base, StrayGlobals::begin(state, job.program, job.callback)),
                }
            }
        };
        run_all(state, base, job);
        globals.note(state, job.program, job.callback);
    }
}

/// For each run: push the state, call, read the state.
///
/// # Safety
///
/// In a C function that Luau called, with the base alone on the stack, and free slots up to 24
/// beyond [`CALL_BASE`].
#[inline(always)]
unsafe fn run_all<'w, H: ?Sized, B: CallBatch<'w, H>>(
    state: *mut lua_State,
    base: CallBase,
    job: &mut BatchCall<'_, H, B>,
) {
    const SELF: c_int = CALL_BASE + 1;
    // SAFETY: in a C function, with the room that this function asks for; more arguments get more.
    // The run is referenced between calls into Lua only, one statement at a time, and the host by
    // the run alone while Lua runs.
    unsafe {
        let run = job.run.cast::<Run<'_>>();
        ffi::lua_settop(state, CALL_BASE);
        let mut laid_out: Option<usize> = None;
        // The bytes in use when the VM was last asked what it holds, and the runs since.
        let mut seen = (0, UNSEEN_RUNS);
        while let Some(turn) = (*job.batch).next(&mut *job.host) {
            let before = turn.state;
            (*run).host = B::as_host(&mut *job.host);
            if job.began == 0 {
                (*run).begin_callback(turn.entity, turn.seed);
            } else {
                (*run).begin_again(turn.entity, turn.seed);
            }
            job.began += 1;
            let steps = (*run).per_run.steps;
            // Most states have the same shape.
            let shape = match laid_out {
                Some(known) if job.shapes.known[known].is_of(before) => laid_out,
                // A shape is worth its cost for many states only.
                _ if job.image.is_none() => None,
                _ => {
                    laid_out = job.shapes.of(state, before);
                    if let Some(known) = laid_out {
                        ffi::lua_settop(state, BASE_END);
                        job.shapes.known[known].lay_out(state, BASE_END);
                        ffi::lua_settop(state, CALL_BASE);
                    }
                    laid_out
                }
            };
            let shape = shape.map(|known| &job.shapes.known[known]);
            base.turn_to(state, turn.entity);
            push_state(state, shape, before);
            (*run).per_run.steps = steps;
            ffi::lua_pushvalue(state, CALLBACK_AT);
            ffi::lua_pushvalue(state, SELF);
            let count = match turn.args {
                CallArgs::Number(number) => {
                    ffi::lua_pushnumber(state, number);
                    1
                }
                CallArgs::Values(values) => {
                    let count = values.len() as c_int;
                    ffi::luaL_checkstack(state, count.saturating_add(8), TOO_DEEP.as_ptr());
                    values.iter().for_each(|value| push_value(state, value, 0));
                    count
                }
            };
            blocks::forget_blocks();
            ffi::lua_call(state, 1 + count, 0);
            let result = take_state(state, SELF, shape, before, &mut *run);
            ffi::lua_settop(state, CALL_BASE);

            let made_too_much = job.most_objects < usize::MAX && ceiling::is_ceiling_passed();
            let kept_to_limits =
                !(*run).deadline.end() && !(*run).is_to_be_judged() && !made_too_much;
            match result {
                Ok(change) if kept_to_limits => {
                    (*job.batch).finish(&mut *job.host, change, (*run).used());
                }
                result => {
                    job.ended = Some(result.map(Some).map_err(RunStop::from));
                    return;
                }
            }
            if !(*run).per_run.handed.is_empty() {
                ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, (*run).handed_ref.into());
                ffi::lua_cleartable(state, -1);
                ffi::lua_pop(state, 1);
            }
            // Asking what the VM holds takes longer than asking what is in use. The one can have
            // changed only if the other did, or if some runs have passed.
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

/// The VM is asked what it holds after a change of so many bytes, or after so many runs.
const UNSEEN: usize = 4096;

const UNSEEN_RUNS: usize = 16;
