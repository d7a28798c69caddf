//! [`Backoff`]: a callback that keeps failing on an entity is paused there and retried at growing intervals.

use std::num::NonZeroU64;

use bevy::prelude::Entity;

use crate::config::LuaPoolConfig;
use crate::vm::Callback;

/// When a failing script is put aside, and when it is retried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryPolicy {
    /// Consecutive failures after which it is put aside; 0: never.
    max_failures: u32,
    /// Frames until the first retry; 0: no retry.
    interval: u32,
    /// The longest time between retries, in frames.
    max_interval: u32,
}

impl From<&LuaPoolConfig> for RetryPolicy {
    fn from(config: &LuaPoolConfig) -> Self {
        Self {
            max_failures: config.max_failures,
            interval: config.retry_interval,
            max_interval: config.max_retry_interval,
        }
    }
}

impl RetryPolicy {
    fn is_over(&self, failures: u32) -> bool {
        self.max_failures > 0 && failures >= self.max_failures
    }

    /// Frames until the next retry after this many consecutive failures. Differs a little from entity to entity, so that
    /// not all are retried in one frame.
    fn interval(&self, failures: u32, entity: Entity) -> Option<u64> {
        if self.interval == 0 {
            return None;
        }
        let doublings = failures.saturating_sub(self.max_failures).min(32);
        let interval = (u64::from(self.interval) << doublings).min(self.max_interval.into());
        // Multiples of the golden ratio spread evenly, and neighbours far (Knuth, TAOCP vol. 3, 6.4).
        let spread = u64::from(entity.index_u32().wrapping_mul(0x9e37_79b9));
        Some(interval + ((spread * (interval / 4 + 1)) >> 32))
    }
}

/// Consecutive failures of one script on one entity, counted for each callback, and which callbacks are put aside.
///
/// A callback that is put aside stops the whole script, except `on_message`: others could make that one fail by what
/// they send, so it only stops itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff(Option<Box<[Streak; STREAKS]>>);

/// Consecutive failures.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    failures: u32,
    /// `None`: not put aside. [`NEVER`]: put aside for good. Otherwise one more than the frame of the next retry.
    until: Option<NonZeroU64>,
}

const NEVER: NonZeroU64 = NonZeroU64::MAX;

/// The kinds of callbacks whose failures are counted.
const STREAKS: usize = 4;
const OF_MESSAGES: usize = 1;

/// The counter of a callback.
fn streak_of(callback: Callback) -> usize {
    match callback {
        // The first two run once each; failures of `on_stop` are not counted.
        Callback::Start | Callback::Reload | Callback::Stop => 0,
        Callback::Message => OF_MESSAGES,
        Callback::FixedUpdate => 2,
        Callback::Update => 3,
    }
}

/// The results of one script's runs on one entity in one stage.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdicts([CallbackResults; STREAKS]);

#[derive(Clone, Copy, Debug, Default)]
struct CallbackResults {
    /// At least one run succeeded.
    succeeded: bool,
    /// Failures since the last success.
    failures: u32,
}

impl Verdicts {
    pub(crate) fn note(&mut self, callback: Callback, succeeded: bool) {
        let verdict = &mut self.0[streak_of(callback)];
        if succeeded {
            *verdict = CallbackResults { succeeded: true, failures: 0 };
        } else {
            verdict.failures = verdict.failures.saturating_add(1);
        }
    }

    pub(crate) fn any_failures(&self) -> bool {
        self.0.iter().any(|verdict| verdict.failures > 0)
    }
}

/// What [`Backoff::judge`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// A callback that is put aside was retried.
    pub(crate) tried: bool,
    /// If a callback is put aside now that was not before: its consecutive failures, and whether it is `on_message`.
    pub(crate) newly: Option<(u32, bool)>,
}

impl Backoff {
    /// Whether any callback is put aside. One stays so until a retry has succeeded.
    #[inline]
    pub(crate) fn is_put_aside(&self) -> bool {
        self.streaks().iter().any(|streak| streak.until.is_some())
    }

    /// Whether the script may run in this frame.
    pub(crate) fn may_run(&self, frame: u64) -> bool {
        let mut others = self.streaks().iter().enumerate().filter(|(of, _)| *of != OF_MESSAGES);
        others.all(|(_, streak)| streak.may_run(frame))
    }

