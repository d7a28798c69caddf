//! The VMs that are being made, each on a thread of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::health::Asker;
use super::{Grant, Registry, Slot};
use crate::pool::error::PoolError;
use crate::pool::factory::Made;
use crate::pool::handover::Giver;
use crate::pool::incident::IncidentKind;
use crate::pool::record::{Birth, Borrower};
use crate::pool::stats::DestroyReason;
use crate::pool::sync::Instant;

/// A VM that is being made.
pub(crate) struct Build<V> {
    pub(crate) began: Instant,
    generation: u64,
    /// Who waits for it; `None` when it is for whoever comes.
    owner: Option<Owner<V>>,
}

/// Who waits for a VM that is being made.
pub(crate) struct Owner<V> {
    pub(crate) borrower: Borrower,
    pub(crate) giver: Giver<Result<Slot<V>, PoolError>>,
}

/// A build that took too long: its owner, who is to be told so.
pub(crate) struct Expired<V> {
    pub(crate) owner: Option<Owner<V>>,
    pub(crate) limit: Duration,
}

/// The table of builds.
pub(crate) struct Builds<V> {
    running: BTreeMap<u64, Build<V>>,
    next: u64,
    /// Threads whose build took too long and that haven't come back.
    hung: usize,
}

impl<V> Builds<V> {
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn hung(&self) -> usize {
        self.hung
    }

    /// Sends away all who wait for a build; the builds go on.
    pub(crate) fn disown(&mut self) -> Vec<Owner<V>> {
        self.running.values_mut().filter_map(|build| build.owner.take()).collect()
    }
}

impl<V> Default for Builds<V> {
    fn default() -> Self {
        Self { running: BTreeMap::new(), next: 0, hung: 0 }
    }
}

impl<V> Registry<V> {
    /// Whether the factory may be asked for another VM.
    ///
    /// # Errors
    ///
    /// [`PoolError::Closed`], and [`PoolError::FactoryHangs`] when too many builds haven't come back.
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

    /// Turns a slot in hand into a build. Returns its number.
    pub(crate) fn begin_build(
        &mut self,
        generation: u64,
        owner: Option<Owner<V>>,
        began: Instant,
    ) -> u64 {
        self.reserved -= 1;
        let number = self.builds.next;
        self.builds.next += 1;
        self.builds.running.insert(number, Build { began, generation, owner });
        number
    }

    /// Nobody waits for this build any longer. Returns who did, if it isn't over.
    pub(crate) fn disown_build(&mut self, number: u64) -> Option<Owner<V>> {
        self.builds.running.get_mut(&number)?.owner.take()
    }

    /// A slot for a VM that nobody waits for, if `min_size` isn't reached or `one_more` is wanted
    /// because none is being made.
    pub(crate) fn grant_refill(&mut self, one_more: bool, asker: Asker) -> Option<u64> {
        let wanted = self.missing() > 0 || (one_more && self.builds.len() == 0);
        if !wanted || self.health.is_discouraged(asker) || self.may_build().is_err() {
            return None;
        }
        match self.grant_vacant()? {
            Grant::Vacant(generation) => Some(generation),
            _ => None,
        }
    }

    /// How many VMs `min_size` is short of; those being made are counted as made.
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

    /// Gives up the builds that have taken too long: their slots are free, and what comes out of
    /// them later is destroyed at once.
    pub(crate) fn expire_builds(&mut self, now: Instant) -> Vec<Expired<V>> {
        let limit = self.config.create_timeout;
        let late = |build: &Build<V>| now.saturating_duration_since(build.began) >= limit;
        let expired: Vec<Build<V>> =
            self.builds.running.extract_if(.., |_, build| late(build)).map(|(_, it)| it).collect();
        self.builds.hung += expired.len();
        expired.into_iter().map(|build| self.note_late(build)).collect()
    }

    fn note_late(&mut self, build: Build<V>) -> Expired<V> {
        let limit = self.config.create_timeout;
        self.counts.create_errors += 1;
        self.counts.create_timeouts += 1;
        if build.owner.is_none() {
            self.health.discourage();
        }
        let message = format!(
            "a VM was not made within {limit:?} and is given up; mend the factory, or raise \
             `create_timeout`"
        );
        self.note(IncidentKind::CreateTimedOut, None, message);
        Expired { owner: build.owner, limit }
    }

    /// Takes a build that never began off the books.
    pub(crate) fn cancel_build(&mut self, number: u64) {
        match self.builds.running.remove(&number) {
            Some(_) => self.counts.create_errors += 1,
            None => self.builds.hung -= 1,
        }
        self.health.discourage();
    }

    /// A build is over, with or without a VM. The build comes back unless it was given up before, or
    /// took too long and is given up now; then its owner, if it still has one, is to be told.
    pub(crate) fn end_build(&mut self, number: u64, now: Instant) -> Result<Build<V>, Expired<V>> {
        let Some(build) = self.builds.running.remove(&number) else {
            self.builds.hung -= 1;
            let limit = self.config.create_timeout;
            return Err(Expired { owner: None, limit });
        };
        if now.saturating_duration_since(build.began) > self.config.create_timeout {
            return Err(self.note_late(build));
        }
        Ok(build)
    }

    /// Enters the VM of a build. It is out at once, to its owner or in the pool's own hands.
    pub(crate) fn admit_build(
        &mut self,
        build: Build<V>,
        made: Made<V>,
        now: Instant,
    ) -> (Slot<V>, Option<Owner<V>>) {
        self.timings.create.record(now.saturating_duration_since(build.began));
        self.health.encourage();
        let (id, generation) = (self.next_id(), build.generation);
        let Made { vm, identity, report, interrupter } = made;
        let birth = Birth { id, generation, made: now, report, interrupter };
        let borrower = build.owner.as_ref().and_then(|owner| owner.borrower);
        (self.admit(vm, identity, birth, borrower), build.owner)
    }

    /// Counts a VM that couldn't be made. Returns who waits for it.
    pub(crate) fn fail_build(&mut self, build: Build<V>) -> Option<Owner<V>> {
        self.counts.create_errors += 1;
        if build.owner.is_none() {
            self.health.discourage();
        }
        build.owner
    }

    /// Counts a VM that came into being after its build was given up, and is gone already.
    pub(crate) fn note_too_late(&mut self) {
        self.counts.created += 1;
        self.counts.destroyed_by[DestroyReason::TooLate as usize] += 1;
    }
}
