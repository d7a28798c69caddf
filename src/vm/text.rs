//! [`Text`]: what is remembered of a string to count its memory.

use std::hash::BuildHasher;

use bevy::platform::hash::FixedHasher;

/// A string: its hash, and how many bytes it takes in a VM.
pub(super) type Text = (u64, u32);

/// The bytes of a string in a VM besides its text.
pub(super) const STRING_HEADER: usize = 32;

/// The hash of a string, and how many bytes it takes in a VM.
pub(super) fn weigh_text(text: &[u8]) -> Text {
    let bytes = text.len() + STRING_HEADER;
    (FixedHasher.hash_one(text), u32::try_from(bytes).unwrap_or(u32::MAX))
}
