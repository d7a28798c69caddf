//! [`Worker`]: one thread that runs invocations.

use std::sync::atomic::Ordering;

use crate::bindings::ScriptContext;
use crate::pool::{DestroyReason, Lease};
use crate::run::execute::counts::WorkerCounts;
use crate::run::execute::stage::ExecutingStage;
use crate::vm::{Engaged, Program, Vm};

/// One thread that runs invocations.
pub(super) struct Worker<'s> {
    pub(super) stage: &'s ExecutingStage<'s>,
    pub(super) engaged: &'s Engaged,
    /// The world as the current invocation sees it.
    pub(super) context: ScriptContext<'s>,
    /// `None`: there was no VM to be had.
    pub(super) lease: Option<Lease<Vm>>,
    pub(super) counts: WorkerCounts,
}

impl<'s> Worker<'s> {
    /// A worker with a VM, if there is one.
    pub(super) fn new(stage: &'s ExecutingStage<'s>, engaged: &'s Engaged) -> Self {
        let mut worker = Self {
            stage,
            engaged,
            context: stage.bindings.context(
                stage.world,
                stage.registry,
                stage.pool.config(),
                stage.columns,
            ),
            lease: None,
            counts: WorkerCounts::new(stage.take_tally(), stage.budget.is_spent()),
        };
        // Probably the worker's own first invocation is of the same program as that of the stage.
        worker.acquire(stage.frame.program(stage.turns.at(0)));
        if worker.lease.is_some() {
            stage.leased.fetch_add(1, Ordering::Relaxed);
        }
        worker
    }

    /// Gives back the VM and what was counted.
    pub(super) fn finish(self) {
        if let Some(vm) = &self.lease {
            vm.count_steps(false);
        }
        let (tally, paths) = self.counts.finish();
        self.stage.put_back(tally, paths);
    }

    /// Takes a VM, preferably one that ran the program last. If there is none, for whatever reason, the invocations
    /// wait for the next stage.
    fn acquire(&mut self, program: &Program) {
        self.lease = self.stage.pool.vms().acquire_for(program.name()).ok();
    }

    /// Whether there is a VM that must be thrown away.
    pub(super) fn is_vm_spent(&self) -> bool {
        self.lease.as_ref().is_some_and(|vm| vm.is_spent())
    }

    /// Takes another VM, and throws the old one away.
    pub(super) fn replace_vm(&mut self, program: &Program) {
        if let Some(spent) = self.lease.take() {
            Lease::discard(spent, DestroyReason::Spent);
        }
        self.acquire(program);
    }
}
