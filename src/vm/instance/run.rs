//! Runs of one callback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Vm;
use crate::error::Failure;
use crate::vm::batch::{BatchEnd, CallArgs, CallBatch, Turn};
use crate::vm::call::{Call, Used};
use crate::vm::engage::engage;
use crate::vm::host::Host;
use crate::vm::limit_verdict::{LimitVerdict, judge};
use crate::vm::limits::RunLimits;
use crate::vm::outcome::{CallResult, Outcome};
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
            Ok(None) => Outcome::Missing,
            Ok(Some(change)) => Outcome::Done(change.applied_to(call.state)),
            Err(failure) => Outcome::Failed(*failure),
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
    ) -> CallResult {
        host.begin();
        self.run_or_measure(
            (program, limits),
            (host, |_| true),
            |vm, host| vm.run_once(program, call, host, limits, used),
            |vm, host| vm.run_measured(program, call, host, limits),
        )
    }

    /// Runs `quick`. If that meets what the allocator gives, takes it back and runs `measured`, unless the host
    /// `can_rewind` not. Runs `measured` at once if `quick` is likely to fail.
    pub(super) fn run_or_measure<R>(
        &mut self,
        (program, limits): (&Program, &RunLimits),
        (host, can_rewind): (&mut dyn Host, impl FnOnce(&dyn Host) -> bool),
        quick: impl FnOnce(&mut Self, &mut dyn Host) -> R,
        measured: impl FnOnce(&mut Self, &mut dyn Host) -> R,
    ) -> R {
        self.runs += 1;
        self.note_program(program);
        let result = if self.limit_memory(limits) && !program.is_hungry() {
            match quick(self, host) {
                _ if std::mem::take(&mut self.ran_out) && can_rewind(host) => {
                    host.rewind();
                    measured(self, host)
                }
                result => result,
            }
        } else {
            measured(self, host)
        };
        self.tidy();
        result
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
    ) -> CallResult {
        self.used = Used::default();
        let fail = |error| Box::new(Failure::new(program.name(), error));
        let mut place = self.load(program).map_err(fail)?;
        if program.mutable().is_none() {
            if self.programs.at(place).image.is_none() {
                self.image(place, program, host, limits)?;
                if self.is_crowded() {
                    self.tidy_up(Some(program.id()));
                    place = self.programs.place_of(program.id()).expect("it is in use");
                }
            }
            if self.is_cramped() {
                // What was just loaded leaves too little room: run measured.
                self.ran_out = true;
                return Ok(None);
            }
            match self.attempt(place, program, call, host, limits, (true, used)) {
                Ok(result) => return result,
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
            let main = self.load_counted(program).map_err(fail)?;
            self.programs.keep_main(place, main);
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
    ) -> Result<CallResult, Duration> {
        let mut single = SingleCall { call: Some(call), change: None };
        let how = (call.callback, on_image);
        match self.run_calls(place, program, how, (limits, used), (host, &mut single)).0 {
            BatchEnd::With(result) => Ok(result),
            BatchEnd::Done => Ok(Ok(Some(single.change.expect("its only call has returned")))),
            BatchEnd::Again(used) => Err(used),
        }
    }

    /// Decides how a run ended. If that was by a limit, the VM is spent.
    pub(super) fn judge<T>(
        &mut self,
        program: &Program,
        ended: Result<T, raw::RunStop>,
        verdict: Option<Box<LimitVerdict>>,
        limits: &RunLimits,
    ) -> Result<T, Box<Failure>> {
        if let Some(verdict) = &verdict {
            self.spent = true;
            self.ran_out |= verdict.out_of_memory;
        }
        judge(program.name(), ended, verdict, || {
            // At least that much. A measured run knows better.
            let used = self.quick_memory(limits.memory);
            self.out_of_memory(limits.memory, used)
        })
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