    /// Whether `on_message` may run in this frame, if the script may.
    pub(crate) fn takes_messages(&self, frame: u64) -> bool {
        self.streaks().get(OF_MESSAGES).is_none_or(|streak| streak.may_run(frame))
    }

    /// The frame of the next retry, if there is one.
    pub(crate) fn next_try(&self) -> Option<u64> {
        let tries = self.streaks().iter().filter_map(|streak| streak.until);
        tries.filter(|until| *until != NEVER).map(|until| until.get() - 1).min()
    }

    /// Whether there are failures that a success would reset.
    #[inline]
    pub(crate) fn has_failures(&self) -> bool {
        self.0.is_some()
    }

    /// Whether these results will put `on_message` backoff.
    pub(crate) fn is_enough_of_messages(&self, verdicts: &Verdicts, policy: &RetryPolicy) -> bool {
        let CallbackResults { succeeded, failures } = verdicts.0[OF_MESSAGES];
        let before = self.streaks().get(OF_MESSAGES).map_or(0, |streak| streak.failures);
        let before = if succeeded { 0 } else { before };
        failures > 0 && policy.is_over(before.saturating_add(failures))
    }

    /// Counts the results of a stage.
    pub(crate) fn judge(
        &mut self,
        verdicts: &Verdicts,
        policy: &RetryPolicy,
        frame: u64,
        entity: Entity,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        if self.0.is_none() && !verdicts.any_failures() {
            return judgement;
        }
        let streaks = self.0.get_or_insert_default();
        for (of, (streak, verdict)) in streaks.iter_mut().zip(verdicts.0).enumerate() {
            let before = streak.until;
            judgement.tried |= before.is_some() && (verdict.succeeded || verdict.failures > 0);
            if verdict.succeeded {
                streak.failures = 0;
            }
            streak.failures = streak.failures.saturating_add(verdict.failures);
            streak.until = if !policy.is_over(streak.failures) {
                None
            } else if verdict.failures > 0 {
                let interval = policy.interval(streak.failures, entity);
                let next = interval.map(|interval| frame.saturating_add(interval));
                Some(next.map_or(NEVER, |next| NonZeroU64::MIN.saturating_add(next)))
            } else {
                before
            };
            if before.is_none() && streak.until.is_some() {
                judgement.newly.get_or_insert((streak.failures, of == OF_MESSAGES));
            }
        }
        if streaks.iter().all(|streak| streak.failures == 0) {
            self.0 = None;
        }
        judgement
    }

    /// Counts one successful run.
    pub(crate) fn succeeded(&mut self, callback: Callback, policy: &RetryPolicy) -> Judgement {
        let mut verdicts = Verdicts::default();
        verdicts.note(callback, true);
        self.judge(&verdicts, policy, 0, Entity::PLACEHOLDER)
    }

    #[inline]
    fn streaks(&self) -> &[Streak] {
        self.0.as_deref().map_or(&[], |streaks| streaks)
    }
}

