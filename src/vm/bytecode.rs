//! What a script's bytecode says about the state that outlives its file level.
//!
//! The format is that of Luau's `lvmload.cpp`. Bytecode of an unknown version, or that can't be read to
//! its end, says nothing: then everything is taken to be mutable.

/// The versions that are understood.
const VERSIONS: std::ops::RangeInclusive<u8> = 4..=9;
const TYPE_VERSIONS: std::ops::RangeInclusive<u8> = 1..=3;

const OP_NOP: u8 = 0;
const OP_SETGLOBAL: u8 = 8;
const OP_SETUPVAL: u8 = 10;
const OP_NEWCLOSURE: u8 = 19;
const OP_DUPCLOSURE: u8 = 64;
const OP_CAPTURE: u8 = 70;

/// Calls of built-ins by their number, with the arguments in different places.
const FAST_CALLS: [u8; 5] = [60, 68, 73, 74, 75];

/// A captured local, by reference: it is assigned somewhere.
const CAPTURE_REF: u8 = 1;
/// A captured local of a function further out.
const CAPTURE_UPVALUE: u8 = 2;

/// How functions of a script may change what outlives a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// Not by assigning variables. A function that is defined at one of these lines assigns a local of
    /// the function around it: an instance of it that lives on remembers.
    OnlyBy {
        /// Sorted.
        lines: Vec<u32>,
    },
    /// A function assigns a local or a global of the file level, or might.
    OfFileLevel,
}

/// Reads what the functions of a script assign.
pub(super) fn mutation(bytecode: &[u8]) -> Mutation {
    let found = Reader { rest: bytecode }.chunk().and_then(|chunk| chunk.mutation());
    found.unwrap_or(Mutation::OfFileLevel)
}

/// The same program, in which calls of built-ins are not short-cut: each looks for its function, and does
/// not find one that was taken away. `None` if the bytecode can't be read.
pub(super) fn without_fast_calls(bytecode: &[u8]) -> Option<Vec<u8>> {
    let chunk = Reader { rest: bytecode }.chunk()?;
    let mut changed = bytecode.to_vec();
    for function in &chunk.functions {
        let mut at = 0;
        while let Some(word) = function.code.get(at) {
            let operation = word.to_le_bytes()[0];
            let length = length(operation)?;
            if FAST_CALLS.contains(&operation) {
                // A fast call that fails goes on with the instructions after it, which do it slowly.
                let start = bytecode.len() - function.rest_at_code + 4 * at;
                changed.get_mut(start..start + 4 * length)?.fill(OP_NOP);
            }
            at += length;
        }
    }
    Some(changed)
}

struct Chunk {
    functions: Vec<Function>,
    main: usize,
}

struct Function {
    code: Vec<u32>,
    /// How many bytes the chunk has from the code on.
    rest_at_code: usize,
    /// The functions that are the closures among its constants, by the constant's number.
    closures: Vec<(usize, usize)>,
    children: Vec<usize>,
    line: u32,
}

impl Chunk {
    /// `None` if the code is not as expected.
    fn mutation(&self) -> Option<Mutation> {
        let mut lines = Vec::new();
        for (number, function) in self.functions.iter().enumerate() {
            let mut assigned = Vec::new();
            for instruction in function.instructions() {
                match instruction? {
                    [OP_SETGLOBAL, ..] if number != self.main => {
                        return Some(Mutation::OfFileLevel);
                    }
                    [OP_SETUPVAL, _, upvalue, _] => assigned.push(upvalue),
                    _ => {}
                }
            }
            for upvalue in assigned {
                if self.is_of_main(number, upvalue, 0)? {
                    return Some(Mutation::OfFileLevel);
                }
                lines.push(function.line);
            }
        }
        lines.sort_unstable();
        lines.dedup();
        Some(Mutation::OnlyBy { lines })
    }

    /// Whether an upvalue of a function is a local of the main function.
    fn is_of_main(&self, function: usize, upvalue: u8, depth: usize) -> Option<bool> {
        if depth > self.functions.len() {
            return None;
        }
        for (parent, outer) in self.functions.iter().enumerate() {
            for [kind, source] in outer.captures_of(function, upvalue)? {
                let of_main = match kind {
                    CAPTURE_REF => parent == self.main,
                    CAPTURE_UPVALUE => self.is_of_main(parent, source, depth + 1)?,
                    // What is captured by value can't be assigned.
                    _ => return None,
                };
                if of_main {
                    return Some(true);
                }
            }
        }
        Some(false)
    }
}

