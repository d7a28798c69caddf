//! How long code may work between two safepoints, and where it needs one more.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::chunk::FunctionCode;
use super::jumps::{self, Jump};
use super::opcodes::{OP_CAPTURE, OP_JUMPBACK, length};
use super::reader::BytecodeReader;
use super::safepoint_insertion::{NoSafepoints, insert};

/// The most that instructions without a safepoint between them may cost at worst, in microseconds: how much too late
/// a run may end.
pub(super) const LIMIT: u32 = 3000;

/// The worst-case cost of arithmetic, in microseconds: with a string, which is read as a number. It has no longer row
/// than `numerals::MOST`, unless it is in the source.
const ARITHMETIC: u32 = 200;

const OP_CONCAT: u8 = 49;
const OP_NAMECALL: u8 = 20;
const OP_CALL: u8 = 21;
const OP_RETURN: u8 = 22;
const OP_FORNPREP: u8 = 56;
const OP_FORNLOOP: u8 = 57;
const OP_FORGLOOP: u8 = 58;
const OP_JUMPX: u8 = 67;

/// Built-ins with a fast call, and thus no safepoint, that may have much to do: Luau's number, and the worst-case cost
/// of a call in microseconds. These are `string.sub`, `rawset`, `rawget`, `table.insert`, `table.unpack`, `rawlen`,
/// `tonumber`. No other works on more than its arguments.
const COSTLY: [(u8, u32); 7] =
    [(45, 2900), (49, 250), (50, 4), (52, 250), (53, 150), (58, 4), (62, 200)];

/// The same program, with safepoints so that it never works for long between two.
///
/// # Errors
/// If it can't be read, or a function is so long that its jumps can't get any longer.
pub(in crate::vm) fn with_safepoints(bytecode: &[u8]) -> Result<Cow<'_, [u8]>, NoSafepoints> {
    let numeral = BytecodeReader::new(bytecode).chunk().map_or(0, |chunk| chunk.numeral);
    insert(bytecode, |function| function.missing_safepoints(numeral))
}

impl FunctionCode {
    /// The indices of the instructions that need a safepoint before them, so that no path between two safepoints costs
    /// more than [`LIMIT`]. As few as one pass can tell. `numeral` is the length of the longest row in the strings of
    /// the source that would take long to be read as a number.
    pub(super) fn missing_safepoints(&self, numeral: usize) -> Vec<usize> {
        /// The bytes of a row that are read in a microsecond.
        const READ: usize = 250;
        let arithmetic = ARITHMETIC.max(u32::try_from(numeral / READ).unwrap_or(u32::MAX));
        let all = 0..self.code.len();
        let entrances = self.loop_entrances(arithmetic);
        let mut missing = Vec::new();
        self.walk(all, arithmetic, |at, spent, may_break| {
            // Better once before a loop than in each iteration.
            let enters = entrances.get(&at).is_some_and(|within| {
                spent + within > LIMIT && self.cost(at, arithmetic) + within <= LIMIT
            });
            let breaks = may_break && (spent > LIMIT || enters);
            if breaks {
                missing.push(at);
            }
            breaks
        });
        missing
    }

    /// The worst-case cost of the costliest path between two safepoints, in microseconds.
    #[cfg(test)]
    pub(super) fn longest_stretch(&self) -> u32 {
        let mut longest = 0;
        self.walk(0..self.code.len(), ARITHMETIC, |_, spent, _| {
            longest = longest.max(spent);
            false
        });
        longest
    }

    /// All instructions that can have a safepoint before them.
    #[cfg(test)]
    pub(super) fn possible_safepoints(&self) -> Vec<usize> {
        let mut possible = Vec::new();
        self.walk(0..self.code.len(), ARITHMETIC, |at, _, may_break| {
            if may_break {
                possible.push(at);
            }
            false
        });
        possible
    }

    /// The instructions before the first one of a loop, each with the cost of the costliest path in the loop up to its
    /// first safepoint.
    fn loop_entrances(&self, arithmetic: u32) -> HashMap<usize, u32> {
        // The start of each loop, and the last jump back to it.
        let mut loops = HashMap::<usize, usize>::new();
        let mut entrances = Vec::new();
        self.each(|at, word| {
            if let Some(jump) = Jump::of(at, word).filter(|jump| jump.target <= at) {
                let end = loops.entry(jump.target).or_default();
                *end = at.max(*end);
            }
        });
        self.each(|at, word| {
            let [operation, ..] = word.to_le_bytes();
            let next = at + length(operation).unwrap_or(1);
            if let Some(end) = loops.get(&next)
                && !Jump::of(at, word).is_some_and(|jump| jump.always)
                && !is_safepoint(operation)
            {
                let mut within = 0;
                self.walk(next..*end, arithmetic, |_, spent, _| {
                    within = spent.max(within);
                    false
                });
                entrances.push((at, within));
            }
        });
        entrances.into_iter().collect()
    }

