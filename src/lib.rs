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
//! app.add_plugins((MinimalPlugins, AssetPlugin::default(), LuaPoolPlugins))
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
//!    it. The result is the same for one thread and for eight, however busy the machine is, and however long
//!    loading took. (What is outside is told [below](#what-is-not-the-same-everywhere).)
//! 5. **Bounded.** Each run has a time, a memory and an output budget, and each frame can have one. (A
//!    built-in that works for milliseconds and can't be interrupted doesn't begin if the run has not so
//!    much time left, which ends the run; see [limits of time](#limits-of-time).)
//! 6. **Recoverable.** All that must survive lives in the ECS, in [`ScriptStates`]. A VM can be thrown
//!    away between two runs at any time, and nothing is lost.
//!
//! ## What is not the same everywhere
//!
//! - *Limits of time* depend on the machine. Limits of memory don't: a run fails if what it holds is more than it
//!   may hold, whatever garbage there is, whoever ran before, and on whichever VM. (A run that allocates no more
//!   than half of its limit, a quarter of `memory_limit` and two fifths of what the largest program leaves of that,
//!   garbage included, costs no more for it. One that allocates more is taken back and runs again on a VM of its
//!   own, where what it holds can be measured, with a file level of its own and twice its time.
//!   [`ProgramStats::measured`](vm::ProgramStats::measured) counts those.) What a host function did by its
//!   [`ScriptContext`] is taken back with the run; what it did to anything else is done once more when the run is, so
//!   leave that to [`ScriptContext::queue`]. A [`LuauPool`] doesn't call a function again: such a run hears what it was
//!   told before.
//! - *The order in which a table is visited* (by `pairs`, `next` and `for … in`) depends on its
//!   keys and on how it was filled, and is the same everywhere, if all its keys are strings, numbers, booleans,
//!   vectors and entities. A key that is a table, a function, a coroutine, a buffer or a handle such as
//!   `entity.Transform` lies where its address says, and with it the other keys of that table may lie elsewhere.
//!   Keep such things in a list, and in a table only to look them up. What leaves a script is sorted by us: its
//!   `self`, messages, values for the game, texts in JSON and TOML.
//! - *What waits for the next frame*, if [`frame_budget`](LuaPoolConfig::frame_budget) asks for that, because the
//!   app itself has leased the VMs, or with [`Overflow::Defer`](pool::Overflow::Defer), which waits for no VM to be
//!   made.
//! - *The frame in which a script starts* that has to be loaded first.
//! - Weak tables would be another thing: there are none, and `__mode` is a field like any other. What a run made is
//!   gone after it anyway.
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
//! are gone comes before everybody else's callbacks. A script that despawned its own entity is done: of what is due,
//! nothing but `on_stop` follows. Every run finds the file level as if it had run just now, so
//! it should hold constants and functions; what has to last goes into `self`. `self` takes plain data: nil, booleans, numbers, strings,
//! vectors, entities, and tables of these.
//!
//! Such a file level runs once in a VM, and serves every run. One that a run could change (a function assigns a
//! variable that lives on when it returns, a callback changes a table, a buffer or a coroutine is kept) runs anew
//! for every run, to the same effect, but that takes longer: the panel, and [`ScriptRow::afresh`], say which
//! line is the reason. It has no entity and no world. What it prints comes into the log once for each load of the
//! file, however many VMs and runs it serves: at most 32 lines.
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
//! # Intended differences from plain Luau
//!
//! All else that Luau's libraries do, with whatever arguments, they do here, and fail with the same messages:
//! `tests/plain_luau.rs` compares the two.
//!
//! | what | here |
//! | --- | --- |
//! | `collectgarbage`, `gcinfo`, `getfenv`, `setfenv`, `loadstring`, `require`, `newproxy`, `os`, `integer`, `debug.info`, `math.randomseed`, `table.foreach`, `table.foreachi`, `table.getn`, `table.maxn` | are not there |
//! | `rawget(_G, name)` of a library or of what the host offers | `nil`: they are found through a metatable, as `_G[name]` |
//! | libraries, what the host offers, `getmetatable('')` | read-only; metatables of strings, vectors and `_G` can't be had: `getmetatable` gives `false` |
//! | `tostring`, `print`, `%*`, `{x}` of a table, function, coroutine, buffer | `table`, without an address |
//! | `print` | writes to the log or an engine's output, no more than 2,000 bytes a line |
//! | `math.random` | draws from the run's own numbers, which depend on the seed; takes whole numbers beyond 32 bits |
//! | `__mode` in a metatable | a field like any other, but in a [`LuaEngine`]: no table is weak |
//! | a built-in that would take longer than the run may | an error that says so, before it begins: also where plain Luau would say that a size is out of range |
//! | a text with more than 49,152 digits (after `0x`, hexadecimal ones) or spaces in a row | can't be made: an error, since arithmetic would take long to read it as a number |
//! | running out of time or memory | ends the run, also within `pcall`, `xpcall` and coroutines |
//! | a source with a NUL byte, or of more than 256 KiB | doesn't compile |
//!
//! What that costs: Luau's own benchmarks take some hundredths more time than in plain Luau, a seventh more at worst.
//! Most of it is calls of built-ins, where it is counted first what their arguments can make them cost. A call that the compiler can't see
//! through (`local xor = t.xor`) has no short cut, and takes a third more where the built-in does next to nothing.
//! `xpcall` takes half as much again, since the error is looked at before the handler gets it; `table.move` of a few
//! elements a third more, `math.random` and `table.unpack` two thirds, since their own work is less than a look at
//! their arguments; a text put together with `{x}` a fifth, since no address is shown. `cargo bench --bench wrappers` and
//! `cargo bench --bench luau` measure it.
//!
//! # How much, and when
//!
//! One script on one entity takes at most 1,024 messages in a frame, and no more once its runs have used four
//! times what one run may: work, messages, log lines, commands; the rest wait. What one run sends, and what it
//! assigns to components, may have 16 times `max_value_size` bytes. Of messages between scripts 2,048 of one
//! entity to another may wait, 16,384 to one entity, and 32 MiB in all, of which 16 MiB by one script: what is over
//! is refused, and told as an error of the sender. A spawn is one command (`max_commands`), whatever the new entity
//! comes with. An entity that a script spawns has at most 16 scripts, from the default asset source, by paths that
//! don't leave it; detours are left out, so that a script has one name. In 3,600 frames, one script may ask for 256
//! others that are not loaded yet, whether they are found or not; those that the game has loaded don't count.
//! Scripts nest entities at most 256 levels deep, by `world.spawn` or by `ChildOf`, if the app exposes that. Of the
//! entities that scripts spawned 16,384 live at most that descend from one, and 131,072 in all.
//!
//! All entities that descend from one because scripts spawned them may spawn together, in one stage (the frame's
//! update, or one fixed step), what one run may: `max_commands`, or `max_spawned_together` of the
//! [`ScriptLimits`](sandbox::ScriptLimits) of the script that spawns. The first of them that spawns may do so in
//! any case, with all its runs. They may work together as much as eight runs that use all of `run_time_limit`, or
//! 32 if each does little, and hand over (send, and assign to components) 16 times the bytes that one run may. All
//! `on_stop`s of a stage share as if they descended from one entity. All runs of a stage together may hand over 256
//! MiB. Those who are left over wait for the next frame and go first then; what came of their runs is dropped as if
//! they had not been. So a script that makes more and more of itself grows slowly, and costs its share. Work is
//! counted in steps of the script (calls, returns, rounds of loops, and what built-ins are worth that take long),
//! 100,000 to the millisecond: so it doesn't depend on the machine who waits.
//!
//! A run that draws random numbers makes the next one draw others. They depend on the seed, the entity, the script
//! and on how often it drew before, which is saved with its state: not on how long loading took.
//!
//! A script file that was loaded once stays loaded: the last 1,024 do, and those that entities carry. So an entity
//! that a script spawns with it starts in the next stage, whoever holds its handle; with a script that was not
//! loaded yet it starts when that is loaded, some frames later, and how many depends on the disk. Load what must
//! not be late beforehand.
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
//! Numbers that are not finite (`0/0`, `math.huge`) may be in `self`, in messages and in arguments of functions.
//! To write one to a component is an error that names the field, unless
//! [`allow_non_finite`](sandbox::ScriptLimits::allow_non_finite) lets the script do it: nearly always it comes from a
//! division by zero, and an entity whose `Transform` has one vanishes with all its children, or makes physics panic,
//! far from where it was made.
//!
//! # Limits of time
//!
//! - **What is limited** is CPU time: what the run's thread worked for it. Time in which the system ran something
//!   else, or in which a host function waited or slept, is not charged: a busy machine must not fail good scripts.
//!   This holds for [`run_time_limit`](LuaPoolConfig::run_time_limit), in frames and in [`LuauPool`], and for the
//!   `time_limit` of a [`LuaEngine`]. By default it is 2 ms in a [`LuaPoolConfig`], and 1 s in
//!   an engine and in a [`LuauPool`] that is given none.
//! - **What counts**: the callback and the file level before it, all built-ins, host functions while they work, and
//!   what goes in and out as a value, also for [`LuaEngine::state`] and its like. Where the caller's thread compiles
//!   a source (an engine's and a [`LuauPool`]'s), that counts as well; `max_source_size` bounds it, since it can't be
//!   interrupted. A source that takes longer to compile than the limit fails without having run, and may run when it
//!   is called again, since it is kept compiled. Assets are compiled outside the frame.
//! - **When it ends**: at the next safepoint, at most some milliseconds later. A built-in has none: one that takes
//!   long doesn't begin where there is no time for it, by what its arguments can make it cost. If the limit itself
//!   is too short for it, that is an error; if only the rest of it is, the run is over. One that repeats
//!   what can't be interrupted (a pattern on a long text) may be late by an eighth of the limit. A host function
//!   isn't interrupted; the run is judged when it returns.
//! - **What comes after** is charged to no run, as it depends on what others left; frames notice it by
//!   [`frame_budget`](LuaPoolConfig::frame_budget). When enough garbage has gathered, it is all collected between two
//!   runs, on the same thread. That takes no longer than it took to make it, and besides some tenths of a millisecond
//!   for each MiB that the VM holds of programs; where each run makes some MiB, after each run. For a run that is
//!   measured on a VM of its own, that VM is made first and goes after it.
//! - **By the clock on the wall** an engine and a [`LuauPool`] can bound their calls besides, the waiting for a VM
//!   and its making included: `call_timeout`, and [`LuauPool::execute_within`]. An [`Interrupter`](engine::Interrupter) ends calls
//!   that are under way from another thread, [`acquire_unless`](pool::VmPool::acquire_unless) the waiting for a
//!   lease. Frames have [`frame_budget`](LuaPoolConfig::frame_budget), which is by the clock on the wall.
//!
//! # The game's side
//!
//! - [`LuaPoolPlugin`]'s fields are its configuration; its [`LuaPoolConfig`] can come from a RON file. One that is not
//!   valid is never replaced by a looser one: the app doesn't start, or no script runs until the file is mended,
//!   unless [`config_file_required`](LuaPoolPlugin::config_file_required) is `false`: then the plugin's own holds.
//! - [`SandboxConfig`], a part of it, says which libraries and modules scripts find, and gives single scripts
//!   or folders more or less time and memory than the others.
//! - [`LuaAppExt`] registers functions and components.
//! - [`ScriptSystems`] are the system sets; order your systems around them.
//! - [`ToScript`], [`ScriptEvent`] and [`ScriptFailed`] are messages; [`LuaControl`] asks for pause,
//!   reload, fresh VMs; [`LuaScripting::enabled`] and [`LuaScripts::enabled`] are switches.
//! - [`LuaSnapshot`] tells what the last frame did; the overlay (`LuaOverlayPlugin`) shows it, and
//!   `LuaDiagnosticsPlugin` hands its main figures to Bevy's diagnostics. [`LuaPoolPlugins`] adds both.
//! - [`ScriptStates`] is what to save, in RON, JSON, postcard, bincode or as a part of a scene. A loaded state is found
//!   by its script's name: the asset path, or what [`LuaScript::from_source`] was given.
//! - [`pool`], [`vm`], [`engine`] and [`modules`] work without any [`App`](bevy::app::App):
//!   [`LuaEngine`] is a VM of your own, [`LuauPool`] runs strangers' sources, [`EngineSet`] has an engine for
//!   each user. Values go in by `into()` from numbers, texts, lists, maps and options, and come out by
//!   [`as_f64`](ScriptValue::as_f64) and its like, by path ([`ScriptValue::get`]), or as any type that serde knows;
//!   functions take [`Variadic`] arguments and give several results. The examples `engine` and `pool_only` show them.
//! - `add_value_server` and `add_lua_module` of [`LuaAppExt`] give scripts live values and libraries.
//!
//! # Cargo features
//!
//! - `overlay` (default): the egui panel, drawn by Bevy's renderer. It compiles `bevy_render`, which an app that
//!   draws has anyway; a headless server leaves it out with `default-features = false`.
//! - `diagnostics` (default): `LuaDiagnosticsPlugin`.
//! - `data-formats` (default): the modules `json`, `yaml` and `toml`.
//! - `linalg` (default): the module `linalg`.
//! - `panel` (part of `overlay`): the panel without a renderer, for an app whose own `bevy_egui` draws it.
//! - `headless` (off): `panel`, `diagnostics`, `data-formats`, `linalg` and `testing`: all that needs no renderer.
//! - `testing` (off): the module `testing`, a headless app for tests of scripts and host functions.
//! - `window` (off): winit, x11 and a 2D renderer, for the example `showcase` alone.
//!
//! # When something goes wrong
//!
//! - *A script does nothing.* Look into the log or the overlay: a script that doesn't compile is shown
//!   there with file and line, and one of which a callback failed too often in a row is put aside, and tried
//!   again ever more rarely. If it is `on_message` that fails, only messages are kept from it.
//! - *An error is not in the log.* Of errors about scripts there are 64 at once, and then one in 8 frames; a line
//!   tells how many are left out. (Bevy's own line about a file that can't be loaded isn't among them.)
//!   [`LuaSnapshot::errors`] has the latest, with counts.
//! - *No script runs.* [`LuaPool::stopped`] says why, if it is the configuration file. An app that isn't run by
//!   `App::run` calls `app.finish()` before its first frame, and is told so if it doesn't.
//! - *A global is nil in the next run.* Runs share nothing; keep it in `self`.
//! - *`t.translation.x = 1` is an error.* A vector is a value; assign a whole one:
//!   `t.translation = vector.create(1, t.translation.y, 0)`.
//! - *A value can't be kept.* `self` takes plain data only; the error names the field.
//! - *Good scripts run out of time in a debug build.* There everything takes many times as long, and the
//!   default of 2 ms is tight: give them `run_time_limit: Duration::from_millis(20)` if `cfg!(debug_assertions)`,
//!   or build dependencies with optimisation (`[profile.dev.package."*"] opt-level = 2`).
//! - *Every session draws the same random numbers.* So it is meant to be with one seed, and the default is 0: give
//!   [`LuaPoolPlugin::seed`] another one.
//! - *Scripts are slower than in the benches.* Luau checks itself even in release builds unless the environment
//!   variable `LUAU_CXXFLAGS` is `-DNDEBUG` when it is built: see "Speed" in the README.
//! - *The build says that panics must unwind.* Luau raises errors by C++ exceptions that cross Rust frames,
//!   so `panic = "abort"` can't be supported; nor can 32-bit targets.
//!
//! # Layers
//!
//! A module imports from its own layer and from those before it; files import each other in no circle. The layers, from
//! the bottom: `value`, `error`, `sandbox` · `pool` · `config` · `vm` · `modules` · `api_registry` · `engine` · `script`,
//! `bindings` · `snapshot` · `run` · `plugin`, `diagnostics`, `overlay`, `testing`. `tests/rooms.rs` checks it.
//!
//! `pool` knows neither Lua nor Bevy, only numbers of VMs, sizes and times; `config` adds what one run of a script may
//! use. Only `vm` speaks mlua, and only `vm/raw.rs` and the files below it have `unsafe` code.

