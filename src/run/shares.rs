//! [`Shares`]: what those may use up together in one stage who have something in common.
//!
//! All entities that descend from one because scripts spawned them work together as much as some runs may, and
//! spawn together what one run may. So no script can make more and more of itself and take the frame. All runs
//! of a stage hand over together what fits into memory. Who comes after that waits for the next stage: it isn't
//! run, or what came of its runs is dropped, as if they had not been.
//!
//! Who that is must depend neither on a clock nor on which thread runs what. So work is counted in steps of the
//! scripts, and what is used up is summed up in the order in which the invocations have their turns: whoever comes
//! after the place where a sum is too large waits, and everybody before it runs. While threads run invocations side by
//! side, the sums are known in part: that is enough to tell of some invocations that they wait whatever the others
//! do, so that the work ends. Of the rest it is told when all are done.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bevy::log::warn;
use bevy::prelude::Entity;

use crate::bindings::max_bytes_handed_over;
use crate::config::LuaPoolConfig;
use crate::run::invocation::{Invocation, InvocationOutcome};
use crate::run::program_table::ProgramTable;
use crate::vm::{Program, RunLimits, STEP_NANOS, Used};

/// The work that one run may do at most, by its limit of time.
pub(super) const WHOLE: u64 = 1 << 20;

/// All descendants of one entity may do so much together. Many short runs are what games are made of.
const TOGETHER: u64 = 32 * WHOLE;

/// A run that does such a part of what it may is long.
const LONG: u64 = WHOLE / 64;

/// Of long runs there may be fewer.
const WEIGHT_OF_LONG: u64 = 4;

/// Handing over all that a run may is worth so many of them.
const WEIGHT_OF_BYTES: u64 = 2;

/// The steps that a run takes which does nothing.
const STEPS_OF_RUN: u64 = 100;

/// Bytes that all runs of one stage may hand over.
const MAX_STAGE_BYTES: u64 = 256 * 1024 * 1024;

/// What the runs of one program may use up, and those of its kin together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(super) run: RunLimits,
    /// Commands of one run.
    pub(super) commands: usize,
    /// Whether it may write numbers that are not finite.
    pub(super) allow_non_finite: bool,
    /// Entities that all of one descent may spawn in a stage, when it is an invocation of this program that does.
    spawned: u64,
    /// The steps that fill the time of one run.
    steps: u64,
    /// Bytes that one run may hand over.
    bytes: u64,
    /// Its file level runs for each run, which was known when the stage began.
    runs_file_level: bool,
}

impl Limits {
    pub(super) fn of(program: &Program, config: &LuaPoolConfig) -> Self {
        let of_script = config.sandbox.limits_of(program.name());
        let run = RunLimits::new(config, &of_script);
        let commands = of_script.max_commands.unwrap_or(config.max_commands);
        let steps = run.time.as_nanos() / u128::from(STEP_NANOS);
        Self {
            run,
            commands,
            allow_non_finite: of_script.allow_non_finite.unwrap_or(false),
            spawned: of_script.max_spawned_together.unwrap_or(commands) as u64,
            steps: u64::try_from(steps).unwrap_or(u64::MAX).max(1),
            bytes: max_bytes_handed_over(config).max(1) as u64,
            runs_file_level: program.mutable().is_some(),
        }
    }

    /// The work of one run; one that met a hard limit did all that it may.
    pub(super) fn work(&self, used: Used, met_limit: bool) -> u64 {
        let file_level = if self.runs_file_level { used.file_steps } else { 0 };
        let steps = STEPS_OF_RUN.saturating_add(used.steps).saturating_add(file_level);
        let work = part(steps, self.steps);
        if met_limit { work.max(WHOLE) } else { work }
    }

    /// What an invocation uses up of what its kin have together.
    fn weight(&self, work: u64, bytes: u64) -> u64 {
        let work = if work < LONG { work } else { work.saturating_mul(WEIGHT_OF_LONG) };
        work.saturating_add(part(bytes, self.bytes).saturating_mul(WEIGHT_OF_BYTES))
    }
}

