//! [`LuauPool`]: a pool of VMs outside Bevy that runs sources.

pub(super) mod builder;
mod calls;
pub(super) mod error;
pub(super) mod execution;
mod programs;
mod registration;
mod run;

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use self::calls::RunningCalls;
use self::programs::ProgramCache;
use super::interrupter::Interrupter;
use crate::api_registry::ApiRegistry;
use crate::config::LuaPoolConfig;
use crate::pool::{ConfigError, VmPool};
use crate::vm::{ConfiguredPool, Vm};

/// A pool of Luau VMs without a Bevy app: [`LuauPool::execute`] leases a clean VM, runs a source on it, and returns the
/// value. Many threads can share it.
///
/// ```
/// use bevy_lua_pool::LuauPool;
///
/// let pool = LuauPool::builder().function("double", |x: f64| 2.0 * x).build()?;
/// assert_eq!(pool.execute("double(params.x)", [("x", 21.0)])?, 42.0.into());
/// assert_eq!(pool.execute("params.x", [("y", 1.0)])?, Default::default());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It has no thread of its own: call [`VmPool::maintain`] on [`LuauPool::vms`] from time to time, so that unused VMs are
/// evicted.
pub struct LuauPool {
    vms: ConfiguredPool,
    offer: RwLock<Arc<ApiRegistry>>,
    programs: ProgramCache,
    call_timeout: Option<Duration>,
    seed: u64,
    calls: Arc<RunningCalls>,
}

impl LuauPool {
    /// The pool of VMs: leases, figures, maintenance.
    #[must_use]
    pub fn vms(&self) -> &VmPool<Vm> {
        self.vms.vms()
    }

    /// A copy of the configuration in force.
    #[must_use]
    pub fn config(&self) -> LuaPoolConfig {
        LuaPoolConfig::clone(&self.vms.config())
    }

    /// Replaces the configuration: sizes, limits, the sandbox. It applies to every run that begins after this call.
    /// ([`VmPool::set_config`] of [`LuauPool::vms`] changes [`LuaPoolConfig::pool`] alone.)
    ///
    /// # Errors
    /// If the configuration is invalid. Nothing has changed then.
    pub fn set_config(&self, config: LuaPoolConfig) -> Result<(), ConfigError> {
        self.vms.set_config(config)
    }

    /// Returns a handle that ends all calls in progress from any thread, including those that wait for a VM.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        let calls = Arc::clone(&self.calls);
        Interrupter::new(move || calls.interrupt())
    }
}

impl fmt::Debug for LuauPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuauPool").field("vms", self.vms()).finish_non_exhaustive()
    }
}
