use std::time::Duration;

use super::limits::STEPS_OF_EMPTY_RUN;
use super::*;
use crate::run::invocation::InvocationExtras;
use crate::run::order::mix;
use crate::vm::{RunLimits, Used};

const LIMITS: ProgramLimits = ProgramLimits {
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
struct SeededDice(u64);

impl SeededDice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = mix(self.0);
        self.0 % sides
    }
}

/// Invocations of three descents and of none, and what each uses up.
fn stage(dice: &mut SeededDice) -> (Vec<Invocation>, Vec<InvocationUsage>, Shares) {
    let mut shares = Shares::default();
    let heavy = dice.roll(8);
    let count = 50 + dice.roll(200) as usize;
    let (mut invocations, mut usage) = (Vec::new(), Vec::new());
    for index in 0..count {
        let mut invocation = Invocation::new(entity(index), 0, 0);
        let of = dice.roll(4);
        if of > 0 {
            let origin = shares.count(Some(entity(of as usize)));
            invocation.more =
                Some(Box::new(InvocationExtras { origin, ..InvocationExtras::default() }));
        }
        invocations.push(invocation);
        let work = dice.roll(FULL_RUN / 2) * u64::from(heavy & 1 > 0);
        let bytes = (dice.roll(2) * dice.roll(8 << 20)) as usize * usize::from(heavy & 2 > 0);
        let spawned = dice.roll(3) as usize * usize::from(heavy & 4 > 0);
        usage.push(InvocationUsage { work, bytes, spawned });
    }
    (invocations, usage, shares)
}

/// Which invocations stay if threads run them by chance.
fn run(
    dice: &mut SeededDice,
    invocations: &mut [Invocation],
    usage: &[InvocationUsage],
    shares: &mut Shares,
) -> Vec<bool> {
    let (threads, size) = (1 + dice.roll(5) as usize, 1 + dice.roll(20) as usize);
    let mut order: Vec<usize> = (0..invocations.len()).collect();
    order.reverse();
    shares.begin_stage(invocations, Some(&order));
    let limits = [LIMITS];
    let turns = Turns::new(invocations, Some(&order), &limits);
    let mut outcomes: Vec<_> = invocations.iter().map(|_| InvocationOutcome::default()).collect();
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
        let invocation = turns.at(turn);
        if !shares.may_run(invocation) {
            shares.skip(invocation);
            outcomes[turn] = InvocationOutcome::deferred();
        } else if !shares.charge(turns, turn, usage[turns.index_of(turn)]) {
            outcomes[turn] = InvocationOutcome::deferred();
        }
    }
    shares
        .defer_excess(turns, &mut outcomes, |_, outcome| *outcome = InvocationOutcome::deferred());
    outcomes.iter().map(|outcome| !outcome.deferred).collect()
}

#[test]
fn who_has_to_wait_does_not_depend_on_which_thread_runs_what() {
    let (mut waited, mut stayed) = (0, 0);
    for seed in 0..300 {
        let mut dice = SeededDice(seed);
        let (mut invocations, usage, mut shares) = stage(&mut dice);
        let first = run(&mut dice, &mut invocations, &usage, &mut shares);
        for _ in 0..5 {
            assert_eq!(run(&mut dice, &mut invocations, &usage, &mut shares), first, "{seed}");
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
    let much = InvocationUsage { work: 1000 * FULL_RUN, bytes: 1 << 30, spawned: 1000 };
    let stays = run(&mut SeededDice(1), &mut invocations, &[much, much], &mut shares);
    assert_eq!(stays, [true, false]);
}

#[test]
fn many_short_runs_may_do_more_together_than_few_long_ones() {
    let of_all = |steps| {
        let used = Used { steps, ..Used::default() };
        let weight = LIMITS.weight(LIMITS.work(used, false), 0);
        MAX_DESCENT_WEIGHT.checked_div(weight).unwrap_or(u64::MAX)
    };
    // Each half as long as one may: 16 of them last as long as eight may.
    assert_eq!(of_all(50_000 - STEPS_OF_EMPTY_RUN), 16);
    assert!(of_all(1000) > 2000 && of_all(0) > 10_000);
    let met_limit = LIMITS.weight(LIMITS.work(Used::default(), true), 0);
    assert_eq!(MAX_DESCENT_WEIGHT / met_limit, 8, "whatever it counted");
}
