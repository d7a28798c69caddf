//! Programs whose calls of built-ins are not short-cut.

use super::jumps;
use super::opcodes::{OP_NOP, length};
use super::reader::BytecodeReader;

/// The same program, in which calls of built-ins are not short-cut: each looks for its function, and does
/// not find one that was taken away. `None` if the bytecode can't be read.
pub(in crate::vm) fn without_fast_calls(bytecode: &[u8]) -> Option<Vec<u8>> {
    let chunk = BytecodeReader::new(bytecode).chunk()?;
    let mut changed = bytecode.to_vec();
    for function in &chunk.functions {
        let mut at = 0;
        while let Some(word) = function.code.get(at) {
            let operation = word.to_le_bytes()[0];
            let length = length(operation)?;
            if jumps::is_fast_call(operation) {
                // A fast call that fails goes on with the instructions after it, which do it slowly.
                let start = function.place + 4 * at;
                changed.get_mut(start..start + 4 * length)?.fill(OP_NOP);
            }
            at += length;
        }
    }
    Some(changed)
}
