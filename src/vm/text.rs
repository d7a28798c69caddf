//! [`Text`]: a string as it is counted, without its bytes.

use std::hash::BuildHasher;

use bevy::platform::hash::FixedHasher;

/// A string: its hash, and its bytes in a VM.
pub(super) type Text = (u64, u32);

/// What Luau keeps beside the text of a string, in bytes.
pub(super) const STRING_HEADER: usize = 32;

/// A string as it is told from others, with its bytes.
pub(super) fn weigh_text(text: &[u8]) -> Text {
    let bytes = text.len() + STRING_HEADER;
    (FixedHasher.hash_one(text), u32::try_from(bytes).unwrap_or(u32::MAX))
}
