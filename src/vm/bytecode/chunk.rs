//! [`BytecodeChunk`]: what we need of a program's bytecode.

use super::opcodes::length;

/// What a program's bytecode holds.
pub(super) struct BytecodeChunk {
    pub(super) functions: Vec<FunctionCode>,
    /// The length of the longest row in its strings that would take long to be read as a number, or 0.
    pub(super) numeral: usize,
    pub(super) main: usize,
}

/// A function of a program.
pub(super) struct FunctionCode {
    pub(super) code: Vec<u32>,
    /// The offset of the length of the code, in bytes.
    pub(super) start: usize,
    /// The offset of the code, in bytes.
    pub(super) place: usize,
    /// The closures among its constants: the number of the constant, and of the function.
    pub(super) closures: Vec<(usize, usize)>,
    pub(super) children: Vec<usize>,
    pub(super) upvalues: u8,
    /// The line where it is defined.
    pub(super) line: u32,
    pub(super) lines: LineTable,
}

/// Where the table of the lines of its instructions is.
#[derive(Clone, Copy, Default)]
pub(super) struct LineTable {
    /// The offset of one byte per instruction: its line relative to its interval, minus that of the instruction before.
    /// `None` if there is no table.
    pub(super) deltas: Option<usize>,
    /// The offset of four bytes per interval: its line, minus that of the interval before.
    pub(super) intervals: usize,
    /// An interval has `2^gap` instructions.
    pub(super) gap: u32,
}

impl LineTable {
    /// The offset of the end of the table, for so many words of code.
    pub(super) fn end(self, words: usize) -> usize {
        self.intervals + 4 * (((words.max(1) - 1) >> self.gap) + 1)
    }
}

impl FunctionCode {
    /// The instructions as bytes: operation, A, B, C. Ends with `None` at an unknown one.
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

    /// The line of an instruction, or that of the function if it isn't known.
    pub(super) fn line_at(&self, bytecode: &[u8], instruction: usize) -> u32 {
        self.lines_of_all(bytecode).get(instruction).copied().unwrap_or(self.line)
    }

    /// The line of each word of the code; empty if there is no table.
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
