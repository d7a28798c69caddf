//! Which functions may assign variables that outlive a call of them.
//!
//! A function assigns a variable of an enclosing function by `SETUPVAL`. It need not do so itself: a closure that it
//! makes may capture the variable from it (`CAPTURE` of an upvalue) and assign it, or pass it on in turn, to any
//! depth. So an upvalue of a function *may be assigned* if
//!
//! - the function has a `SETUPVAL` of it, or
//! - the function makes a closure that captures it as an upvalue that may be assigned.
//!
//! A global is assigned by `SETGLOBAL`, in a function or in one that it makes, to any depth.

use super::chunk::{BytecodeChunk, FunctionCode};
use super::opcodes::{
    CAPTURE_UPVALUE, OP_CAPTURE, OP_DUPCLOSURE, OP_NEWCLOSURE, OP_SETGLOBAL, OP_SETUPVAL, length,
};
use super::reader::BytecodeReader;

/// Which functions of a script may assign variables that outlive a call of them. `None` if the bytecode can't be
/// read: then each of them may.
pub(in crate::vm) fn assigning_functions(bytecode: &[u8]) -> Option<AssigningFunctions> {
    BytecodeReader::new(bytecode).chunk()?.assigning_functions(bytecode)
}

/// The functions of a script that may assign variables that outlive a call of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::vm) struct AssigningFunctions {
    /// Sorted.
    known: Vec<Assigning>,
}

/// All functions that are defined at the same line with the same number of upvalues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Assigning {
    defined: u32,
    upvalues: u8,
    /// The line where one of them, or one that it makes, assigns.
    assigned: u32,
}

impl AssigningFunctions {
    /// The line where a function may assign a variable that outlives a call of it, if it may. Functions that are
    /// defined at the same line with the same number of upvalues count as one.
    pub(in crate::vm) fn line_of(&self, defined: u32, upvalues: u8) -> Option<u32> {
        let key = |function: &Assigning| (function.defined, function.upvalues);
        let first = self.known.partition_point(|function| key(function) < (defined, upvalues));
        self.known
            .get(first)
            .filter(|function| key(function) == (defined, upvalues))
            .map(|function| function.assigned)
    }
}

/// Numbers the upvalues of all functions. The globals count as one more upvalue of each function.
struct Variables {
    /// The number of the first upvalue of each function, and the total.
    first: Vec<usize>,
}

impl Variables {
    fn of(chunk: &BytecodeChunk) -> Self {
        let mut first = vec![0];
        for function in &chunk.functions {
            first.push(first[first.len() - 1] + usize::from(function.upvalues) + 1);
        }
        Self { first }
    }

    /// `None` if the function has no such upvalue.
    fn upvalue(&self, function: usize, upvalue: u8) -> Option<usize> {
        let number = self.first.get(function)? + usize::from(upvalue);
        (number < self.globals(function)?).then_some(number)
    }

    fn globals(&self, function: usize) -> Option<usize> {
        Some(self.first.get(function + 1)? - 1)
    }

    fn count(&self) -> usize {
        self.first[self.first.len() - 1]
    }

    fn function_of(&self, variable: usize) -> usize {
        self.first.partition_point(|first| *first <= variable) - 1
    }
}

impl BytecodeChunk {
    /// `None` if the code is not as expected. Takes time in proportion to the code, and sorts.
    pub(super) fn assigning_functions(&self, bytecode: &[u8]) -> Option<AssigningFunctions> {
        let variables = Variables::of(self);
        // The first line where a function itself assigns each variable.
        let mut directly: Vec<Option<u32>> = vec![None; variables.count()];
        // Pairs of a variable of a closure, and the same one in the function that makes it.
        let mut handed_on = Vec::new();
        for (number, function) in self.functions.iter().enumerate() {
            let mut at = 0;
            let mut instructions = function.instructions();
            while let Some(instruction) = instructions.next() {
                let [operation, _, low, high] = instruction?;
                let operand = usize::from(u16::from_le_bytes([low, high]));
                let variable = match operation {
                    OP_SETUPVAL => Some(variables.upvalue(number, low)?),
                    // The main function runs once.
                    OP_SETGLOBAL if number != self.main => Some(variables.globals(number)?),
                    _ => None,
                };
                if let Some(variable) = variable {
                    directly[variable].get_or_insert_with(|| function.line_at(bytecode, at));
                }
                let made = match operation {
                    OP_NEWCLOSURE => Some(*function.children.get(operand)?),
                    OP_DUPCLOSURE => {
                        let place = function.closures.binary_search_by_key(&operand, |it| it.0);
                        Some(function.closures[place.ok()?].1)
                    }
                    _ => None,
                };
                at += length(operation)?;
                let Some(made) = made else { continue };
                handed_on.push((variables.globals(made)?, variables.globals(number)?));
                for upvalue in 0..self.functions[made].upvalues {
                    let Some([OP_CAPTURE, kind, source, _]) = instructions.next()? else {
                        return None;
                    };
                    at += 1;
                    if kind == CAPTURE_UPVALUE {
                        let within = variables.upvalue(made, upvalue)?;
                        handed_on.push((within, variables.upvalue(number, source)?));
                    }
                }
            }
        }
        handed_on.sort_unstable();
        let new = directly.iter().enumerate();
        let mut new: Vec<_> = new.filter_map(|(it, line)| Some((it, (*line)?))).collect();
        let mut assigned: Vec<Option<u32>> = vec![None; variables.count()];
        while let Some((variable, line)) = new.pop() {
            if assigned[variable].is_some() {
                continue;
            }
            assigned[variable] = Some(line);
            let first = handed_on.partition_point(|(within, _)| *within < variable);
            let same = handed_on[first..].iter().take_while(|(within, _)| *within == variable);
            new.extend(same.map(|(_, around)| (*around, line)));
        }
        let mut known = Vec::new();
        for (variable, line) in assigned.iter().enumerate() {
            let function = variables.function_of(variable);
            if let Some(assigned) = *line
                && function != self.main
            {
                let FunctionCode { line: defined, upvalues, .. } = self.functions[function];
                known.push(Assigning { defined, upvalues, assigned });
            }
        }
        known.sort_unstable();
        known.dedup_by_key(|function| (function.defined, function.upvalues));
        Some(AssigningFunctions { known })
    }
}
