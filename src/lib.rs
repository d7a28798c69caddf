//! Entity scripts for Bevy, on a pool of Luau VMs that is wiped clean between any two runs.
//!
//! Scripts are assets, entities carry them, and every frame the plugin runs each entity's scripts on a
//! small pool of VMs. A thousand entities share a handful of VMs, and none can see another. Designers,
//! modders and strangers can script entities without being able to freeze, crash, corrupt or spy on the
//! game or on each other.
//!
//! # A first example
//!
//! ```
//! use bevy::prelude::*;
//! use bevy_lua_pool::prelude::*;
//!
//! #[derive(Component, Reflect, Default)]
//! struct Health { current: f32 }
//!
//! let mut app = App::new();
//! app.add_plugins((MinimalPlugins, AssetPlugin::default(), LuaPoolPlugin::default()))
//!     .expose_component::<Health>()
//!     .add_lua_function("game.log10", |x: f64| x.log10())
//!     .add_systems(Startup, |mut commands: Commands, mut scripts: ResMut<Assets<LuaScript>>| {
//!         // Usually: `assets.load("scripts/regrow.luau")`.
//!         let script = LuaScript::from_source("regrow", r#"
//!             function on_start(self)
//!                 self.frames = 0
//!             end
//!             function on_update(self, dt)
//!                 self.frames += 1
//!                 entity.Health.current += 10
//!             end
//!         "#).expect("it compiles");
//!         commands.spawn((Health { current: 50.0 }, LuaScripts::new(scripts.add(script))));
//!     });
//! # app.finish();
//! # app.update();
//! # app.update();
//! # let mut found = app.world_mut().query::<&Health>();
//! # assert_eq!(found.single(app.world()).expect("one entity").current, 70.0);
//! ```
//!
//! # What a script may rely on, and what it can't break
//!
//! A *run* is one callback of one script for one entity.
//!
//! 1. **Clean.** Every run starts from the same pristine state. Nothing a run does is visible to another
//!    one, except through its own `self`, the ECS, and messages.
//! 2. **Snapshot.** All runs of one stage see the world as it was when the stage began, plus what their
//!    own script wrote on their own entity's behalf since.
//! 3. **Atomic.** A run that errors, times out or runs out of memory changes nothing: no component, no
//!    command, no message, no field of `self`. Only its log lines stay.
//! 4. **Deterministic.** Effects are applied in a stable order: by entity, then by the script's place on
//!    it. The result is the same for one thread and for eight. (Two things are outside: limits of time,
//!    which depend on the machine, and the order in which `pairs` visits keys that are tables or
//!    functions. Weak tables would be a third: `setmetatable` refuses them.)
//! 5. **Bounded.** Each run has a time, a memory and an output budget, and each frame can have one. (A
//!    built-in that works for milliseconds and can't be interrupted doesn't begin if the run has not so
//!    much time left, which is an error that says so.)
//! 6. **Recoverable.** All that must survive lives in the ECS, in [`ScriptStates`]. A VM can be thrown
//!    away between two runs at any time, and nothing is lost.
//!
//! # What a script looks like
//!
//! ```lua
//! local SPEED = 2                       -- file level: constants and functions
//!
//! function on_start(self)
//!     self.angle = 0                    -- self: this entity's own state, kept in the ECS
//! end
//!
//! function on_update(self, dt)
//!     self.angle += SPEED * dt
//!     local t = entity.Transform
//!     t.translation = vector.create(math.cos(self.angle), math.sin(self.angle), 0) * 100
//! end
//! ```
//!
//! | callback | when |
//! | --- | --- |
//! | `on_start(self)` | once, before anything else |
//! | `on_reload(self)` | once after the file changed |
//! | `on_message(self, name, payload, sender)` | for each message; `sender` is nil if the game sent it |
//! | `on_fixed_update(self, dt)` | in the fixed schedule |
//! | `on_update(self, dt)` | every frame |
//! | `on_stop(self)` | the script was taken away, or its entity despawned |
//!
//! Those that are due in one schedule run in this order, and each sees what the earlier ones of the same
//! script wrote. Fixed steps come before the frame's update, as in all of Bevy; `on_stop` of scripts that
//! are gone comes before everybody else's callbacks. Every run finds the file level as if it had run just now, so
//! it should hold constants and functions; what has to last goes into `self`. `self` takes plain data: nil, booleans, numbers, strings,
//! vectors, entities, and tables of these.
//!
//! | in reach | |
//! | --- | --- |
//! | `entity.Health`, `entity.Health.current = 3` | a component of the own entity, by reflection |
//! | `entity.Burning = {time = 2}`, `entity.Burning = nil` | insert or replace; remove |
//! | `entity.id`, `entity.parent`, `entity.children` | entities |
//! | `world.get(id)`, `world.exists(id)` | another entity (or nil), used like `entity` |
//! | `world.spawn{Transform = {}, scripts = {"a.luau"}, parent = id}`, `world.despawn(id)` | |
//! | `send(id, "hit", {damage = 3})` | a message to the scripts of an entity, next frame |
//! | `emit("opened", {…})` | a [`ScriptEvent`] for the game |
//! | `time.delta`, `time.elapsed` | seconds |
//! | `log.info`, `log.warn`, `log.error`, `print` | to `tracing`, with script, line and entity |
//! | `quat.from_euler(x, y, z)`, `.from_axis_angle(axis, angle)`, `.mul(a, b)`, `.rotate(q, v)`, `.inverse(q)` | rotations |
//! | `math`, `string`, `table`, `coroutine`, `bit32`, `utf8`, `buffer`, `vector` | Luau's libraries |
//!
//! One script on one entity takes at most 1,024 messages in a frame, and no more once its runs have used four
//! times what one run may: time, messages, log lines, commands; the rest wait. What one run sends, and what it
//! assigns to components, may have 16 times `max_value_size` bytes. An entity that a script spawns has at most
//! 16 scripts, from the default asset source. All entities that descend from one because scripts spawned them
//! may spawn together, in one frame, what one run may (`max_commands`); and once their runs have lasted for
//! eight times `run_time_limit`, those that are left run in the next frame. So a script that makes more and
//! more of itself grows slowly, and costs its share.
//!
//! How Rust types look from Lua:
//!
//! | Rust | Lua |
//! | --- | --- |
//! | `bool`, numbers, `String`, `Name`, `char` | boolean, number (range-checked), string |
//! | `Duration` | number of seconds |
//! | `Vec2`, `Vec3`, `Vec3A`, `Dir3` | vector (a `Vec2` takes no z) |
//! | `Entity` | entity |
//! | `Color` | table `{red, green, blue, alpha}` in sRGB; takes `"#rrggbb"` too |
//! | struct (`Quat`, `Vec4` too) | fields by name |
//! | tuple, tuple struct | fields by position from 1 |
//! | list, array, set, map | table; a change to it is written back |
//! | `Option` | nil or the value |
//! | enum | the variant's name; a variant with fields is `{Name = fields}` |
//!
//! Scripts reach `Transform`, `Name`, `GlobalTransform` (for reading), `Visibility`, and what the app
//! [exposes](LuaAppExt::expose_component).
//!
//! # The game's side
//!
//! - [`LuaPoolPlugin`]'s fields are its configuration; [`PoolConfig`] can come from a RON file.
//! - [`SandboxConfig`], a part of it, says which libraries and modules scripts find, and gives single scripts
//!   or folders more or less time and memory than the others.
//! - [`LuaAppExt`] registers functions and components.
//! - [`ScriptSystems`] are the system sets; order your systems around them.
//! - [`ToScript`], [`ScriptEvent`] and [`ScriptFailed`] are messages; [`LuaControl`] asks for pause,
//!   reload, fresh VMs; [`LuaScripting::enabled`] and [`LuaScripts::enabled`] are switches.
//! - [`LuaSnapshot`] tells what the last frame did; the overlay (`LuaOverlayPlugin`) and
//!   [`LuaDiagnosticsPlugin`] show it.
//! - [`ScriptStates`] is what to save.
//! - [`pool`], [`vm`], [`engine`] and [`modules`] work without any [`App`](bevy::app::App):
//!   [`LuaEngine`] is a VM of your own, [`LuauPool`] runs strangers' sources, [`EngineSet`] has an engine for
//!   each user.
//! - `add_value_server` and `add_lua_module` of [`LuaAppExt`] give scripts live values and libraries.
//!
//! # Cargo features
//!
//! - `overlay` (default): the egui panel, drawn by Bevy's renderer. It compiles `bevy_render`, which an app that
//!   draws has anyway; a headless server leaves it out with `default-features = false`.
//! - `panel` (part of `overlay`): the panel without a renderer, for an app whose own `bevy_egui` draws it.
//! - `window` (off): winit, x11 and a 2D renderer, for the example `showcase` alone.
//!
//! # When something goes wrong
//!
//! - *A script does nothing.* Look into the log or the overlay: a script that doesn't compile is shown
//!   there with file and line, and one that failed too often in a row is put aside, and tried again
//!   ever more rarely.
//! - *A global is nil in the next run.* Runs share nothing; keep it in `self`.
//! - *`t.translation.x = 1` is an error.* A vector is a value; assign a whole one:
//!   `t.translation = vector.create(1, t.translation.y, 0)`.
//! - *A value can't be kept.* `self` takes plain data only; the error names the field.
//! - *Scripts are slower than in the benches.* Luau checks itself even in release builds unless the environment
//!   variable `LUAU_CXXFLAGS` is `-DNDEBUG` when it is built: see "Speed" in the README.
//! - *The build says that panics must unwind.* Luau raises errors by C++ exceptions that cross Rust frames,
//!   so `panic = "abort"` can't be supported; nor can 32-bit targets.
//!
//! # Layers
//!
//! Lower never imports higher: `value`, `error`, `sandbox` → `pool` → `vm` → `engine`, `modules` → `script`, `bindings` →
//! `run` → `plugin`;
//! `diagnostics` and `overlay` are leaves that read snapshots. `pool` knows neither Lua nor Bevy; only `vm`
//! speaks mlua, and only one file of it has `unsafe`.

