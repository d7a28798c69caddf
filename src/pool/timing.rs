//! [`Timing`]: how long something takes, as a few figures; [`TimingHistogram`] collects them.

use std::time::Duration;

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

/// Collects durations in bounded memory (about 16 KiB, whatever is recorded).
///
/// Quantiles are those of an HDR histogram with two significant figures, from 1 ns to 1 min;
/// longer ones count as 1 min there, while `mean`, `last` and `max` stay exact.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimingHistogram {
    buckets: Buckets,
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
        Self::default()
    }

    /// Adds one duration; about 10 ns, no allocation.
    #[inline]
    pub(crate) fn record(&mut self, duration: Duration) {
        self.last = duration;
        if duration.is_zero() {
            self.zeros += 1;
            return;
        }
        self.buckets.record(nanos(duration).clamp(1, LONGEST_NS));
        self.sum = self.sum.saturating_add(duration);
        self.max = self.max.max(duration);
    }

    /// How many durations were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.zeros + self.buckets.total
    }

    /// The figures so far; all zero when nothing was recorded.
    pub(crate) fn timing(&self) -> Timing {
        let count = self.count();
        if count == 0 {
            return Timing::default();
        }
        let quantile = |quantile: f64| {
            let rank = (quantile * count as f64).ceil().max(1.0) as u64;
            match rank.checked_sub(self.zeros) {
                None | Some(0) => Duration::ZERO,
                // A bucket's upper edge may lie above the longest duration that fell into it.
                Some(rank) => Duration::from_nanos(self.buckets.at_rank(rank)).min(self.max),
            }
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

/// How often values fell into each of many small ranges: one value each below 256, then 128 for each
/// doubling. Those are the ranges of an HDR histogram with two significant figures (Gil Tene,
/// <http://hdrhistogram.org>).
///
/// A frame asks for fifteen quantiles of histograms that each frame has changed. So ranges are summed up in
/// groups, which are all that has to be gone through, and one group's ranges.
#[derive(Clone, Debug, Default)]
struct Buckets {
    /// Empty until something is recorded.
    counts: Box<[u32]>,
    groups: Box<[u64]>,
    total: u64,
}

impl Buckets {
    /// Values of one length in bits are in so many ranges, as a power of two.
    const BITS: u32 = 7;
    const GROUP: usize = 64;
    const COUNT: usize = (Self::index_of(LONGEST_NS) / Self::GROUP + 1) * Self::GROUP;

    const fn index_of(value: u64) -> usize {
        let shift = value.ilog2().saturating_sub(Self::BITS);
        ((shift as usize) << Self::BITS) + (value >> shift) as usize
    }

    /// The highest value of a range.
    const fn highest(index: usize) -> u64 {
        let shift = (index >> Self::BITS).saturating_sub(1);
        let within = (index - (shift << Self::BITS)) as u64;
        ((within + 1) << shift) - 1
    }

    /// Counts a value from 1 to [`LONGEST_NS`].
    #[inline]
    fn record(&mut self, value: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; Self::COUNT].into();
            self.groups = vec![0; Self::COUNT / Self::GROUP].into();
        }
        let index = Self::index_of(value);
        let count = &mut self.counts[index];
        *count = count.saturating_add(1);
        self.groups[index / Self::GROUP] += 1;
        self.total += 1;
    }

    /// The highest value of the range that the value of a rank fell into; the smallest value has rank 1.
    fn at_rank(&self, rank: u64) -> u64 {
        let mut left = rank;
        let mut group = 0;
        while let Some(count) = self.groups.get(group)
            && *count < left
        {
            left -= count;
            group += 1;
        }
        let first = group * Self::GROUP;
        let counts = self.counts.get(first..).unwrap_or_default().iter().take(Self::GROUP);
        let mut last = first;
        for (index, count) in (first..).zip(counts) {
            if *count > 0 {
                last = index;
            }
            left = left.saturating_sub(u64::from(*count));
            if left == 0 {
                break;
            }
        }
        Self::highest(last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn quantiles_are_those_of_an_hdr_histogram(
            times in prop::collection::vec((0_u32..37, any::<u64>()), 1..300),
        ) {
            let mut histogram = TimingHistogram::new();
            let mut hdr = hdrhistogram::Histogram::<u32>::new_with_bounds(1, LONGEST_NS, 2)
                .expect("1 ns to 1 min with two figures is a valid range");
            let mut longest = 0;
            for (bits, time) in times {
                // Of any length in bits.
                let time = (time & ((1 << bits) - 1) | 1 << bits).min(LONGEST_NS);
                histogram.record(Duration::from_nanos(time));
                hdr.record(time).expect("it is in the range");
                longest = longest.max(time);
            }
            let timing = histogram.timing();
            for (quantile, found) in [(0.5, timing.p50), (0.9, timing.p90), (0.99, timing.p99)] {
                let expected = hdr.value_at_quantile(quantile).min(longest);
                prop_assert_eq!(found, Duration::from_nanos(expected), "{}", quantile);
            }
        }
    }

    #[test]
    fn every_value_lies_in_a_range_that_is_at_most_one_percent_wide() {
        let mut next = 1;
        for index in 1..=Buckets::index_of(LONGEST_NS) {
            let highest = Buckets::highest(index);
            assert_eq!((Buckets::index_of(next), Buckets::index_of(highest)), (index, index));
            assert!(highest - next <= next / 100, "{next} to {highest}");
            next = highest + 1;
        }
        assert!(next > LONGEST_NS);
    }

    #[test]
    fn a_quantile_is_never_above_the_longest() {
        let mut histogram = TimingHistogram::new();
        histogram.record(Duration::from_nanos(1_000_001));
        let timing = histogram.timing();
        assert!(timing.p99 <= timing.max, "{timing:?}");
    }
}
