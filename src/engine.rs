//! Lua without a Bevy `App`: [`LuaEngine`], a VM of your own, and [`LuauPool`], a pool of VMs for stateless runs.
//!
//! Entity scripts share pooled VMs, and every run starts clean. A [`LuaEngine`] is the opposite: globals, functions and
//! tables persist until it is reset. Use it for a console, a level editor, interactive fiction, or the session of a
//! user on a server.
//!
//! ```
//! use bevy_lua_pool::{LuaEngine, ScriptValue};
//!
//! let mut engine = LuaEngine::new()?;
//! engine.run("function area(w, h) return w * h end; count = 0")?;
//! assert_eq!(engine.call("area", (3, 4))?, 12.0.into());
//! engine.run("count += 1")?;
//! assert_eq!(engine.evaluate("count")?, 1.0.into());
//!
//! engine.reset()?;
//! assert_eq!(engine.evaluate("count")?, ScriptValue::Nil);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it can't do
//!
//! An engine is sandboxed and bounded as pooled VMs are: no files, no network, no bytecode; limits on memory, on the
//! time of a call, and on output. Time is CPU time and includes compilation (see
//! [limits of time](crate#limits-of-time)); [`EngineBuilder::call_timeout`] limits the wall-clock time of a call, and
//! [`LuaEngine::interrupter`] ends one from another thread. Beyond Luau's libraries, scripts can reach only what you
//! register: functions, [value servers](crate::vm::ValueServer), [modules](crate::modules).
//!
//! Unlike the run of an entity, a call is not atomic: what it changed before it failed or timed out stays changed.
//! When memory runs out, garbage is collected and the engine remains usable; if its globals hold too much, every error
//! says so, and [`LuaEngine::reset`] frees them.
//!
//! # Many engines
//!
//! Engines are `Send`: use each on any thread, one at a time. [`EngineSet`] keeps one for each user within one limit of
//! memory. [`LuauPool`] is for runs that need no state: each leases a clean VM.

mod answers;
mod builder;
mod cache;
mod core;
mod host;
mod interrupter;
mod lua_engine;
mod luau_pool;
mod output;
mod set;
mod stats;

pub use self::builder::{EngineBuilder, EngineError};
pub use self::interrupter::Interrupter;
pub use self::lua_engine::LuaEngine;
pub use self::luau_pool::LuauPool;
pub use self::luau_pool::builder::LuauPoolBuilder;
pub use self::luau_pool::error::ExecuteError;
pub use self::luau_pool::execution::{Executed, Execution};
pub use self::output::OutputLine;
pub use self::set::EngineSet;
pub use self::set::config::{EngineSetConfig, EngineSetError, EngineSetStats, Evicted};
pub use self::stats::{CoroutineInfo, CoroutineStatus, EngineStats, Resumed};
