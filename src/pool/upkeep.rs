//! What keeps a pool in shape besides leases: filling, evicting, resizing.

use std::time::Instant;

use crate::pool::config::PoolConfig;
use crate::pool::error::PoolError;
use crate::pool::factory::describe;
use crate::pool::incident::IncidentKind;
use crate::pool::registry::{Registry, Slot};
use crate::pool::slots::Slots;
use crate::pool::stats::{DestroyReason, Maintained};

impl<V: 'static> Slots<V> {
    /// Does what is due at this time.
    pub(crate) fn maintain(&self, now: Instant) -> Maintained {
        let mut done = Maintained::default();
        // `set_config` can miss a slot whose token is under way at that moment.
        self.shrink();
        while let Some((slot, reason)) = self.take_idle(|registry| registry.due(now)) {
            match reason {
                DestroyReason::Lifetime => done.lifetime += 1,
                DestroyReason::UseCount => done.use_count += 1,
                DestroyReason::Evicted => done.stale += 1,
                _ => done.idle += 1,
            }
            drop(self.retire(slot, reason));
        }
        let (created, outcome) = self.fill();
        done.created = created;
        if let Err(PoolError::Create(error)) = outcome {
            let message = describe(error);
            let kind = IncidentKind::CreateFailed;
            self.registry().note(kind, None, message);
        }
        let mut registry = self.registry();
        registry.note_overdue(now);
        (done.incidents, done.incidents_lost) = registry.take_incidents();
        done
    }

    /// Makes VMs until `min_size` is reached. Returns how many, and what stopped it.
    pub(crate) fn fill(&self) -> (usize, Result<(), PoolError>) {
        let mut made = 0;
        while self.registry().missing() > 0 && self.tokens.take_vacant() {
            let Some(vacancy) = self.occupy() else {
                continue;
            };
            // Somebody else may have begun the last missing one meanwhile.
            if self.registry().is_overfull() {
                break;
            }
            match self.build(vacancy, None) {
                Ok(slot) => {
                    let checked = self.registry().check_in(slot, None);
                    self.announce(checked);
                    made += 1;
                }
                Err(error) => return (made, Err(error)),
            }
        }
        (made, Ok(()))
    }

    /// Destroys the idle VMs there are, and the others when they come back.
    pub(crate) fn evict_all(&self) -> usize {
        self.registry().raise_generation();
        let mut evicted = 0;
        while let Some((slot, reason)) = self.take_idle(Registry::first_stale) {
            drop(self.retire(slot, reason));
            evicted += 1;
        }
        evicted
    }

    /// Takes over a new configuration: more slots at once, fewer as they fall vacant.
    pub(crate) fn reconfigure(&self, config: PoolConfig) {
        let more = self.registry().reconfigure(config);
        (0..more).for_each(|_| self.tokens.send_vacant());
        self.shrink();
    }

    /// Ends slots that are too many, vacant ones first. Leased ones end when their lease does.
    pub(crate) fn shrink(&self) {
        while self.registry().surplus() > 0 && self.tokens.take_vacant() {
            // Ends the slot, or gives it back if somebody else has paid the surplus meanwhile.
            drop(self.occupy());
        }
        while let Some((slot, reason)) = self.take_idle(Registry::first_surplus) {
            drop(self.retire(slot, reason));
        }
    }

    /// Takes out one idle VM that `choose` points at. The pool is its borrower.
    pub(crate) fn take_idle(
        &self,
        choose: impl Fn(&Registry<V>) -> Option<(usize, DestroyReason)>,
    ) -> Option<(Slot<V>, DestroyReason)> {
        // Looking first keeps the tokens where they are in the common case that nothing is due.
        choose(&self.registry())?;
        if !self.tokens.take_ready() {
            return None;
        }
        let mut registry = self.registry();
        let chosen = if registry.is_closed() { None } else { choose(&registry) };
        if let Some((index, reason)) = chosen {
            return Some((registry.take(index, None), reason));
        }
        drop(registry);
        self.tokens.send_ready();
        None
    }
}
