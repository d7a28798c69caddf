//! [`LuaPoolPlugin`]: configuration, sets, wiring; nothing else.

use std::sync::Arc;

use bevy::app::{App, FixedUpdate, Plugin, Update};
use bevy::asset::{AssetApp, AssetLoadFailedEvent};
use bevy::ecs::reflect::AppTypeRegistry;
use bevy::ecs::schedule::{InternedScheduleLabel, ScheduleLabel};
use bevy::log::error;
use bevy::prelude::{
    AssetEvent, AssetServer, Assets, GlobalTransform, Handle, IntoScheduleConfigs, IntoSystem,
    MessageReader, Name, Res, ResMut, Resource, Transform, World,
};

use crate::bindings::{Backlog, Bindings, NamedScripts, Population};
use crate::config_file::{PoolConfigFile, PoolConfigLoader};
use crate::control::LuaControl;
use crate::diagnostics::{LuaDiagnosticsPlugin, measure};
use crate::pool::{PoolConfig, VmPool};
use crate::run::{
    Frame, KnownScripts, LuaPool, LuaScripting, Mailbox, Report, ScriptEvent, ScriptFailed,
    ScriptSystems, StopQueue, ToScript, apply, collect_fixed_update, collect_update, control,
    execute, gather, maintain, on_scripts_removed, report_load_failures,
};
use crate::script::{LuaScript, LuaScriptLoader, LuaScripts, ScriptStates};
use crate::snapshot::LuaSnapshot;
use crate::vm::{LuauFactory, LuauResetter};

/// Runs the scripts of entities on a pool of Luau VMs.
///
/// Needs `MinimalPlugins` and `AssetPlugin`, or `DefaultPlugins`.
#[derive(Clone, Debug)]
pub struct LuaPoolPlugin {
    /// Sizes and limits. Not valid: an error is logged, and the defaults are used.
    pub config: PoolConfig,
    /// A RON asset that takes the place of `config`, such as `lua_pool.ron`. Scripts start when it is
    /// loaded; when the file changes, so does the pool. Not valid: an error is logged, and what was in
    /// force stays. Default: none.
    pub config_file: Option<String>,
    /// Where `on_update`, `on_message`, `on_reload` and `on_stop` run. `on_start` runs here or in
    /// `fixed_schedule`, whichever comes first. Default: [`Update`].
    pub schedule: InternedScheduleLabel,
    /// Where `on_fixed_update` runs. Default: [`FixedUpdate`].
    pub fixed_schedule: InternedScheduleLabel,
    /// The seed of all random numbers of scripts. Default: 0, with which every session of the game draws the same
    /// numbers; give it another one, such as the time or what the players agreed upon, if sessions are to differ.
    pub seed: u64,
}

impl Default for LuaPoolPlugin {
    fn default() -> Self {
        Self {
            config: PoolConfig::default(),
            config_file: None,
            schedule: Update.intern(),
            fixed_schedule: FixedUpdate.intern(),
            seed: 0,
        }
    }
}

/// Keeps the configuration file loaded.
#[derive(Resource)]
struct ConfigFile {
    handle: Handle<PoolConfigFile>,
}

