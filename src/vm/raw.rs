//! The raw Luau API: the only folder with `unsafe`.
//!
//! Two rules keep it sound.
//!
//! 1. Every call that may raise a Lua error (allocation included) happens inside
//!    [`mlua::Lua::exec_raw`] or inside a C function that Luau called, so a protected call is below.
//!    Luau raises by C++ exception, which unwinds Rust frames and runs their destructors, since
//!    every function on the way is `extern "C-unwind"`. No such call happens inside
//!    [`std::panic::catch_unwind`], which must not meet a foreign exception.
//! 2. The run is reached through a thread-local pointer, which `run::current::enter` sets and takes
//!    back. A VM runs on one thread at a time, and the run outlives the call. A C function makes a
//!    reference of the pointer only while nothing else can reach the run: see `run::current`.
//!
//! The words of the safety comments are explained in `stack`. What a file guarantees to the others
//! stands in its head.

#![expect(unsafe_code, reason = "the raw Luau API; see the two rules")]

mod batch;
mod builtins;
mod data;
mod errors;
mod file_level;
mod functions;
mod handles;
mod host;
mod image;
mod memory;
mod numerals;
mod prefetch;
mod protected;
mod refs;
mod run;
mod safepoint;
mod session;
mod set_up;
mod stack;
mod strings;
mod weak;

pub(super) use self::batch::{BatchJob, EndedBatch, FileLevel, run_batch};
pub(super) use self::builtins::bound_built_ins;
pub(super) use self::builtins::random::random_function;
pub(super) use self::builtins::tostring::tostring_function;
pub(super) use self::data::plain::plain;
pub(super) use self::errors::guards::install as guard;
pub(super) use self::errors::outcome::{FailedRun, RunStop};
pub(super) use self::handles::handed::forget_all;
pub(super) use self::host::functions::host_function;
pub(super) use self::host::log::log_function;
pub(super) use self::host::servers::{live_namespace, server, set_up_servers};
pub(super) use self::image::make::make_image;
pub(super) use self::image::shapes::Shapes;
pub(super) use self::image::{Image, drop_image};
pub(super) use self::memory::ceiling::Counting;
pub(super) use self::memory::collect::{collect, shorten_stack};
pub(super) use self::memory::exact::{Measuring, MeasuringLate};
pub(super) use self::memory::refusal::watch as watch_refusals;
pub(super) use self::memory::weigh::object_bytes;
pub(crate) use self::prefetch::prefetch;
pub(super) use self::refs::{Refs, SessionRefs};
pub(super) use self::run::current::outside_run;
pub(super) use self::run::{Run, Touched};
pub(super) use self::safepoint::Hook;
pub(super) use self::session::alone::run_alone;
#[cfg(test)]
pub(super) use self::session::coroutines::skip_coroutines;
pub(super) use self::session::coroutines::{
    RawCoroutine, coroutine_holder, coroutines, destroy_coroutine, recording_function,
};
pub(super) use self::session::environment::{rawset_function, reset_session, set_up_session};
pub(super) use self::session::{SessionTask, run_session};
pub(super) use self::set_up::set_up;
pub(super) use self::weak::forbid_weak_tables;