mod api_registry;
pub mod bindings;
mod config;
mod config_file;
mod control;
#[cfg(feature = "diagnostics")]
mod diagnostics;
pub mod engine;
mod error;
mod escape;
pub mod modules;
#[cfg(feature = "panel")]
pub mod overlay;
mod plugin;
pub mod pool;
mod run;
pub mod sandbox;
mod script;
mod snapshot;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod value;
pub mod vm;

/// What most apps need.
pub mod prelude {
    pub use crate::bindings::{LuaAppExt, ScriptContext};
    pub use crate::config::LuaPoolConfig;
    pub use crate::control::LuaControl;
    #[cfg(feature = "diagnostics")]
    pub use crate::diagnostics::LuaDiagnosticsPlugin;
    #[cfg(feature = "panel")]
    pub use crate::overlay::LuaOverlayPlugin;
    pub use crate::plugin::{LuaPoolPlugin, LuaPoolPlugins};
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
pub use self::config::{LuaPoolConfig, LuaPoolConfigBuilder};
pub use self::config_file::{ConfigFileError, PoolConfigFile, PoolConfigLoader};
pub use self::control::LuaControl;
#[cfg(feature = "diagnostics")]
pub use self::diagnostics::LuaDiagnosticsPlugin;
pub use self::engine::{EngineBuilder, EngineError, EngineSet, LuaEngine, LuauPool};
pub use self::error::{Cause, Failure, ReachedLimit, ScriptError, Setting};
#[cfg(feature = "panel")]
pub use self::overlay::{LuaOverlay, LuaOverlayPlugin, PanelState, show_panel};
pub use self::plugin::{LuaPoolPlugin, LuaPoolPlugins};
pub use self::pool::{PoolConfig, PoolStats, Timing, VmInfo};
pub use self::run::{LuaPool, LuaScripting, ScriptEvent, ScriptFailed, ScriptSystems, ToScript};
pub use self::sandbox::SandboxConfig;
pub use self::script::{LuaScript, LuaScriptLoader, LuaScripts, ScriptState, ScriptStates};
pub use self::snapshot::{
    ERROR_ROWS, ErrorRow, FrameStats, HISTORY_FRAMES, INCIDENT_ROWS, IncidentRow, LuaSnapshot,
    PathCounts, Sample, ScriptRow,
};
pub use self::value::{
    FromScript, FromScriptArgs, IntoScript, IntoScriptArgs, IntoScriptResults, Plain, PlainSeed,
    PlainValue, ScriptFields, ScriptKey, ScriptTable, ScriptValue, ScriptValues, Variadic,
    from_value, to_value,
};
pub use self::vm::Callback;
/// The text of a [`ScriptKey`].
pub use smol_str::SmolStr;
