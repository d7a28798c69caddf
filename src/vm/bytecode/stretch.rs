//! How long code may work between two safepoints.

use super::{Function, OP_COVERAGE, OP_JUMPBACK, length};

/// The most that operations without a safepoint between them may cost at worst, in microseconds.
///
/// A run that is out of time ends so much later at worst.
pub(super) const LIMIT: u32 = 3000;

const OP_LOADB: u8 = 3;
const OP_CALL: u8 = 21;
const OP_RETURN: u8 = 22;
const OP_JUMP: u8 = 23;
const OP_FORNPREP: u8 = 56;
const OP_FORNLOOP: u8 = 57;
const OP_FORGLOOP: u8 = 58;
const OP_FORGPREP_INEXT: u8 = 59;
const OP_FASTCALL3: u8 = 60;
const OP_FORGPREP_NEXT: u8 = 61;
const OP_JUMPX: u8 = 67;
const OP_FASTCALL: u8 = 68;
const OP_FASTCALL1: u8 = 73;
const OP_FASTCALL2: u8 = 74;
const OP_FASTCALL2K: u8 = 75;
const OP_FORGPREP: u8 = 76;

/// Built-ins that are called without a safepoint and may have much to do, by Luau's number, and what a
/// call costs at worst, in microseconds: `string.sub`, `rawset`, `rawget`, `table.insert`,
/// `table.unpack`, `rawlen`, `tonumber`. None other works on more than its arguments.
const COSTLY: [(u8, u32); 7] =
    [(45, 1000), (49, 250), (50, 4), (52, 250), (53, 10), (58, 4), (62, 1600)];

impl Function {
    /// What the costliest way from safepoint to safepoint costs at worst, in microseconds.
    pub(super) fn longest_stretch(&self) -> u32 {
        let end = self.code.len();
        // What may have been spent since the last safepoint, before each instruction.
        let mut before = vec![0_u32; end + 1];
        let mut longest = 0;
        let mut at = 0;
        while at < end {
            let word = self.code[at];
            let [operation, ..] = word.to_le_bytes();
            let Some(length) = length(operation) else { break };
            let spent =
                if is_safepoint(operation) { 0 } else { before[at].saturating_add(self.cost(at)) };
            let spent_before = before[at];
            longest = longest.max(spent);
            let mut goes_to = |target: usize, spent: u32| {
                // What goes back is a loop, and that has a safepoint.
                if (at + 1..=end).contains(&target) {
                    before[target] = before[target].max(spent);
                }
            };
            match operation {
                OP_RETURN => {}
                OP_LOADB | OP_JUMP | OP_JUMPBACK | OP_JUMPX | OP_FORGPREP | OP_FORGPREP_INEXT
                | OP_FORGPREP_NEXT => goes_to(jump(at, word), spent),
                25..=32 | 77..=80 | OP_FORNPREP | OP_FORNLOOP | OP_FORGLOOP => {
                    goes_to(jump(at, word), spent);
                    goes_to(at + length, spent);
                }
                _ if is_fast_call(operation) => {
                    // Past the call, or on to it.
                    goes_to(call_of(at, word) + 1, spent);
                    goes_to(at + length, spent_before);
                }
                _ => goes_to(at + length, spent),
            }
            at += length;
        }
        longest
    }

    /// What an instruction costs at worst, in microseconds.
    fn cost(&self, at: usize) -> u32 {
        let [operation, builtin, ..] = self.code[at].to_le_bytes();
        match operation {
            // Text in one piece as large as memory allows.
            49 => 1600,
            // Comparison of such texts.
            28 | 29 | 31 | 32 => 200,
            // A table that grows.
            8 | 14 | 16 | 18 => 250,
            // Where a loop begins and ends, and its step, may be texts that hold numbers.
            OP_FORNPREP => 300,
            // Arithmetic, also with such texts.
            33..=44 | 51 | 71 | 72 | 81 | 82 => 200,
            // All arguments of a call.
            55 | 63 => 10,
            // A table all of whose keys collide.
            7 | 13 | 15 | 17 | 20 | 52 => 4,
            19 | 27 | 30 | 53 | 54 | 64 => 1,
            _ if is_fast_call(operation) => {
                let call = self.code.get(call_of(at, self.code[at])).copied().unwrap_or_default();
                let [_, _, arguments, _] = call.to_le_bytes();
                let known = COSTLY.iter().find(|(number, _)| *number == builtin);
                // None stands for as many as there are.
                known.map_or(if arguments == 0 { 10 } else { 0 }, |(_, cost)| *cost)
            }
            _ => 0,
        }
    }
}

fn is_safepoint(operation: u8) -> bool {
    matches!(
        operation,
        OP_CALL
            | OP_RETURN
            | OP_JUMPBACK
            | OP_JUMPX
            | OP_FORNLOOP
            | OP_FORGLOOP
            // It will be one.
            | OP_COVERAGE
    )
}

fn is_fast_call(operation: u8) -> bool {
    matches!(operation, OP_FASTCALL | OP_FASTCALL1 | OP_FASTCALL2 | OP_FASTCALL2K | OP_FASTCALL3)
}

/// Where the call is that a fast call stands for.
fn call_of(at: usize, word: u32) -> usize {
    at + 1 + usize::from(word.to_le_bytes()[3])
}

/// Where an instruction jumps; past the end if it goes before the beginning.
fn jump(at: usize, word: u32) -> usize {
    let [operation, _, _, high] = word.to_le_bytes();
    let word = word.cast_signed();
    let distance = match operation {
        OP_LOADB => i32::from(high),
        OP_JUMPX => word >> 8,
        _ => word >> 16,
    };
    (at + 1).checked_add_signed(distance as isize).unwrap_or(usize::MAX)
}
