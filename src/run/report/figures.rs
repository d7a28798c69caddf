//! [`Figures`]: counts and timings of each script.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::pool::{Timing, TimingHistogram};
use crate::run::report::log_budget::LogLineBudget;

/// Counts and timings of scripts, by path and by number.
///
/// Of the scripts that nobody carries any more, those that were used last are kept. Others are forgotten: scripts can
/// name any number of further ones.
pub(crate) struct Figures {
    numbers: BTreeMap<Arc<str>, usize>,
    list: Vec<ScriptFigures>,
    /// Numbers that no script has.
    free: Vec<usize>,
    /// Frames that have ended.
    frame: u64,
    /// With more scripts than this, the unused ones are looked for.
    bound: usize,
}

impl Default for Figures {
    fn default() -> Self {
        let (numbers, list, free) = Default::default();
        Self { numbers, list, free, frame: 0, bound: 2 * Self::UNUSED }
    }
}

/// Counts and timings of one script.
#[derive(Default)]
pub(crate) struct ScriptFigures {
    pub(crate) runs: u64,
    pub(crate) errors: u64,
    pub(crate) retries: u64,
    /// Large, so there is none before the first run is timed.
    time: Option<Box<TimingHistogram>>,
    pub(crate) quarantines: u64,
    /// Why it doesn't load.
    pub(crate) broken: Option<Arc<str>>,
    /// How much it may log.
    pub(crate) log_lines: LogLineBudget,
    /// It was put aside on some entity, and that was logged.
    pub(crate) logged_put_aside: bool,
    /// The last frame in which it was used.
    used: u64,
}

impl ScriptFigures {
    pub(crate) fn record(&mut self, time: Duration) {
        self.time.get_or_insert_default().record(time);
    }

    pub(crate) fn timing(&self) -> Timing {
        self.time.as_ref().map(|time| time.timing()).unwrap_or_default()
    }
}

impl Figures {
    /// So many scripts that nobody carries are kept, and up to twice as many until they are looked for.
    pub(crate) const UNUSED: usize = 256;

    /// The number of a script. It keeps it for this frame at least.
    pub(crate) fn number(&mut self, script: &Arc<str>) -> usize {
        let number = match self.numbers.get(script) {
            Some(number) => *number,
            None => {
                let number = self.free.pop().unwrap_or_else(|| {
                    self.list.push(ScriptFigures::default());
                    self.list.len() - 1
                });
                self.numbers.insert(Arc::clone(script), number);
                number
            }
        };
        self.list[number].used = self.frame;
        number
    }

    pub(crate) fn of(&mut self, script: &Arc<str>) -> &mut ScriptFigures {
        let number = self.number(script);
        &mut self.list[number]
    }

    pub(crate) fn at(&mut self, number: usize) -> &mut ScriptFigures {
        &mut self.list[number]
    }

    /// All scripts, by path.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &ScriptFigures)> {
        self.numbers.iter().map(|(script, number)| (script, &self.list[*number]))
    }

    /// Ends a frame: if too many scripts were not used in it, forgets those that were used longest ago.
    pub(crate) fn end_of_frame(&mut self) {
        let frame = self.frame;
        self.frame += 1;
        if self.numbers.len() <= self.bound {
            return;
        }
        let mut unused: Vec<_> = self
            .numbers
            .iter()
            .map(|(script, number)| (self.list[*number].used, script))
            .filter(|(used, _)| *used != frame)
            .collect();
        unused.sort_unstable();
        let surplus = unused.len().saturating_sub(Self::UNUSED);
        let forgotten: Vec<Arc<str>> =
            unused[..surplus].iter().map(|(_, script)| Arc::clone(script)).collect();
        for script in forgotten {
            let number = self.numbers.remove(&script).expect("it was just found");
            self.list[number] = ScriptFigures::default();
            self.free.push(number);
        }
        self.bound = self.numbers.len() + Self::UNUSED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_nobody_carries_are_forgotten_and_those_in_use_never() {
        let mut figures = Figures::default();
        let carried: Vec<Arc<str>> = (0..300).map(|n| format!("carried/{n}").into()).collect();
        let numbers: Vec<_> = carried.iter().map(|script| figures.number(script)).collect();
        for frame in 0..5000 {
            for (script, number) in carried.iter().zip(&numbers) {
                assert_eq!(figures.number(script), *number);
                figures.at(*number).runs += 1;
            }
            for n in 0..3 {
                let named = figures.of(&format!("named/{frame}/{n}").into());
                assert_eq!((named.runs, &named.broken), (0, &None), "a new one is a new one");
                named.runs += 1;
                named.broken = Some("it is missing".into());
            }
            figures.end_of_frame();
        }
        let most = carried.len() + 2 * Figures::UNUSED + 6;
        assert!(figures.numbers.len() <= most, "{}", figures.numbers.len());
        assert!(figures.list.len() <= most, "{}", figures.list.len());
        assert_eq!(figures.list.len(), figures.numbers.len() + figures.free.len());
        assert!(numbers.iter().all(|number| figures.list[*number].runs == 5000));
        let recent: Arc<str> = "named/4999/0".into();
        assert_eq!(figures.of(&recent).runs, 1, "the latest are still there");
    }

    #[test]
    fn there_is_no_histogram_before_there_is_something_to_time() {
        let mut figures = ScriptFigures::default();
        assert!(figures.time.is_none());
        assert_eq!(figures.timing(), Timing::default());
        figures.record(Duration::from_micros(3));
        assert_eq!(figures.timing().count, 1);
    }
}
