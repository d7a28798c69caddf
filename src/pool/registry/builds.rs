//! The bookkeeping of VMs that are being made.

use super::Registry;
use crate::pool::builds::{Build, BuildOwner, ExpiredBuild};
use crate::pool::error::PoolError;
use crate::pool::factory::NewVm;
use crate::pool::incident::IncidentKind;
use crate::pool::record::NewRecord;
use crate::pool::refill::RefillCaller;
use crate::pool::slot::{Grant, OccupiedSlot};
use crate::pool::stats::DestroyReason;
use crate::pool::sync::Instant;

impl<V> Registry<V> {
    /// Whether the factory may be asked for another VM.
    ///
    /// # Errors
    ///
    /// [`PoolError::Closed`], and [`PoolError::FactoryHangs`] when too many builds haven't returned.
    pub(crate) fn may_build(&self) -> Result<(), PoolError> {
        let hung = self.builds.hung;
        if self.closed {
            Err(PoolError::Closed)
        } else if hung >= self.config.max_size {
            Err(PoolError::FactoryHangs { hung, limit: self.config.create_timeout })
        } else {
            Ok(())
        }
    }

    /// Turns a reserved slot into a build. Returns its number.
    pub(crate) fn begin_build(
        &mut self,
        generation: u64,
        owner: Option<BuildOwner<V>>,
        began: Instant,
    ) -> u64 {
        self.reserved -= 1;
        let number = self.builds.next;
        self.builds.next += 1;
        self.builds.running.insert(number, Build { began, generation, owner });
        number
    }

    /// Takes the owner of a build away, unless the build is over.
    pub(crate) fn abandon_build(&mut self, number: u64) -> Option<BuildOwner<V>> {
        self.builds.running.get_mut(&number)?.owner.take()
    }

    /// Takes a slot for a VM that nobody waits for, if fewer than `min_size` are alive, or if `one_more` is wanted
    /// and none is being made.
    pub(crate) fn grant_refill(&mut self, one_more: bool, caller: RefillCaller) -> Option<u64> {
        let wanted = self.missing() > 0 || (one_more && self.builds.len() == 0);
        if !wanted || self.health.is_resting(caller) || self.may_build().is_err() {
            return None;
        }
        match self.grant_vacant()? {
            Grant::Vacant(generation) => Some(generation),
            _ => None,
        }
    }

    /// How many VMs are missing up to `min_size`. Those being made count.
    pub(crate) fn missing(&self) -> usize {
        if self.closed || self.suspended {
            return 0;
        }
        self.config.kept_size().saturating_sub(self.taken())
    }

    /// When the build will have taken too long; `None` when it is over.
    pub(crate) fn expiry(&self, number: u64) -> Option<Instant> {
        let build = self.builds.running.get(&number)?;
        build.began.checked_add(self.config.create_timeout)
    }

    /// When the next build will have taken too long.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let first = self.builds.running.values().map(|build| build.began).min()?;
        first.checked_add(self.config.create_timeout)
    }

    /// Gives up the builds that have taken too long: their slots are free, and a VM that they make later is
    /// destroyed at once.
    pub(crate) fn expire_builds(&mut self, now: Instant) -> Vec<ExpiredBuild<V>> {
        let limit = self.config.create_timeout;
        let late = |build: &Build<V>| now.saturating_duration_since(build.began) >= limit;
        let expired: Vec<Build<V>> =
            self.builds.running.extract_if(.., |_, build| late(build)).map(|(_, it)| it).collect();
        self.builds.hung += expired.len();
        expired.into_iter().map(|build| self.note_late(build)).collect()
    }

    fn note_late(&mut self, build: Build<V>) -> ExpiredBuild<V> {
        let limit = self.config.create_timeout;
        self.counts.create_errors += 1;
        self.counts.create_timeouts += 1;
        if build.owner.is_none() {
            self.health.note_failed_refill();
        }
        let message = format!(
            "a VM was not made within {limit:?} and is given up; mend the factory, or raise \
             `create_timeout`"
        );
        self.note(IncidentKind::CreateTimedOut, None, message);
        ExpiredBuild { owner: build.owner, limit }
    }

    /// Removes a build whose thread didn't start.
    pub(crate) fn cancel_build(&mut self, number: u64) {
        match self.builds.running.remove(&number) {
            Some(_) => self.counts.create_errors += 1,
            None => self.builds.hung -= 1,
        }
        self.health.note_failed_refill();
    }

    /// Removes a build that is over, with or without a VM.
    ///
    /// # Errors
    ///
    /// If it took too long: it was given up before, or is now. Its owner, if it still has one, must be told.
    pub(crate) fn end_build(
        &mut self,
        number: u64,
        now: Instant,
    ) -> Result<Build<V>, ExpiredBuild<V>> {
        let Some(build) = self.builds.running.remove(&number) else {
            self.builds.hung -= 1;
            let limit = self.config.create_timeout;
            return Err(ExpiredBuild { owner: None, limit });
        };
        if now.saturating_duration_since(build.began) > self.config.create_timeout {
            return Err(self.note_late(build));
        }
        Ok(build)
    }

    /// Enters the VM of a build. It is out at once: with its owner, or with the pool itself.
    pub(crate) fn admit_build(
        &mut self,
        build: Build<V>,
        made: NewVm<V>,
        now: Instant,
    ) -> (OccupiedSlot<V>, Option<BuildOwner<V>>) {
        self.timings.create.record(now.saturating_duration_since(build.began));
        self.health.note_made_vm();
        let (id, generation) = (self.next_id(), build.generation);
        let NewVm { vm, identity, report, interrupter } = made;
        let new = NewRecord { id, generation, made: now, report, interrupter };
        let borrower = build.owner.as_ref().and_then(|owner| owner.borrower);
        (self.admit(vm, identity, new, borrower), build.owner)
    }

    /// Counts a VM that couldn't be made. Returns the owner of the build.
    pub(crate) fn fail_build(&mut self, build: Build<V>) -> Option<BuildOwner<V>> {
        self.counts.create_errors += 1;
        if build.owner.is_none() {
            self.health.note_failed_refill();
        }
        build.owner
    }

    /// Counts a VM that was made after its build was given up, and was destroyed at once.
    pub(crate) fn note_too_late(&mut self) {
        self.counts.created += 1;
        self.counts.destroyed_by[DestroyReason::TooLate as usize] += 1;
    }
}