pub mod bindings;
mod config_file;
mod control;
mod diagnostics;
pub mod engine;
mod error;
pub mod modules;
#[cfg(feature = "panel")]
pub mod overlay;
mod plugin;
pub mod pool;
mod run;
pub mod sandbox;
mod script;
mod snapshot;
mod value;
pub mod vm;

/// What most apps need.
pub mod prelude {
    pub use crate::bindings::{LuaAppExt, ScriptContext};
    pub use crate::control::LuaControl;
    #[cfg(feature = "panel")]
    pub use crate::overlay::LuaOverlayPlugin;
    pub use crate::plugin::LuaPoolPlugin;
    pub use crate::pool::PoolConfig;
    pub use crate::run::{
        LuaPool, LuaScripting, ScriptEvent, ScriptFailed, ScriptSystems, ToScript,
    };
    pub use crate::sandbox::SandboxConfig;
    pub use crate::script::{LuaScript, LuaScripts, ScriptStates};
    pub use crate::snapshot::LuaSnapshot;
    pub use crate::value::{ScriptTable, ScriptValue};
}

pub use self::bindings::{LuaAppExt, ScriptContext};
pub use self::config_file::{ConfigFileError, PoolConfigFile, PoolConfigLoader};
pub use self::control::LuaControl;
pub use self::diagnostics::LuaDiagnosticsPlugin;
pub use self::engine::{EngineBuilder, EngineError, EngineSet, LuaEngine, LuauPool};
pub use self::error::{Failure, ReachedLimit, ScriptError};
#[cfg(feature = "panel")]
pub use self::overlay::{LuaOverlay, LuaOverlayPlugin, PanelState, show_panel};
pub use self::plugin::LuaPoolPlugin;
pub use self::pool::{PoolConfig, PoolStats, Timing, VmInfo};
pub use self::run::{LuaPool, LuaScripting, ScriptEvent, ScriptFailed, ScriptSystems, ToScript};
pub use self::sandbox::SandboxConfig;
pub use self::script::{LuaScript, LuaScriptLoader, LuaScripts, ScriptState, ScriptStates};
pub use self::snapshot::{
    ERROR_ROWS, ErrorRow, FrameStats, HISTORY_FRAMES, INCIDENT_ROWS, IncidentRow, LuaSnapshot,
    Sample, ScriptRow,
};
pub use self::value::{
    FromScript, FromScriptArgs, IntoScript, IntoScriptArgs, Plain, PlainSeed, PlainValue,
    ScriptFields, ScriptKey, ScriptTable, ScriptValue, from_value, to_value,
};
pub use self::vm::Callback;
/// The text of a [`ScriptKey`].
pub use smol_str::SmolStr;