impl Plugin for LuaPoolPlugin {
    fn build(&self, app: &mut App) {
        app.init_asset::<LuaScript>()
            .register_asset_loader(LuaScriptLoader)
            .init_asset::<PoolConfigFile>()
            .register_asset_loader(PoolConfigLoader)
            // What is exposed in every app is made by reflection, and not every app registers it.
            .register_type::<Transform>()
            .register_type::<GlobalTransform>()
            .register_type::<Name>()
            .register_type::<LuaScripts>()
            .register_type::<ScriptStates>()
            .add_message::<ToScript>()
            .add_message::<ScriptEvent>()
            .add_message::<ScriptFailed>()
            .add_message::<LuaControl>()
            .init_resource::<Bindings>()
            .init_resource::<Frame>()
            .init_resource::<Mailbox>()
            .init_resource::<NamedScripts>()
            .init_resource::<Backlog>()
            .init_resource::<Population>()
            .init_resource::<Report>()
            .init_resource::<StopQueue>()
            .init_resource::<KnownScripts>()
            .init_resource::<LuaSnapshot>()
            .insert_resource(LuaScripting::new(self.seed))
            .add_observer(on_scripts_removed)
            .add_plugins(LuaDiagnosticsPlugin);

        let order = (
            ScriptSystems::Collect,
            ScriptSystems::Execute,
            ScriptSystems::Apply,
            ScriptSystems::Maintain,
        );
        app.configure_sets(self.schedule, order.chain())
            .configure_sets(self.fixed_schedule, order.chain())
            .add_systems(
                self.schedule,
                (
                    control
                        .pipe(gather)
                        .pipe(report_load_failures)
                        .pipe(on_this_thread)
                        .before(ScriptSystems::Collect),
                    collect_update.in_set(ScriptSystems::Collect),
                    execute.in_set(ScriptSystems::Execute),
                    apply.in_set(ScriptSystems::Apply),
                    maintain.pipe(on_this_thread).in_set(ScriptSystems::Maintain),
                    measure.pipe(on_this_thread).after(ScriptSystems::Maintain),
                ),
            )
            .add_systems(
                self.fixed_schedule,
                (
                    collect_fixed_update.in_set(ScriptSystems::Collect),
                    execute.in_set(ScriptSystems::Execute),
                    apply.in_set(ScriptSystems::Apply),
                ),
            );
    }

    /// Registration is over: the VMs' API is settled.
    fn finish(&self, app: &mut App) {
        let registry = app.world().resource::<AppTypeRegistry>().clone();
        let mut bindings =
            app.world_mut().remove_resource::<Bindings>().expect("`build` inserted it");
        bindings.freeze(app.world_mut(), &registry.read());

        let config = match self.config.validate() {
            Ok(()) => self.config.clone(),
            Err(problem) => {
                error!("the script pool uses its default configuration: {problem}");
                PoolConfig::default()
            }
        };
        let factory = LuauFactory::new(Arc::new(bindings.api().clone()), config.memory_limit);
        factory.set_sandbox(&config.sandbox);
        factory.set_resting_memory(config.resting_memory());
        bindings.tell_of_missing_modules(&config.sandbox);
        let pool = VmPool::new(config.clone(), factory.clone(), LuauResetter)
            .expect("the configuration is valid");
        if let Err(problem) = pool.warm_up() {
            error!("the script pool is not warmed up: {problem}");
        }
        bindings.serve(factory.clone(), pool.clone());
        let awaits_config = self.config_file.is_some();
        app.insert_resource(bindings).insert_resource(LuaPool {
            pool,
            factory,
            config: Arc::new(config),
            awaits_config,
        });
        if let Some(path) = &self.config_file {
            let handle = app.world().resource::<AssetServer>().load(path.clone());
            app.insert_resource(ConfigFile { handle })
                .add_systems(self.schedule, apply_config.before(ScriptSystems::Collect));
        }
    }
}

/// Makes the system that is piped into it run on the thread of the schedule, as those before and after it do:
/// to hand it to another thread takes longer than it does.
fn on_this_thread(_: &mut World) {}

/// Puts the configuration file in force when it is loaded or has changed.
fn apply_config(
    file: Res<ConfigFile>,
    files: Res<Assets<PoolConfigFile>>,
    mut loaded: MessageReader<AssetEvent<PoolConfigFile>>,
    mut failed: MessageReader<AssetLoadFailedEvent<PoolConfigFile>>,
    mut pool: ResMut<LuaPool>,
    bindings: Res<Bindings>,
) {
    for event in loaded.read() {
        if let AssetEvent::Added { id } | AssetEvent::Modified { id } = event
            && *id == file.handle.id()
            && let Some(config) = files.get(*id)
        {
            pool.awaits_config = false;
            bindings.tell_of_missing_modules(&config.0.sandbox);
            if let Err(problem) = pool.set_config(config.0.clone()) {
                error!("the script pool keeps its configuration: {problem}");
            }
        }
    }
    for event in failed.read() {
        if event.id == file.handle.id() {
            pool.awaits_config = false;
            error!("the script pool keeps its configuration: {}", event.error);
        }
    }
}
