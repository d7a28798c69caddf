//! Loading programs: from bytecode to a main function in this VM.

use mlua::Function;
use mlua::chunk::ChunkMode;

use super::Vm;
use crate::error::ScriptError;
use crate::vm::bytecode;
use crate::vm::compile::chunk_name;
use crate::vm::loaded_programs::{Main, Weight};
use crate::vm::program::Program;
use crate::vm::raw;

impl Vm {
    /// Loads the main function of a program, with no globals but the built-ins; gives its place.
    pub(super) fn load(&mut self, program: &Program) -> Result<usize, ScriptError> {
        if let Some(place) = self.programs.place_of(program.id()) {
            return Ok(place);
        }
        let main = self.load_counted(program)?;
        let place = self.programs.add(program.id(), program.texts());
        self.programs.keep_main(place, main);
        if self.is_crowded() {
            self.tidy_up(Some(program.id()));
        }
        Ok(self.programs.place_of(program.id()).expect("it is in use"))
    }

    /// Loads the main function of a program. The memory limit of a run does not apply.
    pub(super) fn load_counted(&mut self, program: &Program) -> Result<Main, ScriptError> {
        self.limit_allocator(self.memory_limit);
        let before = raw::object_bytes(&self.lua);
        let function = self.load_main(program);
        self.limit_allocator(self.allowance.total);
        let bytes = raw::object_bytes(&self.lua).saturating_sub(before);
        self.counts.loaded();
        Ok(Main { function: function?, weight: Weight { bytes, collections: self.collections } })
    }

    pub(super) fn load_main(&mut self, program: &Program) -> Result<Function, ScriptError> {
        let slow;
        let bytecode = if self.restricted {
            slow = bytecode::without_fast_calls(program.bytecode()).ok_or_else(|| {
                let message = "can't be kept from libraries that the sandbox leaves out";
                ScriptError::Raised { message: message.to_owned() }
            })?;
            &slow
        } else {
            program.bytecode()
        };
        let chunk = self
            .lua
            .load(bytecode)
            .set_mode(ChunkMode::Binary)
            .set_name(chunk_name(program.name()));
        raw::outside_run(|| chunk.into_function()).map_err(|error| {
            self.spent = true;
            match error {
                mlua::Error::MemoryError(_) => {
                    self.ran_out = true;
                    self.out_of_memory(usize::MAX, usize::MAX)
                }
                error => ScriptError::vm("the program can't be loaded", error),
            }
        })
    }
}
