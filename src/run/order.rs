//! The stable order of entities, and a mixer for seeds.

use bevy::prelude::Entity;

/// The sort key of an entity in the stable order: by index, then by generation.
pub(crate) fn order(entity: Entity) -> u64 {
    u64::from(entity.index_u32()) << 32 | u64::from(entity.generation().to_bits())
}

/// Mixes the bits so that each depends on all others: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