impl Function {
    /// The instructions as bytes: operation, A, B, C. `None` stands for one that is unknown.
    fn instructions(&self) -> impl Iterator<Item = Option<[u8; 4]>> {
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

    /// How this function captures an upvalue of another, wherever it makes a closure of it: the kind of
    /// the capture and its source.
    fn captures_of(&self, function: usize, upvalue: u8) -> Option<Vec<[u8; 2]>> {
        let mut found = Vec::new();
        let mut instructions = self.instructions();
        let mut current = instructions.next();
        while let Some(instruction) = current {
            let [operation, _, low, high] = instruction?;
            let operand = usize::from(u16::from_le_bytes([low, high]));
            let made = match operation {
                OP_NEWCLOSURE => Some(*self.children.get(operand)?),
                OP_DUPCLOSURE => {
                    let closure = self.closures.iter().find(|(constant, _)| *constant == operand);
                    Some(closure?.1)
                }
                _ => None,
            };
            current = instructions.next();
            let mut number = 0;
            while let Some(Some([OP_CAPTURE, kind, source, _])) = current {
                if made == Some(function) && number == u16::from(upvalue) {
                    found.push([kind, source]);
                }
                number += 1;
                current = instructions.next();
            }
        }
        Some(found)
    }
}

/// Words that an instruction takes; `None` for an unknown one.
fn length(operation: u8) -> Option<usize> {
    /// The last operation that bytecode of the known versions has.
    const LAST: u8 = 82;
    /// Those that take a second word.
    const LONG: [u8; 23] =
        [7, 8, 12, 15, 16, 20, 27, 28, 29, 30, 31, 32, 53, 55, 58, 60, 66, 74, 75, 77, 78, 79, 80];
    (operation <= LAST).then(|| 1 + usize::from(LONG.contains(&operation)))
}

/// Reads bytecode from front to back; `None` wherever it isn't as expected.
struct Reader<'b> {
    rest: &'b [u8],
}

