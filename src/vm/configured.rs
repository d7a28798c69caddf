//! [`ConfiguredPool`]: a pool of Luau VMs, and the configuration that runs on them have.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::api::Api;
use super::factory::{LuauFactory, LuauResetter};
use super::instance::Vm;
use crate::config::LuaPoolConfig;
use crate::pool::{ConfigError, VmPool};

/// A pool of Luau VMs with its configuration. Clones share both.
///
/// The pool holds its own part of the configuration, which can be changed there too
/// ([`VmPool::set_config`]). [`ConfiguredPool::config`] takes such a change over.
#[derive(Clone, Debug)]
pub(crate) struct ConfiguredPool {
    vms: VmPool<Vm>,
    factory: LuauFactory,
    config: Arc<RwLock<Arc<LuaPoolConfig>>>,
    /// Held while the configuration changes: changes come into force one at a time.
    changing: Arc<Mutex<()>>,
}

impl ConfiguredPool {
    /// A pool of VMs that offer `api`. It has none yet.
    ///
    /// # Errors
    /// If the configuration is not valid.
    pub(crate) fn new(api: Arc<Api>, config: LuaPoolConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let factory = LuauFactory::new(api, config.pool.memory_limit);
        factory.set_sandbox(&config.sandbox);
        factory.set_resting_memory(config.pool.resting_memory());
        Ok(Self {
            vms: VmPool::new(config.pool, factory.clone(), LuauResetter)?,
            factory,
            config: Arc::new(RwLock::new(Arc::new(config))),
            changing: Arc::default(),
        })
    }

    pub(crate) fn vms(&self) -> &VmPool<Vm> {
        &self.vms
    }

    /// What makes the VMs.
    pub(crate) fn factory(&self) -> &LuauFactory {
        &self.factory
    }

    /// The configuration in force. The same `Arc` as long as nothing changes.
    pub(crate) fn config(&self) -> Arc<LuaPoolConfig> {
        let pool = self.vms.config();
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        if config.pool == pool {
            return config;
        }
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        if config.pool != pool {
            Arc::make_mut(&mut config).pool = pool;
        }
        Arc::clone(&config)
    }

    /// Puts another configuration in force. VMs are replaced if they don't fit it: no lease that is asked for after
    /// this call gets one of those.
    ///
    /// # Errors
    /// If it is not valid; then nothing has changed.
    pub(crate) fn set_config(&self, config: LuaPoolConfig) -> Result<(), ConfigError> {
        config.validate()?;
        let pool = config.pool;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let config = Arc::new(config);
        let before = {
            let mut in_force = self.config.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *in_force, Arc::clone(&config))
        };
        let offers_other = !config.sandbox.offers_as(&before.sandbox);
        if offers_other {
            self.factory.set_sandbox(&config.sandbox);
        }
        self.vms.set_config(pool)?;
        if offers_other {
            self.vms.evict_all();
        }
        Ok(())
    }
}
