//! How a pool makes and resets Luau VMs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use super::api::Api;
use super::instance::Vm;
use super::program_stats::{ProgramCounts, ProgramStats};
use crate::pool::{BoxError, InterruptFn, PoolConfig, VmFactory, VmReport, VmResetter};
use crate::sandbox::SandboxConfig;

/// Makes Luau VMs that offer one [`Api`], or as much of it as a sandbox lets scripts find.
///
/// In a pool it follows the configuration: when [`VmPool::set_config`](crate::pool::VmPool::set_config)
/// changes how much memory a VM may hold, it makes such VMs from then on, and the pool replaces the others.
#[derive(Clone, Debug)]
pub struct LuauFactory {
    offer: Arc<RwLock<OfferedApi>>,
    memory_limit: Arc<AtomicUsize>,
    /// `usize::MAX` if it was not set.
    resting_memory: Arc<AtomicUsize>,
    counts: Arc<ProgramCounts>,
}

#[derive(Debug)]
struct OfferedApi {
    whole: Arc<Api>,
    sandbox: SandboxConfig,
    /// What the sandbox allows of it, once a VM was made.
    within: Option<Arc<Api>>,
}

impl OfferedApi {
    fn within(&mut self) -> Arc<Api> {
        let within = || Arc::new(self.whole.within(&self.sandbox));
        Arc::clone(self.within.get_or_insert_with(within))
    }
}

impl LuauFactory {
    /// A factory of VMs that may hold `memory_limit` bytes each.
    #[must_use]
    pub fn new(api: Arc<Api>, memory_limit: usize) -> Self {
        let offer = OfferedApi { whole: api, sandbox: SandboxConfig::default(), within: None };
        Self {
            offer: Arc::new(RwLock::new(offer)),
            memory_limit: Arc::new(AtomicUsize::new(memory_limit)),
            resting_memory: Arc::new(AtomicUsize::new(usize::MAX)),
            counts: Arc::default(),
        }
    }

    /// Sets the API of the VMs that this factory and its clones make from now on. To replace those that
    /// exist, evict them all afterwards.
    pub fn set_api(&self, api: Arc<Api>) {
        let mut offer = self.offer();
        offer.whole = api;
        offer.within = None;
    }

    /// As [`LuauFactory::set_api`]. Drops its API before it asks for the next one, which may so be the same one,
    /// changed in place.
    pub(crate) fn replace_api<R>(&self, next: impl FnOnce() -> (Arc<Api>, R)) -> R {
        let mut offer = self.offer();
        offer.whole = Arc::default();
        offer.within = None;
        let (api, result) = next();
        offer.whole = api;
        result
    }

    /// Sets which libraries and modules the VMs offer that this factory and its clones make from now on. To
    /// replace those that exist, evict them all afterwards.
    pub fn set_sandbox(&self, sandbox: &SandboxConfig) {
        let mut offer = self.offer();
        offer.sandbox = sandbox.clone();
        offer.within = None;
    }

    fn offer(&self) -> RwLockWriteGuard<'_, OfferedApi> {
        self.offer.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the memory limit, in bytes, of the VMs that this factory and its clones make from now on. To
    /// replace those that exist, evict them all afterwards.
    pub fn set_memory_limit(&self, memory_limit: usize) {
        self.memory_limit.store(memory_limit, Ordering::Relaxed);
    }

    /// Sets how many bytes the VMs that this factory and its clones make from now on should hold at most while
    /// idle. They keep no more programs loaded than that. Default: seven eighths of the memory limit, but at least
    /// 4 MiB. A pool sets it from [`max_resting_memory`](crate::PoolConfig::max_resting_memory).
    pub fn set_resting_memory(&self, bytes: usize) {
        self.resting_memory.store(bytes, Ordering::Relaxed);
    }

    /// How often programs were loaded and evicted in all VMs that this factory and its clones made.
    #[must_use]
    pub fn programs(&self) -> ProgramStats {
        self.counts.stats()
    }
}

impl VmFactory<Vm> for LuauFactory {
    fn create(&self) -> Result<Vm, BoxError> {
        let known = self.offer.read().unwrap_or_else(PoisonError::into_inner).within.clone();
        let api = known.unwrap_or_else(|| self.offer().within());
        let limit = self.memory_limit.load(Ordering::Relaxed);
        let mut vm = Vm::make(api, limit, Arc::clone(&self.counts), None)?;
        match self.resting_memory.load(Ordering::Relaxed) {
            usize::MAX => {}
            bytes => vm.limit_resting_memory(bytes),
        }
        Ok(vm)
    }

    fn interrupter(&self, vm: &Vm) -> Option<InterruptFn> {
        Some(vm.interrupter())
    }

    fn reconfigure(&self, before: &PoolConfig, now: &PoolConfig) -> bool {
        let memory = before.memory_limit != now.memory_limit;
        if memory {
            self.set_memory_limit(now.memory_limit);
        }
        let resting = before.resting_memory() != now.resting_memory();
        if resting {
            self.set_resting_memory(now.resting_memory());
        }
        memory || resting
    }
}

/// Resets Luau VMs.
///
/// Runs leave nothing behind, so there is nothing to undo. It collects garbage if there is too much. Before every
/// lease it checks that all that scripts share is frozen, and at every health check that it is unchanged. A VM in
/// which a run met a hard limit or the host panicked is spent.
#[derive(Clone, Copy, Debug, Default)]
pub struct LuauResetter;

impl VmResetter<Vm> for LuauResetter {
    fn is_spent(&self, vm: &Vm) -> bool {
        vm.is_spent()
    }

    fn reset(&self, vm: &mut Vm) -> Result<(), BoxError> {
        vm.end_lease();
        // The lease is over: a cancellation would meet the next one.
        vm.forget_cancelled();
        Ok(())
    }

    fn validate(&self, vm: &mut Vm) -> Result<(), BoxError> {
        Ok(vm.check_frozen()?)
    }

    fn check(&self, vm: &mut Vm) -> Result<(), BoxError> {
        Ok(vm.check_all()?)
    }

    fn identity(&self, vm: &Vm) -> Option<u64> {
        Some(vm.id())
    }

    fn inspect(&self, vm: &Vm) -> VmReport {
        VmReport { memory_bytes: vm.used_memory(), last_program: vm.last_program().cloned() }
    }
}
