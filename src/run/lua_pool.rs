//! The resources for all scripts together: [`LuaScripting`] and [`LuaPool`].

use std::sync::Arc;

use bevy::prelude::Resource;

use crate::config::LuaPoolConfig;
use crate::pool::{ConfigError, VmPool};
use crate::vm::{ConfiguredPool, ProgramStats, Vm};

/// Whether and how scripts run.
#[derive(Resource, Clone, Debug)]
#[non_exhaustive]
pub struct LuaScripting {
    /// Whether scripts run. While they don't, messages to them wait. To pause the scripts of one entity, use
    /// [`LuaScripts::enabled`](crate::LuaScripts::enabled). Default: `true`.
    pub enabled: bool,
    /// The seed of all random numbers of scripts. Default: 0, with which every session draws the same numbers.
    pub seed: u64,
}

impl LuaScripting {
    pub(crate) fn new(seed: u64) -> Self {
        Self { enabled: true, seed }
    }
}

/// The pool of VMs that entity scripts run on. It is inserted by [`App::finish`](bevy::app::App::finish).
#[derive(Resource, Clone)]
pub struct LuaPool {
    pub(crate) vms: ConfiguredPool,
    /// The configuration of this frame.
    pub(crate) config: Arc<LuaPoolConfig>,
    /// The configuration file is loading or can't be used, so nothing runs.
    pub(crate) awaits_config: bool,
    /// Why it can't be used.
    pub(crate) stopped: Option<Arc<str>>,
}

impl LuaPool {
    /// The panic message where the resource is missing.
    pub(crate) const UNFINISHED: &str = "LuaPoolPlugin has no VMs yet: `App::finish` was not called; an app that \
         is not run by `App::run` calls `app.finish()` and `app.cleanup()` before its first `app.update()`";

    /// The pool of VMs. Its [`set_config`](VmPool::set_config) changes [`LuaPoolConfig::pool`] alone.
    #[must_use]
    pub fn vms(&self) -> &VmPool<Vm> {
        self.vms.vms()
    }

    /// How often programs were loaded, dropped and loaded again, in all VMs.
    #[must_use]
    pub fn programs(&self) -> ProgramStats {
        self.vms.factory().programs()
    }

    /// Whether scripts can run: `false` while the configuration file is loading or can't be used. See
    /// [`LuaPool::stopped`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.awaits_config
    }

    /// Why the configuration file can't be used, if no script runs for that reason.
    #[must_use]
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> &LuaPoolConfig {
        &self.config
    }

    /// Puts another configuration in force, from the next frame on. VMs are replaced if their memory limits change, or
    /// the libraries and modules for scripts. Scripts that wait for the configuration file still do.
    ///
    /// # Errors
    /// If it is not valid. Then nothing has changed.
    pub fn set_config(&mut self, config: LuaPoolConfig) -> Result<(), ConfigError> {
        self.vms.set_config(config)?;
        self.update();
        Ok(())
    }

    /// Whether the configuration was changed by another handle since this one [took it over](Self::update).
    pub(crate) fn is_outdated(&self) -> bool {
        !Arc::ptr_eq(&self.config, &self.vms.config())
    }

    /// Takes over the configuration in force.
    pub(crate) fn update(&mut self) {
        self.config = self.vms.config();
    }
}
