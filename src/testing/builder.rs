//! [`TestAppBuilder`]: the settings of a test app.

use std::time::Duration;

use bevy::MinimalPlugins;
use bevy::app::{
    App, PluginGroup, TaskPoolOptions, TaskPoolPlugin, TaskPoolThreadAssignmentPolicy,
};
use bevy::asset::AssetPlugin;
use bevy::prelude::{Fixed, Time, TransformPlugin};
use bevy::time::TimeUpdateStrategy;

use super::app::{STEP, TestApp};
use super::files::MemoryFiles;
use super::record::TestRecord;
use crate::config::LuaPoolConfig;
use crate::plugin::LuaPoolPlugin;
use crate::pool::PoolConfig;

/// Threads that run scripts, whatever the machine has.
const COMPUTE_THREADS: usize = 4;

/// The defaults, but for limits on time: 10 s to a run and to the wait for a VM, 60 s to make or reset one. A busy
/// machine does not reach them by accident.
#[must_use]
pub fn patient_config() -> LuaPoolConfig {
    LuaPoolConfig {
        pool: PoolConfig {
            acquire_timeout: Duration::from_secs(10),
            create_timeout: Duration::from_secs(60),
            reset_timeout: Duration::from_secs(60),
            ..PoolConfig::default()
        },
        run_time_limit: Duration::from_secs(10),
        ..LuaPoolConfig::default()
    }
}

/// Sets up a [`TestApp`].
#[must_use = "a builder makes no app until `build` is called"]
pub struct TestAppBuilder {
    plugin: LuaPoolPlugin,
    step: Duration,
    fixed_step: Option<Duration>,
}

impl Default for TestAppBuilder {
    fn default() -> Self {
        let plugin = LuaPoolPlugin { config: patient_config(), ..LuaPoolPlugin::default() };
        Self { plugin, step: STEP, fixed_step: None }
    }
}

impl TestAppBuilder {
    /// The configuration of scripts. Default: [`patient_config`].
    pub fn config(mut self, config: LuaPoolConfig) -> Self {
        self.plugin.config = config;
        self
    }

    /// The plugin, with its configuration. Default: the plugin's, with [`patient_config`].
    pub fn plugin(mut self, plugin: LuaPoolPlugin) -> Self {
        self.plugin = plugin;
        self
    }

    /// By how much the clock moves in each frame. Default: [`STEP`].
    pub fn step(mut self, step: Duration) -> Self {
        self.step = step;
        self
    }

    /// The time between two runs of `on_fixed_update`. Default: Bevy's, 64 a second. With the length of a
    /// [`step`](Self::step) there is one in each frame, however many frames the loading of scripts took.
    pub fn fixed_step(mut self, step: Duration) -> Self {
        self.fixed_step = Some(step);
        self
    }

    /// Makes the app. It is finished when the first script is loaded or the first frame runs: expose components and
    /// add functions and plugins before.
    ///
    /// # Panics
    ///
    /// If the configuration is not valid.
    #[must_use]
    pub fn build(self) -> TestApp {
        let mut app = App::new();
        let files = MemoryFiles::new(&mut app);
        let compute = TaskPoolThreadAssignmentPolicy {
            min_threads: COMPUTE_THREADS,
            max_threads: COMPUTE_THREADS,
            percent: 1.0,
            on_thread_spawn: None,
            on_thread_destroy: None,
        };
        let task_pool_options = TaskPoolOptions { compute, ..TaskPoolOptions::default() };
        app.add_plugins((
            MinimalPlugins.set(TaskPoolPlugin { task_pool_options }),
            AssetPlugin {
                watch_for_changes_override: Some(true),
                use_asset_processor_override: Some(false),
                ..AssetPlugin::default()
            },
            TransformPlugin,
            self.plugin,
        ));
        app.insert_resource(TimeUpdateStrategy::ManualDuration(self.step));
        if let Some(step) = self.fixed_step {
            app.insert_resource(Time::<Fixed>::from_duration(step));
        }
        TestApp { app, files, record: TestRecord::default(), is_finished: false }
    }
}

impl Default for TestApp {
    fn default() -> Self {
        Self::new()
    }
}

impl TestApp {
    /// An app with the plugin's defaults, but for [`patient_config`](super::patient_config).
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// An app with this configuration.
    #[must_use]
    pub fn with_config(config: LuaPoolConfig) -> Self {
        Self::builder().config(config).build()
    }

    /// An app with this plugin.
    #[must_use]
    pub fn with_plugin(plugin: LuaPoolPlugin) -> Self {
        Self::builder().plugin(plugin).build()
    }

    /// Sets up an app.
    pub fn builder() -> TestAppBuilder {
        TestAppBuilder::default()
    }
}
