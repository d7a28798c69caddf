//! [`run_on_image`]: one run on an image.

use std::ffi::{c_int, c_void};

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

use crate::error::ScriptError;
use crate::vm::call::Call;
use crate::vm::program::Program;
use crate::vm::raw::data::push::push_value;
use crate::vm::raw::errors::outcome::RunEnd;
use crate::vm::raw::image::shapes::Shapes;
use crate::vm::raw::image::stack::{BASE_END, CALL_BASE, CALLBACK_AT, ImageStack};
use crate::vm::raw::image::state::{push_state, take_state};
use crate::vm::raw::image::{Image, MISSING, WRONG};
use crate::vm::raw::protected::{ProtectedJob, protected_job};
use crate::vm::raw::refs::Refs;
use crate::vm::raw::run::{Run, Touched};
use crate::vm::raw::stack::TOO_DEEP;
use crate::vm::state_change::StateChange;

/// What [`perform_on_image`] gets.
struct ImageCall<'a> {
    pub(in crate::vm::raw) image: &'a Image,
    pub(in crate::vm::raw) shapes: &'a mut Shapes,
    pub(in crate::vm::raw) call: Call<'a>,
    pub(in crate::vm::raw) entity_name: c_int,
    pub(in crate::vm::raw) run: *mut c_void,
    pub(in crate::vm::raw) out: Option<Result<StateChange, ScriptError>>,
}

/// Runs one callback on an image.
pub(in crate::vm) fn run_on_image(
    lua: &Lua,
    refs: &Refs,
    program: &Program,
    (image, shapes): (&Image, &mut Shapes),
    call: Call<'_>,
    run: &mut Run<'_>,
) -> RunEnd {
    match image.callbacks[call.callback as usize] {
        MISSING => return RunEnd::Missing,
        // A run on a file level of its own reports what is wrong with it.
        WRONG => return RunEnd::TouchedImage(Touched::default()),
        _ => {}
    }
    run.on_image = true;
    run.start_with(call.seed);
    let run_ptr = std::ptr::from_mut(run);
    let entity_name = refs.entity;
    let mut job = ImageCall { image, shapes, call, entity_name, run: run_ptr.cast(), out: None };
    let data = (&raw mut job).cast::<c_void>();
    // SAFETY: `job` is an `ImageCall`, and lives; nothing else uses it meanwhile. The run is used
    // between calls into Lua only.
    let ended = unsafe {
        protected_job(lua, refs, program, ProtectedJob { perform: perform_on_image, data }, run_ptr)
    };
    if let Some(touched) = run.per_run.touched {
        return RunEnd::TouchedImage(touched);
    }
    ended.unwrap_or_else(|| match job.out {
        Some(Ok(change)) => RunEnd::Done(change),
        Some(Err(error)) => RunEnd::failed(error),
        None => unreachable!("a run that raised no error has a result"),
    })
}

/// Pushes the state, calls, reads the state.
///
/// # Safety
///
/// In a C function that Luau called, with a pointer to an [`ImageCall`].
unsafe fn perform_on_image(state: *mut lua_State, data: *mut c_void) {
    // SAFETY: in a C function, with the room on the stack that is made here: the base, a shape, and
    // a state with its arguments. The run is referenced between calls into Lua only, one statement
    // at a time.
    unsafe {
        let job = &mut *data.cast::<ImageCall<'_>>();
        let run = job.run.cast::<Run<'_>>();
        let Call { callback, state: before, args, .. } = job.call;
        ffi::luaL_checkstack(state, CALL_BASE + 24 + args.len() as c_int, TOO_DEEP.as_ptr());
        let base = ImageStack::set_up(state, job.image, callback, job.entity_name);
        let steps = (*run).per_run.steps;
        let shape = job.shapes.of(state, before).map(|known| &job.shapes.known[known]);
        if let Some(shape) = shape {
            shape.lay_out(state, BASE_END);
        }
        ffi::lua_settop(state, CALL_BASE);
        base.turn_to(state, (*run).per_run.entity);
        push_state(state, shape, before);
        (*run).per_run.steps = steps;
        ffi::lua_pushvalue(state, CALLBACK_AT);
        ffi::lua_pushvalue(state, CALL_BASE + 1);
        for arg in args {
            push_value(state, arg, 0);
        }
        ffi::lua_call(state, args.len() as c_int + 1, 0);
        job.out = Some(take_state(state, CALL_BASE + 1, shape, before, &mut *run));
    }
}
