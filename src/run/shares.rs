//! [`Shares`]: what invocations may use up together in one stage.
//!
//! - All entities that descend from one because scripts spawned them, a *descent*, may work together as much as some
//!   full runs, and spawn together as many entities as one run may. So a script can't take over the frame by
//!   multiplying.
//! - All runs of a stage may hand over [`MAX_STAGE_BYTES`] together.
//!
//! Invocations beyond that wait for the next stage: they don't run, or their outcomes are dropped.
//!
//! Which ones wait must depend neither on a clock nor on the scheduling of threads. So work is counted in steps of
//! the scripts, and usage is summed up in the order of turns: an invocation waits if the sum of those before it is
//! too large. While threads run invocations side by side, only a part of each sum is known. A sum only grows, so that
//! part is enough to skip invocations that will have to wait in any case, and the work ends early. When all threads
//! are done, [`Shares::defer_excess`] decides about the rest.

mod descent;
mod limits;
mod spawn_warning;
mod turns;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bevy::prelude::Entity;

use crate::run::invocation::Invocation;
use crate::run::outcome::InvocationOutcome;
use crate::run::program_table::ProgramTable;
use crate::run::shares::descent::{DescendantUsage, Descent, UsageSum};
use crate::run::shares::limits::MAX_DESCENT_WEIGHT;
use crate::run::shares::spawn_warning::SpawnWarning;

pub(crate) use self::limits::{FULL_RUN, ProgramLimits};
pub(crate) use self::turns::Turns;

/// Bytes that all runs of one stage may hand over.
const MAX_STAGE_BYTES: u64 = 256 * 1024 * 1024;

/// What the runs of one invocation used up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct InvocationUsage {
    /// In units of 1 / [`FULL_RUN`].
    pub(super) work: u64,
    /// Bytes handed over.
    pub(super) bytes: usize,
    /// Entities spawned.
    pub(super) spawned: usize,
}

/// What invocations may use up together in one stage, and what they have used up.
#[derive(Default)]
pub(crate) struct Shares {
    descents: Vec<Descent>,
    /// The numbers of the descents, by origin.
    numbers: HashMap<Entity, u32>,
    /// The usage of each invocation of a descent: those of one descent side by side, in the order of their turns.
    descendants: Vec<DescendantUsage>,
    /// Bytes that each invocation handed over, by its turn. Most stages need none.
    bytes: OnceLock<Box<[AtomicU64]>>,
    all_bytes: AtomicU64,
    /// From this turn on no invocation may hand over bytes.
    bytes_end: AtomicUsize,
    /// Some sum was too large: [`Shares::defer_excess`] has something to do.
    any_excess: AtomicBool,
    descent_spawns: SpawnWarning,
    stop_spawns: SpawnWarning,
}

impl Shares {
    /// The origin of the descent that all invocations of `on_stop` belong to.
    const STOPS: Entity = Entity::PLACEHOLDER;

    pub(super) fn clear(&mut self) {
        self.descents.clear();
        self.numbers.clear();
    }

    /// Counts an invocation of `on_stop`; gives the number of its descent.
    pub(super) fn count_stop(&mut self) -> Option<u32> {
        self.count(Some(Self::STOPS))
    }

