//! How much is logged of what goes wrong with scripts, and of what they log themselves.

use bevy::log::warn;

/// Frames between two log lines that say how many others were left out.
const FRAMES_BETWEEN_NOTES: u64 = 64;

/// How many errors and warnings about scripts are logged in an app. The others are counted, and one line says how
/// many they were.
///
/// The rate is per frame, so what is logged doesn't depend on a clock.
pub(crate) struct WarningBudget {
    left: u32,
    left_out: u64,
    frame: u64,
}

impl WarningBudget {
    /// Errors and warnings at once.
    const MOST: u32 = 64;
    /// Frames after which one more is allowed.
    const FRAMES_FOR_ONE: u64 = 8;

    /// Whether one more may be logged. If not, it is counted as left out.
    pub(crate) fn take(&mut self) -> bool {
        let may = self.left > 0;
        if may {
            self.left -= 1;
        } else {
            self.left_out += 1;
        }
        may
    }

    /// Ends a frame. Logs how many were left out now and then.
    pub(crate) fn end_of_frame(&mut self) {
        self.frame += 1;
        if self.frame.is_multiple_of(Self::FRAMES_FOR_ONE) {
            self.left = Self::MOST.min(self.left + 1);
        }
        if self.frame.is_multiple_of(FRAMES_BETWEEN_NOTES) && self.left_out > 0 {
            let count = std::mem::take(&mut self.left_out);
            warn!(
                "{count} more errors and warnings about scripts are left out of the log; \
                 `LuaSnapshot::errors` and the overlay have the latest, and counts of all"
            );
        }
    }
}

impl Default for WarningBudget {
    fn default() -> Self {
        Self { left: Self::MOST, left_out: 0, frame: 0 }
    }
}

/// How much scripts have logged themselves, to be held against a [`LogLineRate`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogLineBudget {
    /// Lines and bytes, less what the rate has allowed since.
    spent: (usize, usize),
    /// The frame for which `spent` holds.
    frame: u64,
    left_out: u64,
    /// The frame in which the lines that were left out were last taken.
    taken: u64,
}

/// How many lines scripts may log: more at once than in the long run.
pub(crate) struct LogLineRate {
    /// Lines and bytes, as they are written.
    at_once: (usize, usize),
    /// Lines and bytes that are allowed again after each frame.
    a_frame: (usize, usize),
}

impl LogLineRate {
    /// For one script, on all entities that carry it.
    pub(crate) const OF_A_SCRIPT: Self = Self { at_once: (1024, 128 * 1024), a_frame: (32, 4096) };
    /// For all scripts of an app together.
    pub(crate) const OF_ALL: Self = Self { at_once: (4096, 256 * 1024), a_frame: (128, 16 * 1024) };
}

impl LogLineBudget {
    /// Whether a line of so many bytes may be logged in this frame. If not, it is counted as left out.
    pub(crate) fn take(&mut self, rate: &LogLineRate, frame: u64, bytes: usize) -> bool {
        let frames = usize::try_from(frame.saturating_sub(self.frame)).unwrap_or(usize::MAX);
        if frames > 0 {
            let (lines, bytes) = rate.a_frame;
            self.spent.0 = self.spent.0.saturating_sub(frames.saturating_mul(lines));
            self.spent.1 = self.spent.1.saturating_sub(frames.saturating_mul(bytes));
            self.frame = frame;
        }
        let (lines, all_bytes) = (self.spent.0 + 1, self.spent.1.saturating_add(bytes));
        let may = lines <= rate.at_once.0 && all_bytes <= rate.at_once.1;
        if may {
            self.spent = (lines, all_bytes);
        } else {
            self.left_out += 1;
        }
        may
    }

    /// How many lines were left out since this was last asked, if it is time to log that.
    pub(crate) fn take_left_out(&mut self, frame: u64) -> Option<u64> {
        if self.left_out == 0 || frame < self.taken + FRAMES_BETWEEN_NOTES {
            return None;
        }
        self.taken = frame;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_logs_much_at_once_and_less_for_ever() {
        for bytes in [10, 2000] {
            let mut budget = LogLineBudget::default();
            let rate = LogLineRate::OF_A_SCRIPT;
            let at_once = rate.at_once.0.min(rate.at_once.1 / bytes);
            let taken = |budget: &mut LogLineBudget, frame| {
                (0..2000).filter(|_| budget.take(&rate, frame, bytes)).count()
            };
            assert_eq!(taken(&mut budget, 0), at_once);
            let later: usize = (1..=100).map(|frame| taken(&mut budget, frame)).sum();
            let a_frame = rate.a_frame;
            let most = (100 * a_frame.0).min(100 * a_frame.1 / bytes + 1);
            assert!(later <= most && later + 1 >= most, "{later} of {most}");
            assert_eq!(budget.take_left_out(63), None);
            let left_out = 101 * 2000 - (at_once + later) as u64;
            assert_eq!(budget.take_left_out(100), Some(left_out));
            assert_eq!(budget.take_left_out(200), None, "it was taken");
            assert_eq!(taken(&mut budget, 1_000_000), at_once, "no more than that is saved up");
        }
    }

    #[test]
    fn so_many_at_once_and_then_one_now_and_then() {
        let mut budget = WarningBudget::default();
        let taken = |budget: &mut WarningBudget| (0..1000).filter(|_| budget.take()).count();
        assert_eq!(taken(&mut budget), WarningBudget::MOST as usize);
        assert_eq!(budget.left_out, 1000 - u64::from(WarningBudget::MOST));
        let mut told = 0;
        for _ in 0..10 * WarningBudget::FRAMES_FOR_ONE {
            budget.end_of_frame();
            told += taken(&mut budget);
        }
        assert_eq!(told, 10);
        for _ in 0..1000 * WarningBudget::FRAMES_FOR_ONE {
            budget.end_of_frame();
        }
        assert_eq!(budget.left_out, 0, "it was logged");
        assert_eq!(
            taken(&mut budget),
            WarningBudget::MOST as usize,
            "no more than that is saved up"
        );
    }
}
