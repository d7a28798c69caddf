//! One Luau VM: the one place that speaks mlua.
//!
//! A [`Vm`] runs callbacks of [`Program`]s. Each run has an environment of its own, over frozen libraries, and no
//! run sees another: each starts as if the file level of its script had just run.
//!
//! - If the file level can be shared, it runs once in a VM, and all that it made is frozen. That is the image, on
//!   which all runs of the script start.
//! - If it can't be shared, it is executed afresh for each run, and all that it made is garbage after the run. The
//!   bytecode tells, or what the file level made, or at the latest a run that touches what is frozen.
//!
//! Scripts reach the world through a [`Host`]; [`NoWorld`] is one without a world.
//!
//! What goes on in the VM itself is in `raw`, the only place with `unsafe`. The files below it
//! ([`Call`], [`Program`], `deadline`, [`Host`], …) are the data that it works with; those above it ([`Vm`],
//! `session`, `sandbox`, `factory`) are its safe face.

mod allowance;
mod api;
mod atom;
mod batch;
mod bytecode;
mod call;
mod callback;
mod compile;
mod configured;
mod cost;
mod deadline;
mod engage;
mod factory;
mod fast_flags;
mod fingerprint;
mod host;
mod instance;
mod libraries;
mod limit_verdict;
mod limits;
mod loaded_programs;
mod loaded_sources;
mod mutable;
mod native_function;
mod native_stack;
mod numerals;
mod outcome;
mod program;
mod program_stats;
mod random;
mod raw;
mod sandbox;
mod session;
mod state_change;
mod text;
mod value_server;
mod watchdog;
mod watched;

pub use self::api::{Api, NameError};
pub use self::atom::Atom;
pub use self::call::Call;
pub use self::callback::{Callback, CallbackSet};
pub use self::compile::MAX_SOURCE_SIZE;
pub use self::factory::{LuauFactory, LuauResetter};
pub use self::host::{
    Field, FieldId, FieldPath, FieldRef, Host, Live, LogLevel, LogLine, NoWorld, ReadResult,
    Scalar, ScalarRead,
};
pub use self::instance::Vm;
pub use self::limits::RunLimits;
pub use self::mutable::Mutable;
pub use self::native_function::{Caller, IntoNativeFunction, NativeFunction};
pub use self::outcome::Outcome;
pub use self::program::Program;
pub use self::program_stats::ProgramStats;
pub use self::random::RunRandom;
pub use self::value_server::{Served, SharedValues, ValueServer};

pub(crate) use self::api::ApiMark;
pub(crate) use self::batch::{BatchEnd, CallArgs, CallBatch, Turn};
pub(crate) use self::call::{Evaluation, Results, Used};
pub(crate) use self::configured::ConfiguredPool;
pub(crate) use self::cost::STEP_NANOS;
pub(crate) use self::deadline::{CallBounds, WallDeadline};
pub(crate) use self::engage::engage;
pub(crate) use self::outcome::{CallResult, Performed};
pub(crate) use self::raw::prefetch;
pub(crate) use self::session::{CoroutineState, LoadedChunk, Session, SessionLimits, Task};
pub(crate) use self::state_change::StateChange;
pub(crate) use self::value_server::NamedServer;
pub(crate) use self::watchdog::{Engaged, ticks};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("bevy_lua_pool needs a 64-bit target: entities are Luau light userdata");

#[cfg(panic = "abort")]
compile_error!(
    "bevy_lua_pool needs `panic = \"unwind\"`: Luau raises errors by C++ exceptions, which cross Rust \
     frames, and a panicking host function must fail one run, not the game"
);
