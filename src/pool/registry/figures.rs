//! What a registry says about its VMs.

use super::Registry;
use crate::pool::stats::{PoolStats, VmInfo};
use crate::pool::sync::Instant;

impl<V> Registry<V> {
    /// The length of the table of records: the most VMs that were ever alive at once.
    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.records.places()
    }

    pub(crate) fn vms(&self, now: Instant) -> Vec<VmInfo> {
        let mut vms: Vec<VmInfo> = self.records.iter().map(|record| record.info(now)).collect();
        vms.sort_unstable_by_key(|vm| vm.id);
        vms
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let (counts, timings) = (&self.counts, &self.timings);
        PoolStats {
            created: counts.created,
            destroyed: counts.destroyed_by.iter().sum(),
            destroyed_by: counts.destroyed_by,
            idle: self.idle(),
            leased: self.leased(),
            quarantined: self.quarantined,
            building: self.builds.len(),
            hung_builds: self.builds.hung(),
            waiting: self.queue.len(),
            suspended: self.suspended,
            acquired: counts.acquired,
            timeouts: counts.timeouts,
            create_errors: counts.create_errors,
            create_timeouts: counts.create_timeouts,
            resets: timings.reset.count(),
            reset_errors: counts.reset_errors,
            reset_timeouts: counts.reset_timeouts,
            quarantines: counts.quarantines,
            overdue: counts.overdue,
            wait: timings.wait.timing(),
            create: timings.create.timing(),
            reset: timings.reset.timing(),
            use_time: timings.use_time.timing(),
            min_size: self.config.kept_size(),
            max_size: self.config.max_size,
        }
    }
}
