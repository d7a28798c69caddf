//! Runs of one callback for one entity after another.

use std::time::Duration;

use super::Vm;
use super::verdict::{LimitVerdict, ran_out};
use crate::vm::allowance::Allowance;
use crate::vm::batch::{BatchEnd, CallBatch};
use crate::vm::callback::Callback;
use crate::vm::deadline::RunDeadline;
use crate::vm::host::Host;
use crate::vm::limits::RunLimits;
use crate::vm::loaded_programs::Loaded;
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
    pub(crate) fn run_batch<'w, H: Host>(
        &mut self,
        program: &Program,
        callback: Callback,
        limits: &RunLimits,
        (host, row): (&mut H, &mut impl CallBatch<'w, H>),
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
        let Allowance { between_runs, most_objects, .. } = self.allowance;
        let counting = self.allowance.count(&self.lua);
        let Loaded { image, shapes, .. } = self.programs.at(place);
        let image = image.as_ref().expect("the program has an image");
        let job = raw::BatchJob {
            callback,
            most_memory: between_runs,
            most_objects,
            deadline: RunDeadline::begin(&self.watch, limits.time),
            max_value_size: limits.value_size,
        };
        let raw::BatchRun { mut run, began, ended } =
            raw::run_batch(&self.lua, &self.refs, program, (image, shapes), job, (host, row));
        raw::forget_all(&self.lua, &self.refs, &run);
        let passed = counting.is_some_and(|counting| counting.passed());
        let out_of_memory = passed || matches!(ended, Some(raw::Ended::OutOfMemory));
        let verdict = LimitVerdict::of(&mut run, out_of_memory);
        let used = run.deadline.roughly_used();
        self.used = run.used();
        drop(run);
        self.runs += began;
        let end = match ended {
            None => BatchEnd::Done,
            Some(raw::Ended::TouchedImage(raw::Touched { line })) if !ran_out(&verdict) => {
                program.found_mutable(Mutable::Tables { line });
                self.drop_image(place, program);
                BatchEnd::Again(used)
            }
            Some(ended) => match self.judge(program, ended, verdict) {
                // Run it again, measured.
                _ if std::mem::take(&mut self.ran_out) => {
                    program.note_hungry();
                    BatchEnd::Again(Duration::ZERO)
                }
                ran => BatchEnd::With(ran),
            },
        };
        self.tidy();
        end
    }
}