/// How much of what there is, in [`WHOLE`]s.
fn part(of: u64, all: u64) -> u64 {
    let part = u128::from(of) * u128::from(WHOLE) / u128::from(all);
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// What the runs of one invocation used up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) work: u64,
    pub(super) bytes: usize,
    pub(super) spawned: usize,
}

/// Who shares what in a stage, and what was used up of it.
#[derive(Default)]
pub(crate) struct Shares {
    kin: Vec<Kin>,
    numbers: HashMap<Entity, u32>,
    /// What each invocation that has kin used up, by its place among all such invocations: those of one descent side by
    /// side, in the order of their turns.
    of_invocations: Vec<InvocationShare>,
    /// Bytes that each invocation handed over, by its turn. Most stages need none.
    bytes: OnceLock<Box<[AtomicU64]>>,
    all_bytes: AtomicU64,
    /// From this turn on nobody may hand over bytes.
    bytes_end: AtomicUsize,
    /// The share of somebody was too small.
    any_over: AtomicBool,
    /// Entities that scripts spawned would have spawned more than is left.
    descent_spawns: SpawnsTooMuch,
    /// `on_stop`s would have.
    stops_spawn: SpawnsTooMuch,
}

/// That some would have spawned more than is left.
#[derive(Default)]
struct SpawnsTooMuch {
    /// The number of a program that would have, plus one.
    program: AtomicUsize,
    /// That was told.
    told: bool,
}

impl SpawnsTooMuch {
    fn note(&self, invocation: &Invocation) {
        self.program.store(invocation.program as usize + 1, Ordering::Relaxed);
    }

    /// The number of the program, if it has not been told yet.
    fn take_untold(&mut self) -> Option<usize> {
        let program = self.program.get_mut().checked_sub(1).filter(|_| !self.told);
        self.told |= program.is_some();
        program
    }
}

/// The invocations that descend from one entity.
struct Kin {
    origin: Entity,
    invocations: usize,
    /// The place of the first one.
    first: usize,
    weight: AtomicU64,
    spawned: AtomicU64,
    /// From this place on nobody may run.
    end: AtomicUsize,
}

