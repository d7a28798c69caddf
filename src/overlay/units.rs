//! Numbers for display: three significant digits and a unit, at most eight characters, so that columns keep their
//! width.

use std::time::Duration;

/// Shown where there is no value.
pub(super) const NONE: &str = "–";

/// `532 ns`, `1.23 µs`, `45.6 ms`, `12.0 s`.
pub(super) fn duration(value: Duration) -> String {
    scaled(value.as_nanos(), &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")])
}

/// Whole seconds, then minutes, hours and days: `45 s`, `12m 03s`, `3h 05m`, `2d 01h`.
pub(super) fn age(value: Duration) -> String {
    let seconds = value.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if minutes == 0 {
        format!("{seconds} s")
    } else if hours == 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else if hours < 24 {
        format!("{hours}h {:02}m", minutes % 60)
    } else {
        format!("{}d {:02}h", hours / 24, hours % 24)
    }
}

/// `512 B`, `1.50 KiB`, `12.3 MiB`.
pub(super) fn bytes(value: usize) -> String {
    const KIB: f64 = 1024.0;
    scaled(value as u128, &[(1.0, "B"), (KIB, "KiB"), (KIB * KIB, "MiB"), (KIB * KIB * KIB, "GiB")])
}

/// Exact up to 999,999; then `1.23 M`, `1.23 G`, `1.23 T`.
pub(super) fn count(value: u64) -> String {
    if value < 1_000_000 {
        exact(value)
    } else {
        scaled(u128::from(value), &[(1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P")])
    }
}

/// Every digit, in groups of three.
pub(super) fn exact(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The least round number that is not below `value` and whose half is round too, for the upper end of an axis: it
/// changes rarely.
pub(super) fn round_up(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

/// The value in the first unit in which it has at most three digits before the point, or in the last one.
fn scaled(value: u128, units: &[(f64, &str)]) -> String {
    let mut text = String::new();
    for &(size, unit) in units {
        let scaled = value as f64 / size;
        // A base unit has no fractions. The other limits are where rounding would add a digit.
        text = if size == 1.0 || scaled >= 99.95 {
            format!("{scaled:.0} {unit}")
        } else if scaled >= 9.995 {
            format!("{scaled:.1} {unit}")
        } else {
            format!("{scaled:.2} {unit}")
        };
        if scaled < 999.5 {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_the_unit_that_fits() {
        let cases = [
            (0, "0 ns"),
            (7, "7 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (1_234, "1.23 µs"),
            (9_996, "10.0 µs"),
            (99_960, "100 µs"),
            (999_499, "999 µs"),
            (999_600, "1.00 ms"),
            (45_600_000, "45.6 ms"),
            (12_000_000_000, "12.0 s"),
            (1_234_000_000_000, "1234 s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn ages_are_told_in_the_two_units_that_matter() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (723, "12m 03s"), (11_100, "3h 05m"), (176_400, "2d 01h")]
        {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn counts_are_exact_below_a_million() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (999_999, "999,999"),
            (1_234_567, "1.23 M"),
            (12_345_678_901, "12.3 G"),
        ] {
            assert_eq!(count(value), text);
        }
        assert_eq!(exact(1_234_567), "1,234,567");
    }

    #[test]
    fn memory_is_told_in_powers_of_1024() {
        for (value, text) in
            [(512, "512 B"), (1_536, "1.50 KiB"), (1_040_000, "0.99 MiB"), (12_897_485, "12.3 MiB")]
        {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn nothing_is_wider_than_eight_characters() {
        let short = |text: String| assert!(text.chars().count() <= 8, "{text:?} is too wide");
        for power in 0..50u32 {
            let nanos = 3u64.saturating_pow(power).min(9_999_000_000_000);
            short(duration(Duration::from_nanos(nanos)));
            short(bytes(3usize.saturating_pow(power).min(900 << 30)));
        }
        for power in 0..38u32 {
            short(count(3u64.pow(power)));
        }
    }

    #[test]
    fn a_plot_ends_at_a_round_figure_and_never_at_nothing() {
        for (value, end) in [
            (0.0, 1.0),
            (f64::NAN, 1.0),
            (f64::INFINITY, 1.0),
            (0.3, 0.3),
            (0.31, 0.4),
            (1.0, 1.0),
            (1.1, 2.0),
            (16.6, 20.0),
            (999.0, 1000.0),
        ] {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}");
        }
    }
}
