//! x
pub mod bindings;
pub mod config_file;
pub mod control;
pub mod diagnostics;
pub mod error;
#[cfg(feature = "overlay")]
pub mod overlay;
pub mod plugin;
pub mod pool;
pub mod run;
pub mod script;
pub mod snapshot;
pub mod value;
pub mod vm;
pub use bindings::{Exposable, IntoLuaFunction, LuaAppExt, ScriptContext};
pub use error::{Failure, ScriptError};
pub use script::{LuaScript, LuaScriptLoader, LuaScripts, ScriptState, ScriptStates};
pub use value::*;
pub use control::*;
pub use diagnostics::LuaDiagnosticsPlugin;
#[cfg(feature = "overlay")]
pub use overlay::{LuaOverlay, LuaOverlayPlugin, PanelState, show_panel};
pub use plugin::LuaPoolPlugin;
pub use pool::{PoolConfig, PoolStats, Timing, VmInfo};
pub use run::{LuaPool, LuaScripting, ScriptEvent, ScriptFailed, ScriptSystems, ToScript};
pub use snapshot::{ErrorRow, FrameStats, LuaSnapshot, Sample, ScriptRow};
pub use vm::Callback;
pub mod prelude { pub use crate::{LuaAppExt, LuaScripts, LuaScript, ScriptContext, ScriptStates, LuaPoolPlugin, ScriptValue, ScriptTable, ToScript, ScriptEvent, ScriptFailed, ScriptSystems, LuaControl, PoolConfig, LuaScripting, LuaPool, LuaSnapshot}; }
