//! [`Answers`]: what functions of the host told a run, for when that begins once more.

use crate::error::ScriptError;
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::RunRandom;

/// Bytes of arguments and results that are kept of one run; one that has had more doesn't begin once more.
const KEPT: usize = 1024 * 1024;

/// What a call takes besides its arguments and its result, in bytes.
const CALL: usize = 128;

/// A run that begins once more hears again what it was told before: what a function of the host did for it is
/// done, and isn't done twice.
#[derive(Debug, Default)]
pub(super) struct Answers {
    kept: Vec<Answer>,
    bytes: usize,
    /// Calls that were made before it began once more. Those that panicked have no answer.
    made: usize,
    /// How many it has heard again, since it began once more.
    again: Option<usize>,
    strayed: bool,
}

#[derive(Debug)]
struct Answer {
    function: u32,
    args: Vec<ScriptValue>,
    result: Result<ScriptValues, ScriptError>,
    /// The random numbers as the function left them.
    random: RunRandom,
}

impl Answers {
    /// Whether the run may begin once more: all answers are here.
    pub(super) fn are_complete(&self) -> bool {
        self.made == self.kept.len()
    }

    /// Whether the run began once more and then called something else. What it would have come to isn't known.
    pub(super) fn has_strayed(&self) -> bool {
        self.strayed
    }

    /// The run begins once more.
    pub(super) fn rewind(&mut self) {
        self.again = Some(0);
    }

    /// The answer to a call, which `call` makes if it wasn't made before.
    pub(super) fn to(
        &mut self,
        function: u32,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
        call: impl FnOnce(Vec<ScriptValue>, &mut RunRandom) -> Result<ScriptValues, ScriptError>,
    ) -> Result<ScriptValues, ScriptError> {
        let Some(again) = &mut self.again else {
            return self.keep(function, args, random, call);
        };
        let answer = match self.kept.get(*again) {
            _ if self.strayed => return Err(strayed()),
            Some(answer) => answer,
            None => return call(args, random),
        };
        if !answer.is_to(function, &args) {
            self.strayed = true;
            return Err(strayed());
        }
        *again += 1;
        *random = answer.random.clone();
        answer.result.clone()
    }

    fn keep(
        &mut self,
        function: u32,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
        call: impl FnOnce(Vec<ScriptValue>, &mut RunRandom) -> Result<ScriptValues, ScriptError>,
    ) -> Result<ScriptValues, ScriptError> {
        self.made += 1;
        self.bytes += CALL + args.iter().map(ScriptValue::size).sum::<usize>();
        if self.bytes > KEPT {
            return call(args, random);
        }
        let result = call(args.clone(), random);
        self.bytes += result.as_ref().map_or(0, ScriptValues::size);
        if self.bytes <= KEPT {
            let answer = Answer { function, args, result: result.clone(), random: random.clone() };
            self.kept.push(answer);
        }
        result
    }
}

fn strayed() -> ScriptError {
    ScriptError::Host { message: "the run began once more and went another way".to_owned() }
}

impl Answer {
    fn is_to(&self, function: u32, args: &[ScriptValue]) -> bool {
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
        let answer = answers.to(function, vec![arg.into()], &mut random, |_, random| {
            Ok(ScriptValue::from(random.next_u32()).into())
        });
        let drawn = f64::from(random.next_u32());
        answer.map(|answer| match answer.into_first() {
            ScriptValue::Number(number) => number + drawn,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_run_that_begins_once_more_hears_and_draws_the_same_again() {
        let mut answers = Answers::default();
        let first = told(&mut answers, 0, f64::NAN);
        assert!(answers.are_complete());
        answers.rewind();
        let never = |_: Vec<ScriptValue>, _: &mut RunRandom| panic!("it was called already");
        let mut random = RunRandom::new(1);
        let again = answers.to(0, vec![f64::NAN.into()], &mut random, never);
        let again = again.map(ScriptValues::into_first);
        let Ok(ScriptValue::Number(again)) = again else { panic!("{again:?}") };
        assert_eq!(Ok(again + f64::from(random.next_u32())), first);
        assert_eq!(told(&mut answers, 0, 1.0), first, "from there on it is really called");
    }

    #[test]
    fn a_run_that_goes_another_way_hears_nothing_any_more() {
        for (function, arg) in [(1, 1.0), (0, 2.0)] {
            let mut answers = Answers::default();
            assert!(told(&mut answers, 0, 1.0).is_ok());
            assert!(told(&mut answers, 0, 1.0).is_ok());
            answers.rewind();
            assert!(told(&mut answers, function, arg).is_err());
            assert!(answers.has_strayed());
            for _ in 0..3 {
                assert!(told(&mut answers, 0, 1.0).is_err(), "even if it finds back");
            }
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_missing_is_known() {
        let mut answers = Answers::default();
        for call in 0.. {
            assert!(call <= KEPT / CALL, "there is an end");
            assert!(told(&mut answers, 0, 1.0).is_ok());
            if !answers.are_complete() {
                break;
            }
        }
        assert!(answers.kept.len() > KEPT / CALL / 2);
    }
}