impl Reader<'_> {
    fn chunk(mut self) -> Option<Chunk> {
        let (version, types) = (self.byte()?, self.byte()?);
        if !VERSIONS.contains(&version) || !TYPE_VERSIONS.contains(&types) {
            return None;
        }
        for _ in 0..self.number()? {
            let length = self.number()?;
            self.skip(length)?;
        }
        if types == 3 {
            // Names of userdata types, up to a zero.
            while self.byte()? != 0 {
                self.number()?;
            }
        }
        let count = self.number()?;
        // Every function takes some bytes, so a count that is too large comes from elsewhere.
        let mut functions = Vec::with_capacity(count.min(self.rest.len()));
        for _ in 0..count {
            functions.push(self.function()?);
        }
        let main = self.number()?;
        (self.rest.is_empty() && main < functions.len()).then_some(Chunk { functions, main })
    }

    fn function(&mut self) -> Option<Function> {
        // Stack size, parameters, upvalues, whether it takes more arguments, flags.
        self.skip(5)?;
        let types = self.number()?;
        self.skip(types)?;
        let length = self.number()?;
        let rest_at_code = self.rest.len();
        let mut code = Vec::with_capacity(length.min(rest_at_code / 4));
        for _ in 0..length {
            code.push(u32::from_le_bytes(*self.take(4)?.first_chunk()?));
        }
        let mut closures = Vec::new();
        for number in 0..self.number()? {
            if let Some(closure) = self.constant()? {
                closures.push((number, closure));
            }
        }
        let mut children = Vec::new();
        for _ in 0..self.number()? {
            children.push(self.number()?);
        }
        let line = u32::try_from(self.number()?).ok()?;
        self.number()?; // Its name.
        self.lines(code.len())?;
        self.names()?;
        Some(Function { code, rest_at_code, closures, children, line })
    }

    /// A constant; the number of the function if it is a closure.
    fn constant(&mut self) -> Option<Option<usize>> {
        match self.byte()? {
            0 => {}
            1 => self.skip(1)?,
            2 => self.skip(8)?,
            3 => _ = self.number()?,
            4 => self.skip(4)?,
            5 => {
                for _ in 0..self.number()? {
                    self.number()?;
                }
            }
            6 => return Some(Some(self.number()?)),
            7 => self.skip(16)?,
            8 => {
                for _ in 0..self.number()? {
                    self.number()?;
                    self.skip(4)?;
                }
            }
            9 => {
                self.skip(1)?; // The sign.
                self.number()?;
            }
            _ => return None,
        }
        Some(None)
    }

    /// The line of each instruction.
    fn lines(&mut self, instructions: usize) -> Option<()> {
        if self.byte()? == 0 {
            return Some(());
        }
        let gap = u32::from(self.byte()?);
        let intervals = (instructions.checked_sub(1)?).checked_shr(gap)? + 1;
        self.skip(instructions + 4 * intervals)
    }

    /// The names of locals and upvalues.
    fn names(&mut self) -> Option<()> {
        if self.byte()? == 0 {
            return Some(());
        }
        for _ in 0..self.number()? {
            self.number()?;
            self.number()?;
            self.number()?;
            self.skip(1)?;
        }
        for _ in 0..self.number()? {
            self.number()?;
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0_usize;
        for place in 0..10 {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7f).checked_shl(7 * place)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes).map(|_| ())
    }

    fn take(&mut self, bytes: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlua::chunk::Compiler;

    fn of(source: &str) -> Mutation {
        let compiler = Compiler::new().set_optimization_level(1).set_debug_level(1);
        mutation(&compiler.compile(source).expect("it compiles"))
    }

    fn only_by<const N: usize>(lines: [u32; N]) -> Mutation {
        Mutation::OnlyBy { lines: lines.to_vec() }
    }

    #[test]
    fn constants_and_functions_are_no_mutation() {
        let source = r#"
            local STEP = vector.create(1, 0, 0)
            local names, lookup = {"a", "b"}, {x = 1, y = true, [3] = 2.5}
            local function helper(a, b) local c = a; c += b; return c, names, STEP end
            shared = 3
            function on_update(self, dt)
                self.n = helper(self.n, dt) + #lookup
                for i = 1, 10 do self.n += i end
                for k, v in names do self[k] = v == "a" and string.format("%d", 3) or nil end
                local s = `{self.n} {dt}`
                if s == nil or s == true or s == 3 or s == "x" then return end
                self.f = function() return self end
            end
        "#;
        assert_eq!(of(source), only_by([]));
    }

    #[test]
    fn a_function_that_assigns_a_local_of_the_file_is_a_mutation_however_deep_it_is() {
        let direct = "local n = 0
function on_update(self) n += 1 end";
        assert_eq!(of(direct), Mutation::OfFileLevel);
        let deep = "local n = 0
function a() return function() return function() n = 1 end end end";
        assert_eq!(of(deep), Mutation::OfFileLevel);
        let forward = "local f
function a() f() end
function b() f = nil end";
        assert_eq!(of(forward), Mutation::OfFileLevel);
    }

    #[test]
    fn a_function_that_assigns_a_global_is_a_mutation_and_the_file_level_may() {
        assert_eq!(
            of("n = 0
n = 1
function f() return n end"),
            only_by([])
        );
        assert_eq!(of("function f() n = 1 end"), Mutation::OfFileLevel);
        assert_eq!(of("function f() function g() end end"), Mutation::OfFileLevel);
    }

    #[test]
    fn a_function_that_assigns_a_local_of_another_one_is_known_by_its_line() {
        let source = "local function counter()
local n = 0
return function()
n += 1
return n
end
end";
        assert_eq!(of(source), only_by([3]));
    }

    #[test]
    fn a_local_that_the_file_assigns_late_and_no_function_assigns_is_no_mutation() {
        assert_eq!(
            of("local f
f = function() return f end
function g() f() end"),
            only_by([])
        );
    }

    #[test]
    fn what_cannot_be_read_is_taken_to_be_mutable() {
        let bytecode = Compiler::new().compile("local a = 1").expect("it compiles");
        assert_eq!(mutation(&bytecode), only_by([]));
        for end in 0..bytecode.len() {
            assert_eq!(mutation(&bytecode[..end]), Mutation::OfFileLevel, "cut at {end}");
        }
        let mut unknown = bytecode.clone();
        unknown[0] = 200;
        assert_eq!(mutation(&unknown), Mutation::OfFileLevel);
    }
}
