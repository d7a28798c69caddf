//! Scripts as assets, and as components on entities.

mod asset;
mod backoff;
mod components;
mod state_location;

pub use self::asset::{LuaScript, LuaScriptLoader};
pub use self::components::{LuaScripts, ScriptState, ScriptStates};

pub(crate) use self::backoff::{Backoff, Judgement, RetryPolicy, Verdicts};
pub(crate) use self::state_location::StateLocation;
