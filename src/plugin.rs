//! [`LuaPoolPlugin`]: configuration, sets, wiring; nothing else.

mod file;
mod group;
mod needs;

pub use self::group::LuaPoolPlugins;

use std::sync::Arc;

use bevy::app::{App, FixedUpdate, Plugin, Update};
use bevy::asset::AssetApp;
use bevy::ecs::reflect::AppTypeRegistry;
use bevy::ecs::schedule::{InternedScheduleLabel, ScheduleLabel};
use bevy::log::error;
use bevy::prelude::{GlobalTransform, IntoScheduleConfigs, IntoSystem, Name, Transform};

use crate::bindings::{Backlog, Bindings, LateBindings, NamedScripts, Population};
use crate::config::LuaPoolConfig;
use crate::config_file::{PoolConfigFile, PoolConfigLoader};
use crate::control::LuaControl;
use crate::run::{
    Frame, KnownScripts, LuaPool, LuaScripting, Mailbox, Report, ScriptEvent, ScriptFailed,
    ScriptSystems, StopQueue, ToScript, apply, collect_fixed_update, collect_update, control,
    execute, gather, maintain, on_scripts_removed, report_load_failures,
};
use crate::script::{LuaScript, LuaScriptLoader, LuaScripts, ScriptStates};
use crate::snapshot::LuaSnapshot;
use crate::vm::ConfiguredPool;

/// Runs the scripts of entities on a pool of Luau VMs.
///
/// Needs `MinimalPlugins` and `AssetPlugin`, or `DefaultPlugins`.
///
/// # Panics
///
/// When it is added with fields that can't be used, such as a `config` that is not valid: scripts never run
/// under other rules than those that were asked for. Also where something is missing: `AssetPlugin` before it,
/// `TaskPoolPlugin` and `TimePlugin` in the app, or the call of [`App::finish`] before the first frame of an
/// app that is not run by `App::run`. The messages say so.
#[derive(Clone, Debug)]
pub struct LuaPoolPlugin {
    /// Sizes and limits.
    pub config: LuaPoolConfig,
    /// A RON asset that takes the place of `config`, such as `lua_pool.ron`. Scripts start when it is
    /// loaded; when the file changes, so does the pool. If a changed file can't be used, an error is
    /// logged, and what was in force stays. Default: none.
    pub config_file: Option<String>,
    /// Whether scripts need the `config_file`: if it is missing or wrong when the app starts, an error is
    /// logged, and no script runs until the file is mended, which an app with Bevy's feature `file_watcher`
    /// notices. With `false` they run with `config` instead, so that should allow them no more than the
    /// file does. Default: `true`.
    pub config_file_required: bool,
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
            config: LuaPoolConfig::default(),
            config_file: None,
            config_file_required: true,
            schedule: Update.intern(),
            fixed_schedule: FixedUpdate.intern(),
            seed: 0,
        }
    }
}

impl Plugin for LuaPoolPlugin {
    fn build(&self, app: &mut App) {
        self.check();
        needs::check_build(app);
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
            .init_resource::<LateBindings>()
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
            .add_observer(on_scripts_removed);

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
                    needs::be_finished
                        .pipe(control)
                        .pipe(gather)
                        .pipe(report_load_failures)
                        .before(ScriptSystems::Collect),
                    collect_update.in_set(ScriptSystems::Collect),
                    execute.in_set(ScriptSystems::Execute),
                    apply.in_set(ScriptSystems::Apply),
                    needs::be_finished.pipe(maintain).in_set(ScriptSystems::Maintain),
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
        needs::check_finish(app);
        let registry = app.world().resource::<AppTypeRegistry>().clone();
        let mut bindings = app.world_mut().remove_resource::<Bindings>().unwrap_or_default();
        bindings.freeze(app.world_mut(), &registry.read());

        bindings.tell_of_missing_modules(&self.config.sandbox);
        let vms = ConfiguredPool::new(Arc::clone(bindings.api()), self.config.clone())
            .expect("`build` found the configuration valid");
        if let Err(problem) = vms.vms().warm_up() {
            error!("the script pool is not warmed up: {problem}");
        }
        bindings.serve(vms.factory().clone(), vms.vms().clone());
        let awaits_config = self.config_file.is_some();
        app.insert_resource(bindings).insert_resource(LuaPool {
            config: vms.config(),
            vms,
            awaits_config,
            stopped: None,
        });
        if let Some(path) = &self.config_file {
            file::load(app, path, self.config_file_required);
            app.add_systems(self.schedule, file::apply.before(ScriptSystems::Collect));
        }
    }
}

impl LuaPoolPlugin {
    /// Refuses fields that can't be used.
    fn check(&self) {
        if let Err(problem) = self.config.validate() {
            panic!("LuaPoolPlugin can't be added: in its `config`, {problem}");
        }
        if let Some(path) = &self.config_file
            && let Some(problem) = file::refuse_path(path)
        {
            panic!(
                "LuaPoolPlugin can't be added: its `config_file` is {path:?}: {problem}; name an asset, \
                 such as \"lua_pool.ron\""
            );
        }
    }
}
