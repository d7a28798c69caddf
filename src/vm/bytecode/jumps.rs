//! Where instructions jump.

use super::opcodes::OP_JUMPBACK;

const OP_LOADB: u8 = 3;
const OP_JUMP: u8 = 23;
const OP_FORNPREP: u8 = 56;
const OP_FORNLOOP: u8 = 57;
const OP_FORGLOOP: u8 = 58;
const OP_FORGPREP_INEXT: u8 = 59;
const OP_FORGPREP_NEXT: u8 = 61;
const OP_JUMPX: u8 = 67;
const OP_FORGPREP: u8 = 76;

/// Fast calls: they run a built-in directly, by its number. They differ in where the arguments are.
pub(super) const FAST_CALLS: [u8; 5] = [60, 68, 73, 74, 75];

/// An instruction that may continue elsewhere than with the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jump {
    /// Where it continues. For a fast call, the ordinary call that it replaces, after which it continues. Beyond all
    /// code if it would be before the start.
    pub(super) target: usize,
    /// It never continues with the next one.
    pub(super) always: bool,
    field: DistanceField,
}

/// Where an instruction holds the distance of its jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DistanceField {
    /// In its last byte, unsigned.
    Byte,
    /// In its last two bytes, signed.
    Half,
    /// In its last three bytes, signed.
    Long,
}

impl Jump {
    /// The jump of the instruction at `at`; `None` if it always continues with the next one.
    pub(super) fn of(at: usize, word: u32) -> Option<Self> {
        let [operation, _, _, high] = word.to_le_bytes();
        let signed = word.cast_signed();
        let (field, distance) = match operation {
            OP_LOADB if high == 0 => return None,
            OP_LOADB => (DistanceField::Byte, i32::from(high)),
            _ if is_fast_call(operation) => (DistanceField::Byte, i32::from(high)),
            OP_JUMPX => (DistanceField::Long, signed >> 8),
            OP_JUMP
            | OP_JUMPBACK
            | 25..=32
            | 77..=80
            | OP_FORNPREP
            | OP_FORNLOOP
            | OP_FORGLOOP
            | OP_FORGPREP
            | OP_FORGPREP_INEXT
            | OP_FORGPREP_NEXT => (DistanceField::Half, signed >> 16),
            _ => return None,
        };
        let target = (at + 1).checked_add_signed(distance as isize).unwrap_or(usize::MAX);
        let always = matches!(
            operation,
            OP_LOADB
                | OP_JUMP
                | OP_JUMPBACK
                | OP_JUMPX
                | OP_FORGPREP
                | OP_FORGPREP_INEXT
                | OP_FORGPREP_NEXT
        );
        Some(Self { target, always, field })
    }

    /// The instruction, moved to `at` and jumping to `target`; `None` if that is too far.
    pub(super) fn moved(self, word: u32, at: usize, target: usize) -> Option<u32> {
        let distance = i32::try_from(target as i64 - at as i64 - 1).ok()?;
        match self.field {
            DistanceField::Byte => {
                let distance = u8::try_from(distance).ok()?;
                Some(word & 0x00ff_ffff | u32::from(distance) << 24)
            }
            DistanceField::Half => {
                let distance = i16::try_from(distance).ok()?;
                Some(word & 0x0000_ffff | u32::from(distance.cast_unsigned()) << 16)
            }
            DistanceField::Long => {
                let fits = (-(1 << 23)..1 << 23).contains(&distance);
                fits.then_some(word & 0x0000_00ff | distance.cast_unsigned() << 8)
            }
        }
    }
}

pub(super) fn is_fast_call(operation: u8) -> bool {
    FAST_CALLS.contains(&operation)
}
