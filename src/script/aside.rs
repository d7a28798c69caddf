//! [`Aside`]: a script that keeps failing on an entity runs there ever more rarely.

use bevy::prelude::Entity;

use crate::pool::PoolConfig;

/// How a script that keeps failing is treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Failures in a row after which it is put aside; 0: never.
    max_failures: u32,
    /// Frames until it is tried again at first; 0: it is not.
    interval: u32,
    /// The most frames until it is tried again.
    max_interval: u32,
}

impl From<&PoolConfig> for Patience {
    fn from(config: &PoolConfig) -> Self {
        Self {
            max_failures: config.max_failures,
            interval: config.retry_interval,
            max_interval: config.max_retry_interval,
        }
    }
}

impl Patience {
    fn is_over(&self, failures: u32) -> bool {
        self.max_failures > 0 && failures >= self.max_failures
    }

    /// Frames until a script is tried again that failed so often in a row.
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

/// The failures in a row of one script on one entity, and whether it is put aside for them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Aside {
    /// In the update and in the fixed schedule.
    failures: [u32; 2],
    put_aside: bool,
    /// The frame in which it is tried again; `None`: in none.
    next_try: Option<u64>,
}

impl Aside {
    /// Whether it is put aside; if a try is due, until that has succeeded.
    pub(crate) fn is_put_aside(&self) -> bool {
        self.put_aside
    }

    /// Whether it may run in this frame.
    pub(crate) fn may_run(&self, frame: u64) -> bool {
        !self.put_aside || self.next_try.is_some_and(|next| frame >= next)
    }

    pub(crate) fn next_try(&self) -> Option<u64> {
        self.next_try
    }

    /// Whether there is any failure to be forgotten.
    pub(crate) fn has_failures(&self) -> bool {
        self.failures != [0; 2]
    }

    pub(crate) fn failures(&self, stage: usize) -> u32 {
        self.failures[stage]
    }

    pub(crate) fn failed(&mut self, stage: usize, patience: &Patience, frame: u64, entity: Entity) {
        self.failures[stage] = self.failures[stage].saturating_add(1);
        self.judge(patience);
        if self.put_aside {
            let interval = patience.interval(self.failures[stage], entity);
            self.next_try = interval.map(|interval| frame.saturating_add(interval));
        }
    }

    pub(crate) fn succeeded(&mut self, stage: usize, patience: &Patience) {
        self.failures[stage] = 0;
        self.judge(patience);
    }

    fn judge(&mut self, patience: &Patience) {
        self.put_aside = self.failures.iter().any(|failures| patience.is_over(*failures));
        if !self.put_aside {
            self.next_try = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { max_failures: 3, interval: 8, max_interval: 100 };

    fn entity(index: u32) -> Entity {
        Entity::from_raw_u32(index).expect("a small index")
    }

    #[test]
    fn intervals_double_until_they_are_as_long_as_allowed() {
        let intervals: Vec<_> =
            (3..10).map(|failures| PATIENCE.interval(failures, entity(0))).collect();
        assert_eq!(intervals, [8, 16, 32, 64, 100, 100, 100].map(Some));
        assert_eq!(PATIENCE.interval(u32::MAX, entity(0)), Some(100));
        let never = Patience { interval: 0, ..PATIENCE };
        assert_eq!(never.interval(3, entity(0)), None);
    }

    #[test]
    fn entities_that_fail_together_are_not_tried_again_together() {
        let patience = Patience { interval: 60, ..PATIENCE };
        let mut tries = [0; 128];
        for index in 0..10_000 {
            tries[patience.interval(3, entity(index)).expect("there is one") as usize] += 1;
        }
        let together = tries.iter().max().expect("there are intervals");
        assert!((60..76).all(|interval| tries[interval] > 0), "{tries:?}");
        assert_eq!(tries[60..76].iter().sum::<i32>(), 10_000);
        assert!(*together < 1000, "{together} of 10,000 come back in one frame");
    }

    #[test]
    fn a_success_in_one_schedule_does_not_excuse_failures_in_the_other() {
        let mut aside = Aside::default();
        for _ in 0..3 {
            assert!(aside.may_run(10));
            aside.failed(0, &PATIENCE, 10, entity(0));
            aside.succeeded(1, &PATIENCE);
        }
        assert!(aside.is_put_aside() && !aside.may_run(17) && aside.may_run(18));
        aside.succeeded(1, &PATIENCE);
        assert!(aside.is_put_aside() && aside.may_run(18), "the try is not over");
        aside.failed(0, &PATIENCE, 18, entity(0));
        assert!(!aside.may_run(33) && aside.may_run(34), "the next interval is longer");
        aside.succeeded(0, &PATIENCE);
        assert!(!aside.is_put_aside() && aside.may_run(0));
        aside.failed(0, &PATIENCE, 40, entity(0));
        assert!(!aside.is_put_aside(), "the count begins anew");
    }
}