impl Kin {
    fn of(origin: Entity) -> Self {
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

/// What one invocation used up.
#[derive(Default)]
struct InvocationShare {
    /// One more than its weight; 0 while it isn't known.
    weight: AtomicU64,
    spawned: AtomicU64,
}

impl InvocationShare {
    /// The weight, once it is known.
    fn weight(&self) -> Option<u64> {
        self.weight.load(Ordering::Acquire).checked_sub(1)
    }
}

/// The sums of a descent before an invocation.
#[derive(Clone, Copy)]
struct Before {
    weight: u64,
    spawned: u64,
    /// What all before used up is known.
    all_known: bool,
}

impl Before {
    const NOTHING: Self = Self { weight: 0, spawned: 0, all_known: true };

    /// Whether an invocation must wait, as far as is known, that spawned so many.
    fn is_too_much(self, spawned: u64, limit: u64) -> bool {
        self.weight > TOGETHER
            // The first one may, however many there are: it would wait for ever.
            || spawned > 0 && self.spawned > 0 && self.spawned + spawned > limit
    }

    fn add(&mut self, invocation: &InvocationShare) {
        let weight = invocation.weight();
        self.all_known &= weight.is_some();
        self.weight = self.weight.saturating_add(weight.unwrap_or(0));
        self.spawned = self.spawned.saturating_add(invocation.spawned.load(Ordering::Relaxed));
    }
}

impl Shares {
    /// All that stop share as if they descended from this one.
    const OF_STOPS: Entity = Entity::PLACEHOLDER;

    pub(super) fn clear(&mut self) {
        self.kin.clear();
        self.numbers.clear();
    }

    /// Counts an invocation that stops; gives the number of those.
    pub(super) fn count_stop(&mut self) -> Option<u32> {
        self.count(Some(Self::OF_STOPS))
    }

    /// Counts an invocation whose entity descends from another one; gives the number of that.
    pub(super) fn count(&mut self, origin: Option<Entity>) -> Option<u32> {
        let (next, origin) = (self.kin.len() as u32, origin?);
        let number = *self.numbers.entry(origin).or_insert(next);
        if number == next {
            self.kin.push(Kin::of(origin));
        }
        self.kin[number as usize].invocations += 1;
        Some(number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kin.is_empty()
    }

    /// How many entities there are from which invocations descend.
    pub(super) fn len(&self) -> usize {
        self.kin.len()
    }

    /// Gives each invocation that has kin its place among all of them, in the order of their turns. Nothing is used
    /// up yet.
    pub(super) fn line_up(&mut self, invocations: &mut [Invocation], order: Option<&[usize]>) {
        self.bytes = OnceLock::new();
        self.all_bytes = AtomicU64::new(0);
        self.bytes_end = AtomicUsize::new(usize::MAX);
        self.any_over = AtomicBool::new(false);
        self.descent_spawns.program = AtomicUsize::new(0);
        self.stops_spawn.program = AtomicUsize::new(0);
        self.of_invocations.clear();
        if self.kin.is_empty() {
            return;
        }
        let mut first = 0;
        for kin in &mut self.kin {
            *kin = Kin { invocations: kin.invocations, first, ..Kin::of(kin.origin) };
            first += kin.invocations;
        }
        self.of_invocations.resize_with(first, InvocationShare::default);
        let mut next: Vec<_> = self.kin.iter().map(|kin| kin.first).collect();
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

    /// The entity from which that of an invocation descends, if a script spawned it.
    pub(super) fn origin_of(&self, invocation: &Invocation) -> Option<Entity> {
        match invocation.stop() {
            Some(last) => last.origin,
            None => self.of(invocation).map(|(kin, _)| kin.origin),
        }
    }

    fn of(&self, invocation: &Invocation) -> Option<(&Kin, usize)> {
        let more = invocation.more.as_ref()?;
        Some((&self.kin[more.origin? as usize], more.place))
    }

    /// Whether an invocation may run, as far as is known.
    #[inline]
    pub(super) fn may_run(&self, invocation: &Invocation) -> bool {
        invocation.more.is_none() || self.may_run_with_kin(invocation)
    }

    fn may_run_with_kin(&self, invocation: &Invocation) -> bool {
        let Some((kin, place)) = self.of(invocation) else { return true };
        if kin.weight.load(Ordering::Relaxed) <= TOGETHER {
            return true;
        }
        if place >= kin.end.load(Ordering::Relaxed) {
            return false;
        }
        let may = !self.before(kin, place).is_too_much(0, 0);
        if !may {
            kin.end.fetch_min(place, Ordering::Relaxed);
        }
        may
    }

    /// What is known of those before a place.
    fn before(&self, kin: &Kin, place: usize) -> Before {
        let mut before = Before::NOTHING;
        self.of_invocations[kin.first..place].iter().for_each(|invocation| before.add(invocation));
        before
    }

    /// An invocation doesn't run in this stage.
    pub(super) fn skip(&self, invocation: &Invocation) {
        if let Some((_, place)) = self.of(invocation) {
            self.of_invocations[place].weight.store(1, Ordering::Release);
        }
    }

    /// An invocation has run, which used up so much. Gives whether what came of it may stay, as far as is known.
    #[inline]
    pub(super) fn spend(&self, invocations: Invocations<'_>, turn: usize, spent: Spent) -> bool {
        let invocation = invocations.at(turn);
        (invocation.more.is_none() || self.spend_of_kin(invocations, invocation, spent))
            && (spent.bytes == 0 || self.spend_bytes(invocations, turn, spent.bytes as u64))
    }

    fn spend_of_kin(
        &self,
        invocations: Invocations<'_>,
        invocation: &Invocation,
        spent: Spent,
    ) -> bool {
        let Some((kin, place)) = self.of(invocation) else { return true };
        let limits = invocations.limits(invocation);
        let weight = limits.weight(spent.work, spent.bytes as u64);
        let cell = &self.of_invocations[place];
        let spawned = spent.spawned as u64;
        cell.spawned.store(spawned, Ordering::Relaxed);
        cell.weight.store(weight.saturating_add(1), Ordering::Release);
        let all = kin.weight.fetch_add(weight, Ordering::Relaxed).saturating_add(weight);
        let all_spawned = kin.spawned.fetch_add(spawned, Ordering::Relaxed) + spawned;
        if all > TOGETHER || spawned > 0 && all_spawned > limits.spawned {
            self.any_over.store(true, Ordering::Relaxed);
            if all_spawned > limits.spawned {
                let is_stop = kin.origin == Self::OF_STOPS;
                if is_stop { &self.stops_spawn } else { &self.descent_spawns }.note(invocation);
            }
            return !self.before(kin, place).is_too_much(spawned, limits.spawned);
        }
        // Another one may have a smaller share, and learn of this one later.
        if all_spawned > invocations.least_spawned {
            self.any_over.store(true, Ordering::Relaxed);
        }
        true
    }

    fn spend_bytes(&self, invocations: Invocations<'_>, turn: usize, bytes: u64) -> bool {
        let of_turns = || (0..invocations.invocations.len()).map(|_| AtomicU64::new(0)).collect();
        self.bytes.get_or_init(of_turns)[turn].store(bytes, Ordering::Relaxed);
        let all = self.all_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all <= MAX_STAGE_BYTES {
            return true;
        }
        self.any_over.store(true, Ordering::Relaxed);
        if turn >= self.bytes_end.load(Ordering::Relaxed) {
            return false;
        }
        let before = self.walk(invocations, turn, |_, _| {});
        if before > MAX_STAGE_BYTES {
            self.bytes_end.fetch_min(turn, Ordering::Relaxed);
        }
        before <= MAX_STAGE_BYTES
    }

    /// Goes through the invocations in the order of their turns, up to one, and tells of each whether it may stay, as
    /// far as is known. Gives the bytes of those that are sure to.
    fn walk(
        &self,
        invocations: Invocations<'_>,
        end: usize,
        mut told: impl FnMut(usize, bool),
    ) -> u64 {
        let mut sums = vec![Before::NOTHING; self.kin.len()];
        let bytes = self.bytes.get();
        let mut all_bytes = 0_u64;
        for turn in 0..end {
            let invocation = invocations.at(turn);
            let mut stays = true;
            let mut is_sure = true;
            if let Some(more) = &invocation.more
                && let Some(origin) = more.origin
            {
                let sum = &mut sums[origin as usize];
                let cell = &self.of_invocations[more.place];
                let spawned = cell.spawned.load(Ordering::Relaxed);
                stays = !sum.is_too_much(spawned, invocations.limits(invocation).spawned);
                is_sure = sum.all_known && cell.weight().is_some();
                sum.add(cell);
            }
            let bytes = bytes.map_or(0, |bytes| bytes[turn].load(Ordering::Relaxed));
            if stays && bytes > 0 {
                stays = all_bytes <= MAX_STAGE_BYTES;
                all_bytes += if is_sure { bytes } else { 0 };
            }
            told(turn, stays);
        }
        all_bytes
    }

    /// All have run: drops what came of those that have to wait. `outcomes` lie in the order of the turns.
    pub(super) fn settle(
        &self,
        invocations: Invocations<'_>,
        outcomes: &mut [InvocationOutcome],
        mut defer: impl FnMut(usize, &mut InvocationOutcome),
    ) {
        if !self.any_over.load(Ordering::Relaxed) {
            return;
        }
        let end = outcomes.len();
        self.walk(invocations, end, |turn, stays| {
            if !stays {
                defer(turn, &mut outcomes[turn]);
            }
        });
    }
}

impl Shares {
    /// Tells once of each if entities that scripts spawned, or `on_stop`s, want to spawn more than they may.
    pub(super) fn tell(&mut self, programs: &ProgramTable, limits: &[Limits]) {
        let who = [
            (
                &mut self.descent_spawns,
                "on all entities that descend from one because scripts spawned them, scripts",
            ),
            (&mut self.stops_spawn, "all `on_stop`s, whoever's they are,"),
        ];
        for (too_much, who) in who {
            let Some(program) = too_much.take_untold() else { continue };
            let (script, limit) = (programs.list[program].program.name(), limits[program].spawned);
            warn!(
                %script,
                "{script}: {who} may spawn {limit} entities together in one stage; who would spawn more waits for \
                 the next frame. Raise `max_spawned_together` or `max_commands` in the pool's `sandbox.limits`, or \
                 for this script in its `sandbox.scripts` (this is told once)"
            );
        }
    }
}

/// The invocations of a stage, in the order of their turns, and what they may use up.
#[derive(Clone, Copy)]
pub(super) struct Invocations<'s> {
    pub(super) invocations: &'s [Invocation],
    /// If they don't have their turns as they lie.
    pub(super) order: Option<&'s [usize]>,
    /// By program.
    pub(super) limits: &'s [Limits],
    /// The least that any of them may spawn with its kin.
    least_spawned: u64,
}

impl<'s> Invocations<'s> {
    pub(super) fn new(
        invocations: &'s [Invocation],
        order: Option<&'s [usize]>,
        limits: &'s [Limits],
    ) -> Self {
        let least_spawned = limits.iter().map(|limits| limits.spawned).min().unwrap_or(0);
        Self { invocations, order, limits, least_spawned }
    }

    /// The number of the invocation that has this turn.
    #[inline]
    pub(super) fn index_of(self, turn: usize) -> usize {
        self.order.map_or(turn, |order| order[turn])
    }

    /// The invocation that has this turn.
    #[inline]
    pub(super) fn at(self, turn: usize) -> &'s Invocation {
        &self.invocations[self.index_of(turn)]
    }

    #[inline]
    pub(super) fn limits(self, invocation: &Invocation) -> &'s Limits {
        &self.limits[invocation.program as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::run::invocation::InvocationExtras;

    const LIMITS: Limits = Limits {
        run: RunLimits { time: Duration::from_millis(1), memory: 0, value_size: 0 },
        commands: 10,
        allow_non_finite: false,
        spawned: 10,
        steps: 100_000,
        bytes: 1_000_000,
        runs_file_level: false,
    };

    fn entity(index: usize) -> Entity {
        Entity::from_raw_u32(index as u32).expect("a small index")
    }

    /// Numbers that look random.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 = crate::run::order::mix(self.0);
            self.0 % sides
        }
    }

    /// Invocations of three descents and of none, and what each uses up.
    fn stage(dice: &mut Dice) -> (Vec<Invocation>, Vec<Spent>, Shares) {
        let mut shares = Shares::default();
        let heavy = dice.roll(8);
        let count = 50 + dice.roll(200) as usize;
        let (mut invocations, mut spent) = (Vec::new(), Vec::new());
        for index in 0..count {
            let mut invocation = Invocation::new(entity(index), 0, 0);
            let of = dice.roll(4);
            if of > 0 {
                let origin = shares.count(Some(entity(of as usize)));
                invocation.more =
                    Some(Box::new(InvocationExtras { origin, ..InvocationExtras::default() }));
            }
            invocations.push(invocation);
            let work = dice.roll(WHOLE / 2) * u64::from(heavy & 1 > 0);
            let bytes = (dice.roll(2) * dice.roll(8 << 20)) as usize * usize::from(heavy & 2 > 0);
            let spawned = dice.roll(3) as usize * usize::from(heavy & 4 > 0);
            spent.push(Spent { work, bytes, spawned });
        }
        (invocations, spent, shares)
    }

    /// Which invocations stay if threads run them by chance.
    fn run(
        dice: &mut Dice,
        invocations: &mut [Invocation],
        spent: &[Spent],
        shares: &mut Shares,
    ) -> Vec<bool> {
        let (threads, size) = (1 + dice.roll(5) as usize, 1 + dice.roll(20) as usize);
        let mut order: Vec<usize> = (0..invocations.len()).collect();
        order.reverse();
        shares.line_up(invocations, Some(&order));
        let limits = [LIMITS];
        let of_stage = Invocations::new(invocations, Some(&order), &limits);
        let mut outcomes: Vec<_> =
            invocations.iter().map(|_| InvocationOutcome::default()).collect();
        let mut batches = (0..invocations.len()).step_by(size);
        let mut at: Vec<(usize, usize)> = vec![(0, 0); threads];
        loop {
            let thread = dice.roll(threads as u64) as usize;
            let (next, end) = &mut at[thread];
            if *next == *end {
                let Some(first) = batches.next() else {
                    if at.iter().all(|(next, end)| next == end) {
                        break;
                    }
                    continue;
                };
                (*next, *end) = (first, (first + size).min(invocations.len()));
            }
            let turn = *next;
            *next += 1;
            let invocation = of_stage.at(turn);
            if !shares.may_run(invocation) {
                shares.skip(invocation);
                outcomes[turn] = InvocationOutcome::deferred();
            } else if !shares.spend(of_stage, turn, spent[of_stage.index_of(turn)]) {
                outcomes[turn] = InvocationOutcome::deferred();
            }
        }
        shares
            .settle(of_stage, &mut outcomes, |_, outcome| *outcome = InvocationOutcome::deferred());
        outcomes.iter().map(|outcome| !outcome.deferred).collect()
    }

    #[test]
    fn who_has_to_wait_does_not_depend_on_which_thread_runs_what() {
        let (mut waited, mut stayed) = (0, 0);
        for seed in 0..300 {
            let mut dice = Dice(seed);
            let (mut invocations, spent, mut shares) = stage(&mut dice);
            let first = run(&mut dice, &mut invocations, &spent, &mut shares);
            for _ in 0..5 {
                assert_eq!(run(&mut dice, &mut invocations, &spent, &mut shares), first, "{seed}");
            }
            waited += first.iter().filter(|stays| !**stays).count();
            stayed += first.iter().filter(|stays| **stays).count();
        }
        assert!(waited > 1000 && stayed > 1000, "{waited} wait, {stayed} stay");
    }

    #[test]
    fn the_first_one_stays_whatever_it_uses_up() {
        let mut shares = Shares::default();
        let mut invocations: Vec<_> = (0..2)
            .map(|index| {
                let origin = shares.count(Some(entity(7)));
                let mut invocation = Invocation::new(entity(index), 0, 0);
                invocation.more =
                    Some(Box::new(InvocationExtras { origin, ..InvocationExtras::default() }));
                invocation
            })
            .collect();
        let much = Spent { work: 1000 * WHOLE, bytes: 1 << 30, spawned: 1000 };
        let stays = run(&mut Dice(1), &mut invocations, &[much, much], &mut shares);
        assert_eq!(stays, [true, false]);
    }

    #[test]
    fn many_short_runs_may_do_more_together_than_few_long_ones() {
        let of_all = |steps| {
            let used = Used { steps, ..Used::default() };
            let weight = LIMITS.weight(LIMITS.work(used, false), 0);
            TOGETHER.checked_div(weight).unwrap_or(u64::MAX)
        };
        // Each half as long as one may: 16 of them last as long as eight may.
        assert_eq!(of_all(50_000 - STEPS_OF_RUN), 16);
        assert!(of_all(1000) > 2000 && of_all(0) > 10_000);
        let met_limit = LIMITS.weight(LIMITS.work(Used::default(), true), 0);
        assert_eq!(TOGETHER / met_limit, 8, "whatever it counted");
    }
}
