//! [`Answers`]: the results of host functions, recorded for a retry of the run.

use crate::error::ScriptError;
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::RunRandom;

/// Bytes of arguments and results that are recorded for one run. A run with more is not retried.
const MAX_RECORDED: usize = 1024 * 1024;

/// Bytes that a call counts as, in addition to its arguments and its result.
const CALL_BYTES: usize = 128;

/// The calls of host functions that a run made. A retry replays the results, since the effects of a host function must
/// not happen twice.
#[derive(Debug, Default)]
pub(super) struct Answers {
    recorded: Vec<RecordedCall>,
    bytes: usize,
    /// Calls that were made before the retry. Those that panicked are not recorded.
    calls: usize,
    /// How many calls the retry has replayed; `None` before the retry.
    replayed: Option<usize>,
    has_diverged: bool,
}

#[derive(Debug)]
struct RecordedCall {
    function: u32,
    args: Vec<ScriptValue>,
    result: Result<ScriptValues, ScriptError>,
    /// The state of the random numbers after the call.
    random: RunRandom,
}

impl Answers {
    /// Whether every call is recorded, so that the run can be retried.
    pub(super) fn are_complete(&self) -> bool {
        self.calls == self.recorded.len()
    }

    /// Whether the retry made other calls than the first attempt. Its result is meaningless then.
    pub(super) fn have_diverged(&self) -> bool {
        self.has_diverged
    }

    /// Begins the retry.
    pub(super) fn rewind(&mut self) {
        self.replayed = Some(0);
    }

    /// The result of a call: replayed, or from `call` if it was not made before.
    pub(super) fn answer(
        &mut self,
        function: u32,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
        call: impl FnOnce(Vec<ScriptValue>, &mut RunRandom) -> Result<ScriptValues, ScriptError>,
    ) -> Result<ScriptValues, ScriptError> {
        let Some(replayed) = &mut self.replayed else {
            return self.record(function, args, random, call);
        };
        let recorded = match self.recorded.get(*replayed) {
            _ if self.has_diverged => return Err(diverged()),
            Some(recorded) => recorded,
            None => return call(args, random),
        };
        if !recorded.matches(function, &args) {
            self.has_diverged = true;
            return Err(diverged());
        }
        *replayed += 1;
        *random = recorded.random.clone();
        recorded.result.clone()
    }

    fn record(
        &mut self,
        function: u32,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
        call: impl FnOnce(Vec<ScriptValue>, &mut RunRandom) -> Result<ScriptValues, ScriptError>,
    ) -> Result<ScriptValues, ScriptError> {
        self.calls += 1;
        self.bytes += CALL_BYTES + args.iter().map(ScriptValue::size).sum::<usize>();
        if self.bytes > MAX_RECORDED {
            return call(args, random);
        }
        let result = call(args.clone(), random);
        self.bytes += result.as_ref().map_or(0, ScriptValues::size);
        if self.bytes <= MAX_RECORDED {
            let (result, random) = (result.clone(), random.clone());
            self.recorded.push(RecordedCall { function, args, result, random });
        }
        result
    }
}

fn diverged() -> ScriptError {
    ScriptError::Host { message: "the run began once more and went another way".to_owned() }
}

impl RecordedCall {
    fn matches(&self, function: u32, args: &[ScriptValue]) -> bool {
        let same = |(a, b): (&ScriptValue, &ScriptValue)| a.is_identical(b);
        self.function == function
            && self.args.len() == args.len()
            && self.args.iter().zip(args).all(same)
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn told(answers: &mut Answers, function: u32, arg: f64) -> Result<f64, ScriptError> {
        let mut random = RunRandom::new(1);
        let answer = answers.answer(function, vec![arg.into()], &mut random, |_, random| {
            Ok(ScriptValue::from(random.next_u32()).into())
        });
        let drawn = f64::from(random.next_u32());
        answer.map(|answer| match answer.into_first() {
            ScriptValue::Number(number) => number + drawn,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_retry_gets_the_same_results_and_random_numbers() {
        let mut answers = Answers::default();
        let first = told(&mut answers, 0, f64::NAN);
        assert!(answers.are_complete());
        answers.rewind();
        let never = |_: Vec<ScriptValue>, _: &mut RunRandom| panic!("it was called already");
        let mut random = RunRandom::new(1);
        let again = answers.answer(0, vec![f64::NAN.into()], &mut random, never);
        let again = again.map(ScriptValues::into_first);
        let Ok(ScriptValue::Number(again)) = again else { panic!("{again:?}") };
        assert_eq!(Ok(again + f64::from(random.next_u32())), first);
        assert_eq!(told(&mut answers, 0, 1.0), first, "from there on it is really called");
    }

    #[test]
    fn a_retry_that_diverges_gets_no_results_any_more() {
        for (function, arg) in [(1, 1.0), (0, 2.0)] {
            let mut answers = Answers::default();
            assert!(told(&mut answers, 0, 1.0).is_ok());
            assert!(told(&mut answers, 0, 1.0).is_ok());
            answers.rewind();
            assert!(told(&mut answers, function, arg).is_err());
            assert!(answers.have_diverged());
            for _ in 0..3 {
                assert!(told(&mut answers, 0, 1.0).is_err(), "even with the recorded call");
            }
        }
    }

    #[test]
    fn the_record_is_bounded_and_knows_that_it_is_incomplete() {
        let mut answers = Answers::default();
        for call in 0.. {
            assert!(call <= MAX_RECORDED / CALL_BYTES, "there is an end");
            assert!(told(&mut answers, 0, 1.0).is_ok());
            if !answers.are_complete() {
                break;
            }
        }
        assert!(answers.recorded.len() > MAX_RECORDED / CALL_BYTES / 2);
    }
}
