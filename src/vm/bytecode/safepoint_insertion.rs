//! Inserts safepoints into code that would work for too long without one.
//!
//! A safepoint is a jump to the next instruction (`JUMPBACK` with distance 0), at which Luau asks whether the run must
//! end. Inserting one moves all code behind it by a word: jumps across it get longer, and so does the table of the
//! lines of instructions. Jumps to the instruction behind a safepoint go to the safepoint instead.

use std::borrow::Cow;

use super::chunk::FunctionCode;
use super::jumps::{self, Jump};
use super::opcodes::{OP_JUMPBACK, length};
use super::reader::BytecodeReader;

/// Why code can't be given safepoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vm) enum NoSafepoints {
    /// The bytecode can't be read: this version of Luau is not known.
    Unreadable,
    /// A jump of the function at this line would get too long.
    TooFar(u32),
}

/// Inserts safepoints before the instructions that `missing` gives for each function.
pub(super) fn insert(
    bytecode: &[u8],
    missing: impl Fn(&FunctionCode) -> Vec<usize>,
) -> Result<Cow<'_, [u8]>, NoSafepoints> {
    let chunk = BytecodeReader::new(bytecode).chunk().ok_or(NoSafepoints::Unreadable)?;
    let mut changed = Vec::new();
    let mut copied = 0;
    for function in &chunk.functions {
        let places = missing(function);
        if places.is_empty() {
            continue;
        }
        let code = function.with_safepoints(&places).ok_or(NoSafepoints::TooFar(function.line))?;
        changed.extend(&bytecode[copied..function.start]);
        put_number(&mut changed, code.len());
        changed.extend(code.iter().flat_map(|word| word.to_le_bytes()));
        copied = function.place + 4 * function.code.len();
        if let Some(lines) = function.lines.deltas {
            // `put_lines` writes the byte before the table too: the length of an interval.
            changed.extend(&bytecode[copied..lines - 1]);
            function.put_lines(bytecode, &places, &mut changed);
            copied = function.lines.end(function.code.len());
        }
    }
    if copied == 0 {
        return Ok(Cow::Borrowed(bytecode));
    }
    changed.extend(&bytecode[copied..]);
    Ok(Cow::Owned(changed))
}

impl FunctionCode {
    /// The code with safepoints before the instructions at these indices, which ascend; `None` if a jump would get too
    /// long.
    fn with_safepoints(&self, places: &[usize]) -> Option<Vec<u32>> {
        // The new index of a word, and of the safepoint before it if there is one, which jumps go to.
        let moved = |at: usize| at + places.partition_point(|place| *place <= at);
        let landing = |at: usize| at + places.partition_point(|place| *place < at);
        let mut code = Vec::with_capacity(self.code.len() + places.len());
        let mut at = 0;
        while let Some(&word) = self.code.get(at) {
            let [operation, ..] = word.to_le_bytes();
            let length = length(operation)?;
            if moved(at) > landing(at) {
                code.push(u32::from(OP_JUMPBACK));
            }
            let target = Jump::of(at, word).map(|jump| {
                // A fast call refers to the call that it replaces.
                let call = jumps::is_fast_call(operation);
                (jump, if call { moved(jump.target) } else { landing(jump.target) })
            });
            code.push(match target {
                Some((jump, target)) => jump.moved(word, moved(at), target)?,
                None => word,
            });
            code.extend(self.code.get(at + 1..at + length)?);
            at += length;
        }
        Some(code)
    }

    /// The table of lines, in which each safepoint has the line of the instruction after it.
    fn put_lines(&self, bytecode: &[u8], places: &[usize], to: &mut Vec<u8>) {
        let mut places = places.iter().peekable();
        let mut lines = Vec::new();
        for (at, line) in self.lines_of_all(bytecode).into_iter().enumerate() {
            if places.next_if_eq(&&at).is_some() {
                lines.push(line);
            }
            lines.push(line);
        }
        // The longest intervals within which differences of lines fit into a byte.
        let spans = |interval: &[u32]| {
            let (least, most) = (interval.iter().min(), interval.iter().max());
            least.zip(most).is_none_or(|(least, most)| most - least <= u32::from(u8::MAX))
        };
        let gap = (0..=24_u8).rev().find(|gap| lines.chunks(1 << gap).all(spans)).unwrap_or(0);
        let least = |interval: &[u32]| interval.iter().min().copied().unwrap_or(0);
        to.push(gap);
        let mut before = 0_u8;
        for interval in lines.chunks(1 << gap) {
            let first = least(interval);
            for line in interval {
                let beyond = (line - first) as u8;
                to.push(beyond.wrapping_sub(before));
                before = beyond;
            }
        }
        let mut before = 0_u32;
        for interval in lines.chunks(1 << gap) {
            let first = least(interval);
            to.extend(first.wrapping_sub(before).to_le_bytes());
            before = first;
        }
    }
}

/// Writes a LEB128 number.
fn put_number(to: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}
