//! [`BuildTable`]: the VMs that are being made, each on a thread of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::pool::error::PoolError;
use crate::pool::oneshot::OneshotSender;
use crate::pool::record::Borrower;
use crate::pool::slot::OccupiedSlot;
use crate::pool::sync::Instant;

/// A VM that is being made.
pub(crate) struct Build<V> {
    pub(crate) began: Instant,
    pub(crate) generation: u64,
    /// Who waits for it; `None` if nobody does, and the VM becomes idle.
    pub(crate) owner: Option<BuildOwner<V>>,
}

/// The thread that waits for a VM that is being made.
pub(crate) struct BuildOwner<V> {
    pub(crate) borrower: Borrower,
    pub(crate) sender: OneshotSender<Result<OccupiedSlot<V>, PoolError>>,
}

/// A build that took too long, with its owner, who must be told.
pub(crate) struct ExpiredBuild<V> {
    pub(crate) owner: Option<BuildOwner<V>>,
    pub(crate) limit: Duration,
}

/// The builds that are under way.
pub(crate) struct BuildTable<V> {
    pub(crate) running: BTreeMap<u64, Build<V>>,
    pub(crate) next: u64,
    /// Threads whose build took too long and which haven't returned.
    pub(crate) hung: usize,
}

impl<V> BuildTable<V> {
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn hung(&self) -> usize {
        self.hung
    }

    /// Takes the owners of all builds away. The builds go on.
    pub(crate) fn abandon_all(&mut self) -> Vec<BuildOwner<V>> {
        self.running.values_mut().filter_map(|build| build.owner.take()).collect()
    }
}

impl<V> Default for BuildTable<V> {
    fn default() -> Self {
        Self { running: BTreeMap::new(), next: 0, hung: 0 }
    }
}