impl Streak {
    fn may_run(&self, frame: u64) -> bool {
        self.until.is_none_or(|until| frame >= until.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_failures: 3, interval: 8, max_interval: 100 };

    fn entity(index: u32) -> Entity {
        Entity::from_raw_u32(index).expect("a small index")
    }

    #[test]
    fn intervals_double_until_they_are_as_long_as_allowed() {
        let intervals: Vec<_> =
            (3..10).map(|failures| POLICY.interval(failures, entity(0))).collect();
        assert_eq!(intervals, [8, 16, 32, 64, 100, 100, 100].map(Some));
        assert_eq!(POLICY.interval(u32::MAX, entity(0)), Some(100));
        let never = RetryPolicy { interval: 0, ..POLICY };
        assert_eq!(never.interval(3, entity(0)), None);
    }

    #[test]
    fn entities_that_fail_together_are_not_tried_again_together() {
        let policy = RetryPolicy { interval: 60, ..POLICY };
        let mut tries = [0; 128];
        for index in 0..10_000 {
            tries[policy.interval(3, entity(index)).expect("there is one") as usize] += 1;
        }
        let together = tries.iter().max().expect("there are intervals");
        assert!((60..76).all(|interval| tries[interval] > 0), "{tries:?}");
        assert_eq!(tries[60..76].iter().sum::<i32>(), 10_000);
        assert!(*together < 1000, "{together} of 10,000 come back in one frame");
    }

    /// A stage in which one callback fails, or doesn't.
    fn stage(
        backoff: &mut Backoff,
        callback: Callback,
        succeeds: bool,
        policy: &RetryPolicy,
        frame: u64,
    ) {
        let mut verdicts = Verdicts::default();
        verdicts.note(callback, succeeds);
        backoff.judge(&verdicts, policy, frame, entity(0));
    }

    #[test]
    fn a_success_of_one_callback_does_not_excuse_the_failures_of_another() {
        let mut backoff = Backoff::default();
        for _ in 0..3 {
            assert!(backoff.may_run(10));
            stage(&mut backoff, Callback::Update, false, &POLICY, 10);
            stage(&mut backoff, Callback::FixedUpdate, true, &POLICY, 10);
        }
        assert!(backoff.is_put_aside() && !backoff.may_run(17) && backoff.may_run(18));
        backoff.succeeded(Callback::FixedUpdate, &POLICY);
        assert!(backoff.is_put_aside() && backoff.may_run(18), "the try is not over");
        stage(&mut backoff, Callback::Update, false, &POLICY, 18);
        assert!(!backoff.may_run(33) && backoff.may_run(34), "the next interval is longer");
        let judgement = backoff.succeeded(Callback::Update, &POLICY);
        assert!(judgement.tried && !backoff.is_put_aside() && backoff.may_run(0));
        stage(&mut backoff, Callback::Update, false, &POLICY, 40);
        assert!(!backoff.is_put_aside(), "the count begins anew");
    }

    #[test]
    fn messages_that_fail_put_on_message_aside_and_nothing_else() {
        let mut backoff = Backoff::default();
        let mut verdicts = Verdicts::default();
        for failures in 1..=3 {
            assert!(!backoff.is_enough_of_messages(&verdicts, &POLICY));
            verdicts.note(Callback::Message, false);
            assert_eq!(backoff.is_enough_of_messages(&verdicts, &POLICY), failures == 3);
        }
        verdicts.note(Callback::Update, true);
        let judgement = backoff.judge(&verdicts, &POLICY, 10, entity(0));
        assert_eq!(judgement, Judgement { tried: false, newly: Some((3, true)) });
        assert!(backoff.is_put_aside() && backoff.may_run(10));
        assert!(!backoff.takes_messages(17) && backoff.takes_messages(18));
        let judgement = backoff.succeeded(Callback::Update, &POLICY);
        assert_eq!(judgement, Judgement::default());
        assert!(backoff.is_put_aside(), "that is another callback");
        let judgement = backoff.succeeded(Callback::Message, &POLICY);
        assert_eq!(judgement, Judgement { tried: true, newly: None });
        assert!(!backoff.has_failures());
    }

    #[test]
    fn only_failures_after_the_last_success_are_in_a_row() {
        let mut backoff = Backoff::default();
        let mut verdicts = Verdicts::default();
        for succeeds in [false, false, true, false, false] {
            verdicts.note(Callback::Message, succeeds);
        }
        assert!(!backoff.is_enough_of_messages(&verdicts, &POLICY));
        backoff.judge(&verdicts, &POLICY, 0, entity(0));
        assert!(!backoff.is_put_aside());
        stage(&mut backoff, Callback::Message, false, &POLICY, 1);
        assert!(backoff.is_put_aside(), "the third");
    }

    #[test]
    fn one_that_is_not_tried_again_stays_put_aside_until_it_succeeds() {
        let never = RetryPolicy { interval: 0, max_failures: 1, ..POLICY };
        let mut backoff = Backoff::default();
        assert_eq!((backoff.is_put_aside(), backoff.next_try()), (false, None));
        stage(&mut backoff, Callback::FixedUpdate, false, &never, 7);
        assert_eq!((backoff.is_put_aside(), backoff.next_try()), (true, None));
        assert!(!backoff.may_run(8) && !backoff.may_run(1 << 60));
        stage(&mut backoff, Callback::FixedUpdate, false, &POLICY, 0);
        assert!(!backoff.is_put_aside() && backoff.may_run(0), "more failures are allowed now");
        let at_once = RetryPolicy { max_failures: 1, max_interval: 0, ..POLICY };
        stage(&mut backoff, Callback::Update, false, &at_once, 0);
        assert_eq!(backoff.next_try(), Some(0));
        assert!(backoff.may_run(0));
    }
}
