//! [`Timing`]: how long something takes, as a few figures; [`TimingHistogram`] collects them.

use std::time::Duration;

use hdrhistogram::Histogram;

/// How long something took, over all times it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// How often it was done.
    pub count: u64,
    /// The last time.
    pub last: Duration,
    /// The arithmetic mean.
    pub mean: Duration,
    /// The median, within 1 %.
    pub p50: Duration,
    /// Nine of ten were at most this long, within 1 %.
    pub p90: Duration,
    /// 99 of a hundred were at most this long, within 1 %.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

/// Collects durations in bounded memory (about 14 KiB, whatever is recorded).
///
/// Quantiles are those of an HDR histogram with two significant figures, from 1 ns to 1 min;
/// longer ones count as 1 min there, while `mean`, `last` and `max` stay exact.
#[derive(Clone, Debug)]
pub(crate) struct TimingHistogram {
    buckets: Histogram<u32>,
    /// How often there was nothing to time; not in the buckets.
    zeros: u64,
    sum: Duration,
    last: Duration,
    max: Duration,
}

const LONGEST_NS: u64 = 60_000_000_000;

/// A duration in nanoseconds; five centuries are the most.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

impl TimingHistogram {
    /// An empty histogram.
    pub(crate) fn new() -> Self {
        Self {
            buckets: Histogram::new_with_bounds(1, LONGEST_NS, 2)
                .expect("1 ns to 1 min with two figures is a valid range"),
            zeros: 0,
            sum: Duration::ZERO,
            last: Duration::ZERO,
            max: Duration::ZERO,
        }
    }

    /// Adds one duration; about 10 ns, no allocation.
    #[inline]
    pub(crate) fn record(&mut self, duration: Duration) {
        self.last = duration;
        if duration.is_zero() {
            self.zeros += 1;
            return;
        }
        self.buckets.saturating_record(nanos(duration).clamp(1, LONGEST_NS));
        self.sum = self.sum.saturating_add(duration);
        self.max = self.max.max(duration);
    }

    /// How many durations were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.zeros + self.buckets.len()
    }

    /// The figures so far; all zero when nothing was recorded.
    pub(crate) fn timing(&self) -> Timing {
        let count = self.count();
        if count == 0 {
            return Timing::default();
        }
        let (all, zeros) = (count as f64, self.zeros as f64);
        let quantile = |quantile: f64| {
            let rank = (quantile * all).ceil().max(1.0);
            if rank <= zeros {
                return Duration::ZERO;
            }
            let quantile = (rank - zeros) / (all - zeros);
            // A bucket's upper edge may lie above the longest duration that fell into it.
            Duration::from_nanos(self.buckets.value_at_quantile(quantile)).min(self.max)
        };
        let mean = self.sum.as_nanos() / u128::from(count);
        Timing {
            count,
            last: self.last,
            mean: Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: self.max,
        }
    }
}

impl Default for TimingHistogram {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close_to(actual: Duration, expected: Duration) -> bool {
        actual.abs_diff(expected) <= expected / 50
    }

    #[test]
    fn nothing_recorded_is_all_zero() {
        assert_eq!(TimingHistogram::new().timing(), Timing::default());
    }

    #[test]
    fn figures_follow_what_was_recorded() {
        let mut histogram = TimingHistogram::new();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let timing = histogram.timing();
        assert_eq!(timing.count, 1000);
        assert_eq!(histogram.count(), 1000);
        assert_eq!(timing.last, Duration::from_micros(1000));
        assert_eq!(timing.max, Duration::from_micros(1000));
        assert_eq!(timing.mean, Duration::from_nanos(500_500));
        assert!(close_to(timing.p50, Duration::from_micros(500)), "{timing:?}");
        assert!(close_to(timing.p90, Duration::from_micros(900)), "{timing:?}");
        assert!(close_to(timing.p99, Duration::from_micros(990)), "{timing:?}");
    }

    #[test]
    fn zero_and_huge_durations_are_counted_and_never_lost() {
        let mut histogram = TimingHistogram::new();
        histogram.record(Duration::MAX);
        histogram.record(Duration::MAX);
        histogram.record(Duration::ZERO);
        let timing = histogram.timing();
        assert_eq!(timing.count, 3);
        assert_eq!(timing.max, Duration::MAX);
        assert_eq!(timing.last, Duration::ZERO);
        assert!(close_to(timing.p99, Duration::from_secs(60)), "{timing:?}");
    }

    #[test]
    fn what_took_no_time_counts_for_every_figure() {
        let mut histogram = TimingHistogram::new();
        let times = [Duration::ZERO; 92].into_iter().chain([Duration::from_micros(10); 8]);
        times.for_each(|time| histogram.record(time));
        let timing = histogram.timing();
        assert_eq!((timing.count, timing.mean), (100, Duration::from_nanos(800)));
        assert_eq!((timing.p50, timing.p90), (Duration::ZERO, Duration::ZERO));
        assert!(close_to(timing.p99, Duration::from_micros(10)), "{timing:?}");
        assert_eq!(timing.max, Duration::from_micros(10));
    }

    #[test]
    fn a_quantile_is_never_above_the_longest() {
        let mut histogram = TimingHistogram::new();
        histogram.record(Duration::from_nanos(1_000_001));
        let timing = histogram.timing();
        assert!(timing.p99 <= timing.max, "{timing:?}");
    }
}
