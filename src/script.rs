//! Scripts as assets, and as components on entities.

mod aside;
mod asset;
mod components;
mod place;

pub use self::asset::{LuaScript, LuaScriptLoader};
pub use self::components::{LuaScripts, ScriptState, ScriptStates};

pub(crate) use self::aside::{Backoff, Judgement, RetryPolicy, Verdicts};
pub(crate) use self::place::StateLocation;
