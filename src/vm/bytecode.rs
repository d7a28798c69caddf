//! Reads and changes a script's bytecode.
//!
//! From it we learn which functions [assign](self::assigning) variables that outlive a call, which decides whether a
//! script can have an image, and where code works for too long without a [safepoint](self::safepoints), where one is
//! inserted.
//!
//! The format is that of Luau's `lvmload.cpp`. Bytecode of an unknown version, or that can't be read to its end, is
//! not run.

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
