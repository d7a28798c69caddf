//! Luau's instructions, as far as they matter here.

pub(super) const OP_NOP: u8 = 0;
pub(super) const OP_SETGLOBAL: u8 = 8;
pub(super) const OP_SETUPVAL: u8 = 10;
pub(super) const OP_NEWCLOSURE: u8 = 19;
pub(super) const OP_JUMPBACK: u8 = 24;
pub(super) const OP_DUPCLOSURE: u8 = 64;
pub(super) const OP_CAPTURE: u8 = 70;

/// The kind of capture that passes on an upvalue of the enclosing function.
pub(super) const CAPTURE_UPVALUE: u8 = 2;

/// The words that an instruction takes; `None` for an unknown one.
pub(super) fn length(operation: u8) -> Option<usize> {
    /// The last operation of the known versions.
    const LAST: u8 = 82;
    /// Those that take a second word.
    const LONG: [u8; 23] =
        [7, 8, 12, 15, 16, 20, 27, 28, 29, 30, 31, 32, 53, 55, 58, 60, 66, 74, 75, 77, 78, 79, 80];
    (operation <= LAST).then(|| 1 + usize::from(LONG.contains(&operation)))
}
