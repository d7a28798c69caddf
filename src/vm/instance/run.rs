//! Runs of one callback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Vm;
use super::verdict::{LimitVerdict, ran_out};
use crate::error::Failure;
use crate::vm::call::{Call, Used};
use crate::vm::deadline::RunDeadline;
use crate::vm::engage::engage;
use crate::vm::host::Host;
use crate::vm::limits::RunLimits;
use crate::vm::mutable::Mutable;
use crate::vm::outcome::{Outcome, Ran};
use crate::vm::program::Program;
use crate::vm::raw;
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
                // The script could tell that it ran on an image: run again, on a file level of its own.
                Err((already, line)) => {
                    used = Some(already);
                    program.found_mutable(Mutable::Tables { line });
                }
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
    /// could tell that it ran on an image, gives the time used by then, and the line.
    pub(super) fn attempt(
        &mut self,
        place: usize,
        program: &Program,
        call: Call<'_>,
        host: &mut dyn Host,
        limits: &RunLimits,
        (on_image, used): (bool, Option<Duration>),
    ) -> Result<Ran, (Duration, Option<u32>)> {
        let program_here = self.programs.at(place);
        let counting = self.allowance.count(&self.lua);
        let deadline = match used {
            None => RunDeadline::begin(&self.watch, limits.time),
            Some(used) => RunDeadline::resume(&self.watch, limits.time, used),
        };
        let mut run = raw::Run::new(host, deadline, limits.value_size, &self.refs);
        let ended = match &program_here.image {
            Some(image) if on_image => {
                let image = (image, &mut program_here.shapes);
                raw::run_on_image(&self.lua, &self.refs, program, image, call, &mut run)
            }
            _ => {
                let main = program_here.main().expect("it was loaded");
                raw::run_callback(&self.lua, &self.refs, program, main, call, &mut run)
            }
        };
        raw::forget_all(&self.lua, &self.refs, &run);
        let passed = counting.is_some_and(|counting| counting.passed());
        let verdict =
            LimitVerdict::of(&mut run, passed || matches!(ended, raw::Ended::OutOfMemory));
        let used = run.deadline.roughly_used();
        self.used = run.used();
        drop(run);
        match ended {
            raw::Ended::TouchedImage(raw::Touched { line }) if !ran_out(&verdict) => {
                Err((used, line))
            }
            ended => Ok(self.judge(program, ended, verdict)),
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
