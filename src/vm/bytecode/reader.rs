//! [`BytecodeReader`]: reads Luau's bytecode.

use super::chunk::{BytecodeChunk, FunctionCode, LineTable};
use crate::vm::numerals;

/// The versions that are understood.
const VERSIONS: std::ops::RangeInclusive<u8> = 4..=9;
const TYPE_VERSIONS: std::ops::RangeInclusive<u8> = 1..=3;

/// The strings that a script holds: its constants and names.
/// `None` if the bytecode can't be read.
pub(in crate::vm) fn strings(bytecode: &[u8]) -> Option<Vec<&[u8]>> {
    BytecodeReader::new(bytecode).strings()
}

/// Reads bytecode from front to back. Gives `None` wherever it isn't as expected.
pub(super) struct BytecodeReader<'b> {
    rest: &'b [u8],
    /// The length of all bytecode, in bytes.
    whole: usize,
}

impl<'b> BytecodeReader<'b> {
    pub(super) fn new(bytecode: &'b [u8]) -> Self {
        Self { rest: bytecode, whole: bytecode.len() }
    }

    /// The header; gives the version of the types.
    fn header(&mut self) -> Option<u8> {
        let (version, types) = (self.byte()?, self.byte()?);
        (VERSIONS.contains(&version) && TYPE_VERSIONS.contains(&types)).then_some(types)
    }

    fn strings(mut self) -> Option<Vec<&'b [u8]>> {
        self.header()?;
        let mut strings = Vec::new();
        for _ in 0..self.number()? {
            let length = self.number()?;
            strings.push(self.take(length)?);
        }
        Some(strings)
    }

    pub(super) fn chunk(mut self) -> Option<BytecodeChunk> {
        let types = self.header()?;
        let mut numeral = 0;
        for _ in 0..self.number()? {
            let length = self.number()?;
            numeral = numerals::longest(self.take(length)?).map_or(numeral, |row| row.max(numeral));
        }
        if types == 3 {
            // Names of userdata types, up to a zero.
            while self.byte()? != 0 {
                self.number()?;
            }
        }
        let count = self.number()?;
        // Every function takes some bytes: don't trust a larger count.
        let mut functions = Vec::with_capacity(count.min(self.rest.len()));
        for _ in 0..count {
            functions.push(self.function()?);
        }
        let main = self.number()?;
        (self.rest.is_empty() && main < functions.len()).then_some(BytecodeChunk {
            functions,
            numeral,
            main,
        })
    }

    fn function(&mut self) -> Option<FunctionCode> {
        // Stack size, parameters.
        self.skip(2)?;
        let upvalues = self.byte()?;
        // Whether it takes more arguments, flags.
        self.skip(2)?;
        let types = self.number()?;
        self.skip(types)?;
        let start = self.whole - self.rest.len();
        let length = self.number()?;
        let place = self.whole - self.rest.len();
        let mut code = Vec::with_capacity(length.min(self.rest.len() / 4));
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
        let lines = self.lines(code.len())?;
        self.names()?;
        Some(FunctionCode { code, start, place, closures, children, upvalues, line, lines })
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

    fn lines(&mut self, instructions: usize) -> Option<LineTable> {
        if self.byte()? == 0 {
            return Some(LineTable::default());
        }
        let gap = u32::from(self.byte()?);
        let intervals = (instructions.checked_sub(1)?).checked_shr(gap)? + 1;
        let deltas = self.whole - self.rest.len();
        self.skip(instructions + 4 * intervals)?;
        Some(LineTable { deltas: Some(deltas), intervals: deltas + instructions, gap })
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

    /// A LEB128 number.
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

    fn take(&mut self, bytes: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }
}