    /// Counts an invocation whose entity descends from `origin`; gives the number of its descent.
    pub(super) fn count(&mut self, origin: Option<Entity>) -> Option<u32> {
        let (next, origin) = (self.descents.len() as u32, origin?);
        let number = *self.numbers.entry(origin).or_insert(next);
        if number == next {
            self.descents.push(Descent::new(origin));
        }
        self.descents[number as usize].invocations += 1;
        Some(number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.descents.is_empty()
    }

    /// How many descents there are.
    pub(super) fn len(&self) -> usize {
        self.descents.len()
    }

    /// Sets all usage to zero, and gives each invocation of a descent its place in it, in the order of turns.
    pub(super) fn begin_stage(&mut self, invocations: &mut [Invocation], order: Option<&[usize]>) {
        self.bytes = OnceLock::new();
        self.all_bytes = AtomicU64::new(0);
        self.bytes_end = AtomicUsize::new(usize::MAX);
        self.any_excess = AtomicBool::new(false);
        self.descent_spawns.clear();
        self.stop_spawns.clear();
        self.descendants.clear();
        if self.descents.is_empty() {
            return;
        }
        let mut first = 0;
        for descent in &mut self.descents {
            let invocations = descent.invocations;
            *descent = Descent { invocations, first, ..Descent::new(descent.origin) };
            first += invocations;
        }
        self.descendants.resize_with(first, DescendantUsage::default);
        let mut next: Vec<_> = self.descents.iter().map(|descent| descent.first).collect();
        for turn in 0..invocations.len() {
            let invocation = &mut invocations[order.map_or(turn, |order| order[turn])];
            if let Some(more) = &mut invocation.more
                && let Some(origin) = more.origin
            {
                more.place = next[origin as usize];
                next[origin as usize] += 1;
            }
        }
    }

    /// The entity from which the invocation's entity descends, if a script spawned that.
    pub(super) fn origin_of(&self, invocation: &Invocation) -> Option<Entity> {
        match invocation.stop() {
            Some(last) => last.origin,
            None => self.descent_of(invocation).map(|(descent, _)| descent.origin),
        }
    }

    /// The invocation's descent, and its place among all invocations of descents.
    fn descent_of(&self, invocation: &Invocation) -> Option<(&Descent, usize)> {
        let more = invocation.more.as_ref()?;
        Some((&self.descents[more.origin? as usize], more.place))
    }

    /// Whether an invocation may run, as far as is known.
    #[inline]
    pub(super) fn may_run(&self, invocation: &Invocation) -> bool {
        invocation.more.is_none() || self.descendant_may_run(invocation)
    }

    fn descendant_may_run(&self, invocation: &Invocation) -> bool {
        let Some((descent, place)) = self.descent_of(invocation) else { return true };
        if descent.weight.load(Ordering::Relaxed) <= MAX_DESCENT_WEIGHT {
            return true;
        }
        if place >= descent.end.load(Ordering::Relaxed) {
            return false;
        }
        let may_run = !self.sum_before(descent, place).excludes_next(0, 0);
        if !may_run {
            descent.end.fetch_min(place, Ordering::Relaxed);
        }
        may_run
    }

    /// What the invocations of the descent before a place have used up, as far as is known.
    fn sum_before(&self, descent: &Descent, place: usize) -> UsageSum {
        let mut sum = UsageSum::NONE;
        self.descendants[descent.first..place].iter().for_each(|usage| sum.add(usage));
        sum
    }

    /// An invocation doesn't run in this stage.
    pub(super) fn skip(&self, invocation: &Invocation) {
        if let Some((_, place)) = self.descent_of(invocation) {
            self.descendants[place].set(0, 0);
        }
    }

    /// Counts what the invocation that has this turn used up. Gives whether its outcome may stay, as far as is known.
    #[inline]
    pub(super) fn charge(&self, turns: Turns<'_>, turn: usize, usage: InvocationUsage) -> bool {
        let invocation = turns.at(turn);
        (invocation.more.is_none() || self.charge_descent(turns, invocation, usage))
            && (usage.bytes == 0 || self.charge_bytes(turns, turn, usage.bytes as u64))
    }

    fn charge_descent(
        &self,
        turns: Turns<'_>,
        invocation: &Invocation,
        usage: InvocationUsage,
    ) -> bool {
        let Some((descent, place)) = self.descent_of(invocation) else { return true };
        let limits = turns.limits(invocation);
        let weight = limits.weight(usage.work, usage.bytes as u64);
        let spawned = usage.spawned as u64;
        self.descendants[place].set(weight, spawned);
        let all = descent.weight.fetch_add(weight, Ordering::Relaxed).saturating_add(weight);
        let all_spawned = descent.spawned.fetch_add(spawned, Ordering::Relaxed) + spawned;
        if all > MAX_DESCENT_WEIGHT || spawned > 0 && all_spawned > limits.spawned {
            self.any_excess.store(true, Ordering::Relaxed);
            if all_spawned > limits.spawned {
                let is_stop = descent.origin == Self::STOPS;
                if is_stop { &self.stop_spawns } else { &self.descent_spawns }.note(invocation);
            }
            return !self.sum_before(descent, place).excludes_next(spawned, limits.spawned);
        }
        // Another invocation may have a smaller limit, and know of this one only when all are done.
        if all_spawned > turns.least_spawned() {
            self.any_excess.store(true, Ordering::Relaxed);
        }
        true
    }

    fn charge_bytes(&self, turns: Turns<'_>, turn: usize, bytes: u64) -> bool {
        let zeros = || (0..turns.len()).map(|_| AtomicU64::new(0)).collect();
        self.bytes.get_or_init(zeros)[turn].store(bytes, Ordering::Relaxed);
        let all = self.all_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all <= MAX_STAGE_BYTES {
            return true;
        }
        self.any_excess.store(true, Ordering::Relaxed);
        if turn >= self.bytes_end.load(Ordering::Relaxed) {
            return false;
        }
        let before = self.decide(turns, turn, |_, _| {});
        if before > MAX_STAGE_BYTES {
            self.bytes_end.fetch_min(turn, Ordering::Relaxed);
        }
        before <= MAX_STAGE_BYTES
    }

    /// Passes each turn before `end` to `decided`, with whether the outcome of its invocation may stay as far as is
    /// known. Gives the bytes of those that are certain to stay.
    fn decide(&self, turns: Turns<'_>, end: usize, mut decided: impl FnMut(usize, bool)) -> u64 {
        let mut sums = vec![UsageSum::NONE; self.descents.len()];
        let bytes = self.bytes.get();
        let mut all_bytes = 0_u64;
        for turn in 0..end {
            let invocation = turns.at(turn);
            let mut stays = true;
            let mut is_certain = true;
            if let Some(more) = &invocation.more
                && let Some(origin) = more.origin
            {
                let sum = &mut sums[origin as usize];
                let usage = &self.descendants[more.place];
                stays = !sum.excludes_next(usage.spawned(), turns.limits(invocation).spawned);
                is_certain = sum.is_complete && usage.weight().is_some();
                sum.add(usage);
            }
            let bytes = bytes.map_or(0, |bytes| bytes[turn].load(Ordering::Relaxed));
            if stays && bytes > 0 {
                stays = all_bytes <= MAX_STAGE_BYTES;
                all_bytes += if is_certain { bytes } else { 0 };
            }
            decided(turn, stays);
        }
        all_bytes
    }

    /// Calls `defer` for the outcomes that can't stay, once all invocations have run. `outcomes` are in the order of
    /// turns.
    pub(super) fn defer_excess(
        &self,
        turns: Turns<'_>,
        outcomes: &mut [InvocationOutcome],
        mut defer: impl FnMut(usize, &mut InvocationOutcome),
    ) {
        if !self.any_excess.load(Ordering::Relaxed) {
            return;
        }
        self.decide(turns, outcomes.len(), |turn, stays| {
            if !stays {
                defer(turn, &mut outcomes[turn]);
            }
        });
    }

    /// Warns, once in an app for each, if the entities of a descent or all `on_stop`s wanted to spawn more than they
    /// may.
    pub(super) fn warn_of_spawns(&mut self, programs: &ProgramTable, limits: &[ProgramLimits]) {
        let descendants =
            "on all entities that descend from one because scripts spawned them, scripts";
        self.descent_spawns.log(programs, limits, descendants);
        self.stop_spawns.log(programs, limits, "all `on_stop`s, whoever's they are,");
    }
}

#[cfg(test)]
mod tests;
