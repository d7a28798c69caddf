//! [`BytecodeChunk`]: what was read of a program's bytecode.

use super::opcodes::length;

/// What a program's bytecode holds.
pub(super) struct BytecodeChunk {
    pub(super) functions: Vec<FunctionCode>,
    /// The longest row in its texts that would take long to be read as a number, or 0.
    pub(super) numeral: usize,
    pub(super) main: usize,
}

/// A function of a program.
pub(super) struct FunctionCode {
    pub(super) code: Vec<u32>,
    /// Where in the bytecode the number of words lies that the code has, in bytes.
    pub(super) start: usize,
    /// Where the code begins.
    pub(super) place: usize,
    /// The functions that are the closures among its constants, by the constant's number.
    pub(super) closures: Vec<(usize, usize)>,
    pub(super) children: Vec<usize>,
    pub(super) upvalues: u8,
    /// Where it is defined.
    pub(super) line: u32,
    pub(super) lines: LineTable,
}

/// Where the bytecode says at which line each instruction is.
#[derive(Clone, Copy, Default)]
pub(super) struct LineTable {
    /// A byte for each instruction: by how much its line is beyond that of its interval, less what that of
    /// the one before is. `None` if it doesn't say.
    pub(super) deltas: Option<usize>,
    /// Four bytes for each interval: by how much its line is beyond that of the one before.
    pub(super) intervals: usize,
    /// An interval has two to the power of this instructions.
    pub(super) gap: u32,
}

impl LineTable {
    /// Where what it says of so many words ends.
    pub(super) fn end(self, words: usize) -> usize {
        self.intervals + 4 * (((words.max(1) - 1) >> self.gap) + 1)
    }
}

impl FunctionCode {
    /// The instructions as bytes: operation, A, B, C. `None` stands for one that is unknown.
    pub(super) fn instructions(&self) -> impl Iterator<Item = Option<[u8; 4]>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let word = self.code.get(at)?.to_le_bytes();
            match length(word[0]) {
                Some(length) => at += length,
                None => {
                    at = self.code.len();
                    return Some(None);
                }
            }
            Some(Some(word))
        })
    }

    /// The line of an instruction, or that where the function is defined if it isn't known.
    pub(super) fn line_at(&self, bytecode: &[u8], instruction: usize) -> u32 {
        self.lines_of_all(bytecode).get(instruction).copied().unwrap_or(self.line)
    }

    /// The line of each word of the code; none if the bytecode doesn't say.
    pub(super) fn lines_of_all(&self, bytecode: &[u8]) -> Vec<u32> {
        let LineTable { deltas: Some(deltas), intervals, gap } = self.lines else {
            return Vec::new();
        };
        let deltas = bytecode.get(deltas..intervals).unwrap_or_default();
        let of_intervals =
            bytecode.get(intervals..self.lines.end(deltas.len())).unwrap_or_default();
        let (of_intervals, _) = of_intervals.as_chunks();
        let mut first = 0_i32;
        let mut beyond = 0_u8;
        let mut lines = Vec::with_capacity(deltas.len());
        for (interval, distance) in deltas.chunks(1 << gap).zip(of_intervals) {
            first = first.wrapping_add(i32::from_le_bytes(*distance));
            for delta in interval {
                beyond = beyond.wrapping_add(*delta);
                let line = u32::try_from(first).map_or(self.line, |line| line + u32::from(beyond));
                lines.push(line);
            }
        }
        lines
    }
}
