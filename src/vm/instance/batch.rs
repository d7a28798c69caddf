//! Runs of one callback for one entity after another.

use std::time::Duration;

use super::Vm;
use crate::vm::allowance::Allowance;
use crate::vm::batch::{BatchEnd, CallBatch};
use crate::vm::callback::Callback;
use crate::vm::deadline::RunDeadline;
use crate::vm::limit_verdict::{LimitVerdict, ran_out};
use crate::vm::limits::RunLimits;
use crate::vm::mutable::Mutable;
use crate::vm::program::Program;
use crate::vm::raw;
use crate::vm::watchdog::Engaged;

impl Vm {
    /// Whether a callback of a program can run in a [`CallBatch`]: the VM has its image.
    pub(crate) fn is_ready_for(&mut self, program: &Program, callback: Callback) -> bool {
        program.mutable().is_none()
            && !program.is_hungry()
            && self.programs.place_of(program.id()).is_some_and(|place| {
                let image = &self.programs.at(place).image;
                image.as_ref().is_some_and(|image| image.has(callback))
            })
    }

    /// Runs a callback for one entity after another.
    ///
    /// # Panics
    /// If the VM [is not ready](Vm::is_ready_for) for it.
    pub(crate) fn run_batch<'w, H>(
        &mut self,
        program: &Program,
        callback: Callback,
        limits: &RunLimits,
        (host, batch): (&mut H, &mut impl CallBatch<'w, H>),
        _: &Engaged,
    ) -> BatchEnd {
        self.note_program(program);
        if !self.limit_memory(limits) {
            return BatchEnd::Again(Duration::ZERO);
        }
        // `limit_memory` may have evicted it.
        let Some(place) = self.programs.place_of(program.id()) else {
            return BatchEnd::Again(Duration::ZERO);
        };
        assert!(self.programs.at(place).image.is_some(), "the program has an image");
        let (end, began) =
            self.run_calls(place, program, (callback, true), (limits, None), (host, batch));
        self.runs += began;
        let end = match end {
            // Run it again, measured.
            BatchEnd::With(_) if std::mem::take(&mut self.ran_out) => {
                program.note_hungry();
                BatchEnd::Again(Duration::ZERO)
            }
            end => end,
        };
        self.tidy();
        end
    }

    /// Runs a batch on the image of a program if `on_image` and there is one. Otherwise runs a batch of one, on a file
    /// level of its own. The first run has used so much of its time already. Also gives how many runs began.
    pub(super) fn run_calls<'w, H: ?Sized>(
        &mut self,
        place: usize,
        program: &Program,
        (callback, on_image): (Callback, bool),
        (limits, used): (&RunLimits, Option<Duration>),
        host_and_batch: (&mut H, &mut impl CallBatch<'w, H>),
    ) -> (BatchEnd, u64) {
        let Allowance { between_runs, most_objects, .. } = self.allowance;
        let counting = self.allowance.count(&self.lua);
        let loaded = self.programs.at(place);
        let file_level = match &loaded.image {
            Some(image) if on_image => raw::FileLevel::Shared(image, &mut loaded.shapes),
            _ => raw::FileLevel::Fresh(loaded.main().expect("it was loaded")),
        };
        let job = raw::BatchJob {
            callback,
            most_memory: between_runs,
            most_objects,
            deadline: match used {
                None => RunDeadline::begin(&self.watch, limits.time),
                Some(used) => RunDeadline::resume(&self.watch, limits.time, used),
            },
            max_value_size: limits.value_size,
        };
        let raw::EndedBatch { mut run, began, ended } =
            raw::run_batch(&self.lua, &self.refs, program, file_level, job, host_and_batch);
        raw::forget_all(&self.lua, &self.refs, &run);
        let passed = counting.is_some_and(|counting| counting.passed());
        let out_of_memory = passed
            || run.is_out_of_memory()
            || matches!(ended, Some(Err(raw::RunStop::OutOfMemory)));
        let verdict = LimitVerdict::of(&mut run, out_of_memory);
        let used = run.deadline.roughly_used();
        self.used = run.used();
        drop(run);
        let end = match ended {
            None => BatchEnd::Done,
            // The script could tell that it ran on an image: run again, on a file level of its own.
            Some(Err(raw::RunStop::TouchedImage(raw::Touched { line }))) if !ran_out(&verdict) => {
                program.found_mutable(Mutable::Tables { line });
                self.drop_image(place, program);
                BatchEnd::Again(used)
            }
            Some(ended) => BatchEnd::With(self.judge(program, ended, verdict, limits)),
        };
        (end, began)
    }
}
