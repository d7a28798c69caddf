//! Images: file levels that ran once in this VM and serve every run.

use super::Vm;
use crate::error::Failure;
use crate::vm::deadline::RunDeadline;
use crate::vm::host::Host;
use crate::vm::limit_verdict::{LimitVerdict, ran_out};
use crate::vm::limits::RunLimits;
use crate::vm::loaded_programs::Weight;
use crate::vm::program::Program;
use crate::vm::raw;

impl Vm {
    /// Makes the image of a program, if it can have one. It has the time limit of a run to itself: no run is charged
    /// for being the first on this VM.
    pub(super) fn image(
        &mut self,
        place: usize,
        program: &Program,
        host: &mut dyn Host,
        limits: &RunLimits,
    ) -> Result<(), Box<Failure>> {
        let needs_room = program.needs_room(limits.memory);
        if needs_room {
            self.allow_more(limits.memory);
        }
        let counting = self.allowance.count(&self.lua).filter(|_| !needs_room);
        let before = raw::object_bytes(&self.lua);
        let main = self.programs.at(place).main().expect("there is no image yet");
        let deadline = RunDeadline::begin(&self.watch, limits.time);
        let mut run = raw::Run::new(host, deadline, limits.value_size, &self.refs);
        let imaged = raw::make_image(&self.lua, &self.refs, program, main, &mut run);
        let passed = counting.is_some_and(|counting| counting.passed());
        let out_of_memory =
            passed || run.is_out_of_memory() || matches!(imaged, Err(raw::RunStop::OutOfMemory));
        let verdict = LimitVerdict::of(&mut run, out_of_memory);
        drop(run);
        self.limit_allocator(self.allowance.total);
        let imaged = match imaged {
            Ok(imaged) if !ran_out(&verdict) => imaged,
            // If it ran out of memory, that depends on what the VM holds: it runs again, measured.
            ended => self.judge(program, ended, verdict, limits)?,
        };
        match imaged {
            Err(why) => program.found_mutable(why),
            Ok(image) => {
                let bytes = raw::object_bytes(&self.lua).saturating_sub(before);
                let weight = Weight { bytes, collections: self.collections };
                let gone = self.programs.keep_image(place, image, weight);
                self.lower_floor(gone);
                self.counts.imaged();
            }
        }
        Ok(())
    }

    /// Drops the image of a program that turned out to need a file level for each run.
    pub(super) fn drop_image(&mut self, place: usize, program: &Program) {
        let left = (program.texts(), self.collections);
        let gone = self.programs.drop_image(&self.lua, place, left);
        self.lower_floor(gone);
    }
}
