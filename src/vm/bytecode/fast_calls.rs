//! Programs without fast calls, which would find built-ins that the sandbox leaves out.

use super::jumps;
use super::opcodes::{OP_NOP, length};
use super::reader::BytecodeReader;

/// The same program without fast calls: each call looks up its function, and does not find one that was removed.
/// `None` if the bytecode can't be read.
pub(in crate::vm) fn without_fast_calls(bytecode: &[u8]) -> Option<Vec<u8>> {
    let chunk = BytecodeReader::new(bytecode).chunk()?;
    let mut changed = bytecode.to_vec();
    for function in &chunk.functions {
        let mut at = 0;
        while let Some(word) = function.code.get(at) {
            let operation = word.to_le_bytes()[0];
            let length = length(operation)?;
            if jumps::is_fast_call(operation) {
                // The instructions after a fast call make an ordinary call, for when it fails.
                let start = function.place + 4 * at;
                changed.get_mut(start..start + 4 * length)?.fill(OP_NOP);
            }
            at += length;
        }
    }
    Some(changed)
}
