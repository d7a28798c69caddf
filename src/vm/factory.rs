//! How a pool makes and resets Luau VMs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Api, Vm};
use crate::pool::{BoxError, Interrupter, VmFactory, VmReport, VmResetter};

/// Makes Luau VMs that offer one [`Api`].
#[derive(Clone, Debug)]
pub struct LuauFactory {
    api: Arc<RwLock<Arc<Api>>>,
    memory_limit: Arc<AtomicUsize>,
}

impl LuauFactory {
    /// A factory of VMs that may hold `memory_limit` bytes each.
    #[must_use]
    pub fn new(api: Arc<Api>, memory_limit: usize) -> Self {
        Self {
            api: Arc::new(RwLock::new(api)),
            memory_limit: Arc::new(AtomicUsize::new(memory_limit)),
        }
    }

    /// Changes what the VMs offer that this factory and its clones make from now on. To replace those
    /// that exist, evict them all afterwards.
    pub fn set_api(&self, api: Arc<Api>) {
        *self.api.write().unwrap_or_else(PoisonError::into_inner) = api;
    }

    /// Changes the memory limit, in bytes, of the VMs that this factory and its clones make from now
    /// on. To replace those that exist, evict them all.
    pub fn set_memory_limit(&self, memory_limit: usize) {
        self.memory_limit.store(memory_limit, Ordering::Relaxed);
    }
}

impl VmFactory<Vm> for LuauFactory {
    fn create(&self) -> Result<Vm, BoxError> {
        let api = Arc::clone(&self.api.read().unwrap_or_else(PoisonError::into_inner));
        Ok(Vm::new(&api, self.memory_limit.load(Ordering::Relaxed))?)
    }

    fn interrupter(&self, vm: &Vm) -> Option<Interrupter> {
        Some(vm.interrupter())
    }
}

/// Resets Luau VMs. There is nothing to undo, since no run leaves anything behind, so what it does is
/// to look whether that is still true: whether all that scripts share is frozen before every lease,
/// and whether it is what it was at every health check. A VM that met a hard limit or a panic is spent.
#[derive(Clone, Copy, Debug, Default)]
pub struct LuauResetter;

impl VmResetter<Vm> for LuauResetter {
    fn is_spent(&self, vm: &Vm) -> bool {
        vm.is_spent()
    }

    fn reset(&self, _: &mut Vm) -> Result<(), BoxError> {
        Ok(())
    }

    fn validate(&self, vm: &mut Vm) -> Result<(), BoxError> {
        Ok(vm.check_frozen()?)
    }

    fn check(&self, vm: &mut Vm) -> Result<(), BoxError> {
        Ok(vm.check_all()?)
    }

    fn inspect(&self, vm: &Vm) -> VmReport {
        VmReport { memory_bytes: vm.used_memory(), last_program: vm.last_program().cloned() }
    }
}
