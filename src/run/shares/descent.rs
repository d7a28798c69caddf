//! [`Descent`]: the invocations whose entities descend from one, and what they have used up.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bevy::prelude::Entity;

use crate::run::shares::limits::MAX_DESCENT_WEIGHT;

/// The invocations of a stage whose entities descend from one.
pub(super) struct Descent {
    pub(super) origin: Entity,
    pub(super) invocations: usize,
    /// The place of the first one among all invocations of descents.
    pub(super) first: usize,
    /// The sum of the weights that are known.
    pub(super) weight: AtomicU64,
    /// The sum of the spawned entities that are known.
    pub(super) spawned: AtomicU64,
    /// From this place on no invocation may run.
    pub(super) end: AtomicUsize,
}

impl Descent {
    pub(super) fn new(origin: Entity) -> Self {
        Self {
            origin,
            invocations: 0,
            first: 0,
            weight: AtomicU64::new(0),
            spawned: AtomicU64::new(0),
            end: AtomicUsize::new(usize::MAX),
        }
    }
}

/// What one invocation of a descent has used up.
#[derive(Default)]
pub(super) struct DescendantUsage {
    /// The weight plus one; 0 while it isn't known.
    weight_plus_one: AtomicU64,
    spawned: AtomicU64,
}

impl DescendantUsage {
    /// The weight, once it is known.
    pub(super) fn weight(&self) -> Option<u64> {
        self.weight_plus_one.load(Ordering::Acquire).checked_sub(1)
    }

    pub(super) fn spawned(&self) -> u64 {
        self.spawned.load(Ordering::Relaxed)
    }

    /// The invocation has run, or is known not to run: then both are 0.
    pub(super) fn set(&self, weight: u64, spawned: u64) {
        self.spawned.store(spawned, Ordering::Relaxed);
        self.weight_plus_one.store(weight.saturating_add(1), Ordering::Release);
    }
}

/// What a number of invocations of a descent have used up together.
#[derive(Clone, Copy)]
pub(super) struct UsageSum {
    weight: u64,
    spawned: u64,
    /// Whether the usage of all of them is known.
    pub(super) is_complete: bool,
}

impl UsageSum {
    pub(super) const NONE: Self = Self { weight: 0, spawned: 0, is_complete: true };

    /// Whether the next invocation, which spawned `spawned` entities, has to wait. If the sum is not complete, `false`
    /// is no more than a guess.
    pub(super) fn excludes_next(self, spawned: u64, max_spawned: u64) -> bool {
        self.weight > MAX_DESCENT_WEIGHT
            // The first one that spawns may spawn any number, or it would wait for ever.
            || spawned > 0 && self.spawned > 0 && self.spawned + spawned > max_spawned
    }

    pub(super) fn add(&mut self, invocation: &DescendantUsage) {
        let weight = invocation.weight();
        self.is_complete &= weight.is_some();
        self.weight = self.weight.saturating_add(weight.unwrap_or(0));
        self.spawned = self.spawned.saturating_add(invocation.spawned());
    }
}
