//! What a script's bytecode says about the state that outlives its file level, and about code that works
//! for long without a safepoint.
//!
//! The format is that of Luau's `lvmload.cpp`. Bytecode of an unknown version, or that can't be read to
//! its end, says nothing: then it isn't run.

mod assigning;
mod chunk;
mod collisions;
mod fast_calls;
mod jumps;
mod opcodes;
mod reader;
mod safepoint_insertion;
mod safepoints;

pub(super) use self::assigning::{AssigningFunctions, assigning_functions};
pub(super) use self::collisions::collisions;
pub(super) use self::fast_calls::without_fast_calls;
pub(super) use self::reader::strings;
pub(super) use self::safepoint_insertion::NoSafepoints;
pub(super) use self::safepoints::with_safepoints;

#[cfg(test)]
mod tests;