    /// Calls `body` with the index and the word of each instruction.
    fn each(&self, mut body: impl FnMut(usize, u32)) {
        let mut at = 0;
        while let Some(&word) = self.code.get(at) {
            body(at, word);
            let [operation, ..] = word.to_le_bytes();
            at += length(operation).unwrap_or(self.code.len());
        }
    }

    /// Walks a part of the code from front to back. For each instruction, `breaks` gets its index, the highest cost
    /// since the last safepoint including it, and whether there can be a safepoint before it. It says whether there is one.
    fn walk(
        &self,
        part: Range<usize>,
        arithmetic: u32,
        mut breaks: impl FnMut(usize, u32, bool) -> bool,
    ) {
        let Range { start, end } = part;
        // The highest cost since the last safepoint, before each instruction.
        let mut before = vec![0_u32; end.saturating_sub(start) + 1];
        // No safepoint may be put between instructions up to this index.
        let mut joined = start;
        let mut at = start;
        while at < end {
            let word = self.code[at];
            let [operation, ..] = word.to_le_bytes();
            let Some(length) = length(operation) else { break };
            let may_break = at > joined && operation != OP_CAPTURE;
            let cost = if is_safepoint(operation) { 0 } else { self.cost(at, arithmetic) };
            let spent =
                if is_safepoint(operation) { 0 } else { before[at - start].saturating_add(cost) };
            let (spent_before, spent) = match breaks(at, spent, may_break) {
                true => (0, cost),
                false => (before[at - start], spent),
            };
            let mut goes_to = |target: usize, spent: u32| {
                // A jump back is one of a loop, and is a safepoint itself.
                if (at + 1..=end).contains(&target) {
                    let before = &mut before[target - start];
                    *before = spent.max(*before);
                }
            };
            let jump = Jump::of(at, word);
            match jump {
                // Past the call if it succeeds, or to it.
                Some(Jump { target, .. }) if jumps::is_fast_call(operation) => {
                    goes_to(target + 1, spent);
                    goes_to(at + length, spent_before);
                    joined = joined.max(target);
                }
                Some(Jump { target, always, .. }) => {
                    goes_to(target, spent);
                    if !always {
                        goes_to(at + length, spent);
                    }
                }
                None if operation == OP_RETURN => {}
                // The string that it made must be checked before it is used: see `raw::numerals`.
                None if operation == OP_CONCAT => goes_to(at + length, LIMIT + 1),
                None => goes_to(at + length, spent),
            }
            if operation == OP_NAMECALL {
                // The call must follow directly.
                joined = joined.max(at + length);
            }
            at += length;
        }
    }

    /// The worst-case cost of an instruction, in microseconds.
    fn cost(&self, at: usize, arithmetic: u32) -> u32 {
        let [operation, builtin, ..] = self.code[at].to_le_bytes();
        match operation {
            // A string as large as memory allows.
            OP_CONCAT => 2900,
            // Compares such strings.
            28 | 29 | 31 | 32 => 400,
            // A table that grows.
            8 | 14 | 16 | 18 => 250,
            // The start, the end and the step of a loop may be strings that are read as numbers.
            OP_FORNPREP => 300,
            33..=44 | 51 | 71 | 72 | 81 | 82 => arithmetic,
            // All arguments of a call, and memory for them.
            55 | 63 => 150,
            // A table all of whose keys collide.
            7 | 13 | 15 | 17 | 20 | 52 => 4,
            19 | 27 | 30 | 53 | 54 | 64 => 1,
            _ if jumps::is_fast_call(operation) => {
                let call = Jump::of(at, self.code[at]).and_then(|jump| self.code.get(jump.target));
                let call = call.copied().unwrap_or_default();
                let [_, _, arguments, _] = call.to_le_bytes();
                let known = COSTLY.iter().find(|(number, _)| *number == builtin);
                // 0 stands for all values up to the top of the stack.
                known.map_or(if arguments == 0 { 150 } else { 0 }, |(_, cost)| *cost)
            }
            _ => 0,
        }
    }
}

fn is_safepoint(operation: u8) -> bool {
    matches!(operation, OP_CALL | OP_RETURN | OP_JUMPBACK | OP_JUMPX | OP_FORNLOOP | OP_FORGLOOP)
}
