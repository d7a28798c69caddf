//! Runs of one callback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Vm;
use super::verdict::LimitVerdict;
use crate::error::Failure;
use crate::vm::batch::{BatchEnd, CallArgs, CallBatch, Turn};
use crate::vm::call::{Call, Used};
use crate::vm::engage::engage;
use crate::vm::host::Host;
use crate::vm::limits::RunLimits;
use crate::vm::outcome::{Outcome, Ran};
use crate::vm::program::Program;
use crate::vm::raw;
use crate::vm::state_change::StateChange;
use crate::vm::watchdog::Engaged;

impl Vm {
    /// Runs one callback. Whatever happens, the next run starts from the same pristine state, unless
    /// [`Vm::is_spent`] says that there must be none.
    pub fn run(
        &mut self,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
    ) -> Outcome {
        let start = Instant::now();
        let ran = engage(|engaged| self.run_change(program, call, host, limits, None, engaged));
        self.last_run_time = start.elapsed();
        match ran {
            Ran::Missing => Outcome::Missing,
            Ran::Done(change) => Outcome::Done(change.applied_to(call.state)),
            Ran::Failed(failure) => Outcome::Failed(*failure),
        }
    }

    /// As [`Vm::run`], but gives what changed. `used` is the time that the run has used already.
    pub(crate) fn run_change(
        &mut self,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
        used: Option<Duration>,
        _: &Engaged,
    ) -> Ran {
        self.runs += 1;
        self.note_program(program);
        let ran = if self.limit_memory(limits) && !program.is_hungry() {
            match self.run_once(program, call, host, limits, used) {
                _ if std::mem::take(&mut self.ran_out) => {
                    host.rewind();
                    self.run_measured(program, call, host, limits)
                }
                ran => ran,
            }
        } else {
            host.begin();
            self.run_measured(program, call, host, limits)
        };
        self.tidy();
        ran
    }

    pub(super) fn note_program(&mut self, program: &Program) {
        let same = |last: &Arc<str>| Arc::ptr_eq(last, program.title());
        if self.suspects.is_empty() || !self.last_program.as_ref().is_some_and(same) {
            self.last_program = Some(Arc::clone(program.title()));
            self.suspects.add(program.title());
        }
    }

    fn run_once(
        &mut self,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
        mut used: Option<Duration>,
    ) -> Ran {
        host.begin();
        self.used = Used::default();
        let mut place = match self.load(program) {
            Ok(place) => place,
            Err(error) => return Ran::Failed(Failure::new(program.name(), error).into()),
        };
        if program.mutable().is_none() {
            if self.programs.at(place).image.is_none() {
                if let Err(failed) = self.image(place, program, host, limits) {
                    return failed;
                }
                if self.is_crowded() {
                    self.tidy_up(Some(program.id()));
                    place = self.programs.place_of(program.id()).expect("it is in use");
                }
            }
            if self.is_cramped() {
                // What was just loaded leaves too little room: run measured.
                self.ran_out = true;
                return Ran::Missing;
            }
            match self.attempt(place, program, call, host, limits, (true, used)) {
                Ok(ran) => return ran,
                Err(already) => used = Some(already),
            }
            host.rewind();
        }
        if self.programs.at(place).main().is_none() {
            self.drop_image(place, program);
            // Start with no more garbage than if it had never had an image.
            if self.is_crowded() {
                self.collect();
            }
            match self.load_counted(program) {
                Ok(main) => self.programs.keep_main(place, main),
                Err(error) => return Ran::Failed(Failure::new(program.name(), error).into()),
            }
        }
        self.attempt(place, program, call, host, limits, (false, used))
            .unwrap_or_else(|_| unreachable!("a run on a file level of its own has no image"))
    }

    /// Runs on the image, or on a file level of its own, with the time that the run has used already. If the script
    /// could tell that it ran on an image, gives the time used by then.
    pub(super) fn attempt(
        &mut self,
        place: usize,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
        (on_image, used): (bool, Option<Duration>),
    ) -> Result<Ran, Duration> {
        let mut single = SingleCall { call: Some(call), change: None };
        let how = (call.callback, on_image);
        match self.run_calls(place, program, how, (limits, used), (host, &mut single)).0 {
            BatchEnd::With(ran) => Ok(ran),
            BatchEnd::Done => Ok(Ran::Done(single.change.expect("its only call has returned"))),
            BatchEnd::Again(used) => Err(used),
        }
    }

    /// Decides how a run ended. The limits have the last word, whatever the script caught.
    pub(super) fn judge(
        &mut self,
        program: &Program,
        ended: raw::Ended,
        verdict: Option<Box<LimitVerdict>>,
    ) -> Ran {
        let fail = |error, line, traceback| {
            let script = Arc::clone(program.name());
            Ran::Failed(Box::new(Failure { error, script, line, traceback }))
        };
        let Some(verdict) = verdict else {
            return match ended {
                raw::Ended::Done(change) => Ran::Done(change),
                raw::Ended::Failed(failed) => fail(failed.error, failed.line, failed.frames),
                _ => Ran::Missing,
            };
        };
        let LimitVerdict { out_of_memory, broken, place: (line, frames) } = *verdict;
        self.spent = true;
        self.ran_out = out_of_memory;
        let no_memory = || self.out_of_memory(self.allowance.of_run, usize::MAX);
        match (ended, broken) {
            (raw::Ended::Failed(failed), _) if out_of_memory => {
                fail(no_memory(), failed.line, failed.frames)
            }
            _ if out_of_memory => fail(no_memory(), line, frames),
            (raw::Ended::Failed(failed), limit) => {
                fail(limit.unwrap_or(failed.error), failed.line, failed.frames)
            }
            (_, Some(error)) => fail(error, None, String::new()),
            (raw::Ended::Done(change), None) => Ran::Done(change),
            (_, None) => Ran::Missing,
        }
    }
}

/// A batch of one.
struct SingleCall<'a> {
    /// Until it begins.
    call: Option<Call<'a>>,
    /// When it has returned.
    change: Option<StateChange>,
}

impl<'a, 'x> CallBatch<'a, dyn Host + 'x> for SingleCall<'a> {
    fn as_host<'h>(host: &'h mut (dyn Host + 'x)) -> &'h mut (dyn Host + 'h) {
        host
    }

    fn next(&mut self, host: &mut (dyn Host + 'x)) -> Option<Turn<'a>> {
        let Call { state, args, seed, .. } = self.call.take()?;
        Some(Turn { entity: host.entity(), state, args: CallArgs::Values(args), seed })
    }

    fn finish(&mut self, _: &mut (dyn Host + 'x), change: StateChange, _: Used) {
        self.change = Some(change);
    }
}
