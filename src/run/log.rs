//! How much of what goes wrong with scripts, and of what they log themselves, comes into the log.

use bevy::log::warn;

/// How many errors and warnings about scripts may be logged in a whole app. Those beyond that are counted, and
/// one line says how many they were. It goes by frames, so what is logged depends on no clock.
pub(crate) struct LogBudget {
    left: u32,
    left_out: u64,
    frame: u64,
}

impl LogBudget {
    /// So many at once,
    const MOST: u32 = 64;
    /// and one more each time that so many frames are over.
    const FRAMES: u64 = 8;
    /// After so many frames it is told how many were left out.
    const TOLD_AFTER: u64 = 64;

    /// Whether there may be one more.
    pub(crate) fn take(&mut self) -> bool {
        let may = self.left > 0;
        if may {
            self.left -= 1;
        } else {
            self.left_out += 1;
        }
        may
    }

    /// A frame is over.
    pub(crate) fn end_of_frame(&mut self) {
        self.frame += 1;
        if self.frame.is_multiple_of(Self::FRAMES) {
            self.left = Self::MOST.min(self.left + 1);
        }
        if self.frame.is_multiple_of(Self::TOLD_AFTER) && self.left_out > 0 {
            let count = std::mem::take(&mut self.left_out);
            warn!(
                "{count} more errors and warnings about scripts are left out of the log; \
                 `LuaSnapshot::errors` and the overlay have the latest, and counts of all"
            );
        }
    }
}

impl Default for LogBudget {
    fn default() -> Self {
        Self { left: Self::MOST, left_out: 0, frame: 0 }
    }
}

/// How many of their own lines scripts have logged: many at once, and fewer when they go on and on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LineBudget {
    /// Lines and their bytes, less what was allowed since.
    spent: (usize, usize),
    /// The frame in which it was looked at last.
    frame: u64,
    left_out: u64,
    /// The frame in which it was told last how many were left out.
    told: u64,
}

/// How many lines may be logged, with so many bytes as they are written.
pub(crate) struct LineRate {
    at_once: (usize, usize),
    /// So many more after each frame.
    a_frame: (usize, usize),
}

impl LineRate {
    /// Those of one script, on all entities that carry it.
    pub(crate) const OF_A_SCRIPT: Self = Self { at_once: (1024, 128 * 1024), a_frame: (32, 4096) };
    /// Those of all scripts of an app.
    pub(crate) const OF_ALL: Self = Self { at_once: (4096, 256 * 1024), a_frame: (128, 16 * 1024) };
}

impl LineBudget {
    /// Whether a line of so many bytes may be logged in this frame.
    pub(crate) fn take(&mut self, rate: &LineRate, frame: u64, bytes: usize) -> bool {
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

    /// How many lines were left out since that was told, if it is time to tell it.
    pub(crate) fn take_left_out(&mut self, frame: u64) -> Option<u64> {
        if self.left_out == 0 || frame < self.told + LogBudget::TOLD_AFTER {
            return None;
        }
        self.told = frame;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_logs_much_at_once_and_less_for_ever() {
        for bytes in [10, 2000] {
            let mut budget = LineBudget::default();
            let rate = LineRate::OF_A_SCRIPT;
            let at_once = rate.at_once.0.min(rate.at_once.1 / bytes);
            let taken = |budget: &mut LineBudget, frame| {
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
            assert_eq!(budget.take_left_out(200), None, "it was told");
            assert_eq!(taken(&mut budget, 1_000_000), at_once, "no more than that is saved up");
        }
    }

    #[test]
    fn so_many_at_once_and_then_one_now_and_then() {
        let mut budget = LogBudget::default();
        let taken = |budget: &mut LogBudget| (0..1000).filter(|_| budget.take()).count();
        assert_eq!(taken(&mut budget), LogBudget::MOST as usize);
        assert_eq!(budget.left_out, 1000 - u64::from(LogBudget::MOST));
        let mut told = 0;
        for _ in 0..10 * LogBudget::FRAMES {
            budget.end_of_frame();
            told += taken(&mut budget);
        }
        assert_eq!(told, 10);
        for _ in 0..1000 * LogBudget::FRAMES {
            budget.end_of_frame();
        }
        assert_eq!(budget.left_out, 0, "it was told");
        assert_eq!(taken(&mut budget), LogBudget::MOST as usize, "no more than that is saved up");
    }
}
