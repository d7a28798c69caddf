//! The stable order of entities, and mixing of bits for seeds and shares.

use bevy::prelude::Entity;

/// The stable order of entities.
pub(crate) fn order(entity: Entity) -> u64 {
    u64::from(entity.index_u32()) << 32 | u64::from(entity.generation().to_bits())
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): spreads every bit over all others.
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
