//! [`run_batch`]: many runs on an image, in one protected call.
//!
//! Between two runs everything is reset that one could learn of the other: see the head of `run`.
//!
//! A panic in the [`CallBatch`] unwinds through the protected call: see `run::current`.

use std::ffi::{c_int, c_void};

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

use crate::error::ScriptError;
use crate::vm::batch::CallBatch;
use crate::vm::callback::Callback;
use crate::vm::deadline::RunDeadline;
use crate::vm::host::Host;
use crate::vm::program::Program;
use crate::vm::raw::errors::outcome::RunEnd;
use crate::vm::raw::image::Image;
use crate::vm::raw::image::shapes::Shapes;
use crate::vm::raw::image::stack::{BASE_END, CALL_BASE, CALLBACK_AT, ImageStack};
use crate::vm::raw::image::state::{push_state, take_state};
use crate::vm::raw::memory::ceiling;
use crate::vm::raw::protected::{ProtectedJob, protected_job};
use crate::vm::raw::refs::Refs;
use crate::vm::raw::run::Run;
use crate::vm::raw::stack::TOO_DEEP;
use crate::vm::state_change::StateChange;

/// What all runs of a batch have in common.
pub(in crate::vm) struct BatchJob<'h> {
    pub(in crate::vm) callback: Callback,
    /// The batch pauses when the VM holds more bytes than this.
    pub(in crate::vm) most_memory: usize,
    /// And when its objects have more bytes than this. It is less than `usize::MAX` only while they
    /// are counted.
    pub(in crate::vm) most_objects: usize,
    /// The deadline of the first run; each run has as much time.
    pub(in crate::vm) deadline: RunDeadline<'h>,
    pub(in crate::vm) max_value_size: usize,
}

/// How a batch ended: the last run, how many began, and how the last one ended if the batch ended
/// with it.
pub(in crate::vm) struct BatchRun<'h> {
    pub(in crate::vm) run: Run<'h>,
    pub(in crate::vm) began: u64,
    pub(in crate::vm) ended: Option<RunEnd>,
}

/// Runs one callback for one entity after another on an image that has the callback. It ends when
/// the batch has no more runs, when the VM holds too much, or with a run that failed or whose
/// outcome must be judged.
pub(in crate::vm) fn run_batch<'h, 'w, H: Host, R: CallBatch<'w, H>>(
    lua: &Lua,
    refs: &'h Refs,
    program: &Program,
    (image, shapes): (&Image, &mut Shapes),
    job: BatchJob<'h>,
    (host, row): (&'h mut H, &mut R),
) -> BatchRun<'h> {
    let BatchJob { callback, most_memory, most_objects, deadline, max_value_size } = job;
    let host = std::ptr::from_mut(host);
    // SAFETY: `host` was a reference that lives as long. From here on the batch and the run use it
    // in turn; the run gets a new reference each time.
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
    // SAFETY: `job` is of the types that `perform_batch` expects, and lives; nothing else uses it
    // meanwhile, or the run.
    let ended =
        unsafe { protected_job(lua, refs, program, ProtectedJob { perform, data }, run_ptr) };
    let BatchCall { began, out, .. } = job;
    let ended = match (ended, out) {
        _ if run.per_run.touched.is_some() => run.per_run.touched.map(RunEnd::TouchedImage),
        (Some(ended), _) => Some(ended),
        (None, Some(Ok(change))) => Some(RunEnd::Done(change)),
        (None, Some(Err(error))) => Some(RunEnd::failed(error)),
        (None, None) => None,
    };
    BatchRun { run, began, ended }
}

/// What [`perform_batch`] gets.
struct BatchCall<'a, H, R> {
    pub(in crate::vm::raw) lua: &'a Lua,
    pub(in crate::vm::raw) image: &'a Image,
    pub(in crate::vm::raw) shapes: &'a mut Shapes,
    pub(in crate::vm::raw) callback: Callback,
    pub(in crate::vm::raw) entity_name: c_int,
    /// The batch pauses when the VM holds more bytes than this.
    most_memory: usize,
    most_objects: usize,
    pub(in crate::vm::raw) host: *mut H,
    row: *mut R,
    pub(in crate::vm::raw) run: *mut c_void,
    /// How many runs began.
    began: u64,
    /// The result of the current run, if the batch ends with it.
    out: Option<Result<StateChange, ScriptError>>,
}

/// For each run: push the state, call, read the state.
///
/// # Safety
///
/// In a C function that Luau called, with a pointer to a [`BatchCall`] of these types.
unsafe fn perform_batch<'w, H: Host, R: CallBatch<'w, H>>(
    state: *mut lua_State,
    data: *mut c_void,
) {
    const SELF: c_int = CALL_BASE + 1;
    // SAFETY: in a C function, with the room on the stack that is made here: the base, a shape, and
    // a state with its arguments. The run is referenced between calls into Lua only, one statement
    // at a time, and the host by the run alone while Lua runs.
    unsafe {
        let job = &mut *data.cast::<BatchCall<'_, H, R>>();
        let run = job.run.cast::<Run<'_>>();
        ffi::luaL_checkstack(state, CALL_BASE + 24, TOO_DEEP.as_ptr());
        let base = ImageStack::set_up(state, job.image, job.callback, job.entity_name);
        ffi::lua_settop(state, CALL_BASE);
        let mut laid_out: Option<usize> = None;
        // The bytes in use when the VM was last asked what it holds, and the runs since.
        let mut seen = (0, UNSEEN_RUNS);
        while let Some(turn) = (*job.row).turn(&mut *job.host) {
            let before = turn.state;
            job.began += 1;
            (*run).host = &mut *job.host;
            (*run).begin_again(turn.entity, turn.seed);
            let steps = (*run).per_run.steps;
            // Most states have the same shape.
            let shape = match laid_out {
                Some(known) if job.shapes.known[known].is_of(before) => laid_out,
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
            ffi::lua_pushnumber(state, turn.argument);
            ffi::lua_call(state, 2, 0);
            let result = take_state(state, SELF, shape, before, &mut *run);
            ffi::lua_settop(state, CALL_BASE);

            let made_too_much = job.most_objects < usize::MAX && ceiling::is_ceiling_passed();
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
