//! Strings whose hashes collide.

/// How often Luau compares strings when it loads these, because their hashes collide. Its hash has no seed, so
/// strings can be chosen that all have the same one.
pub(in crate::vm) fn collisions(strings: &[&[u8]]) -> usize {
    /// Strings that a VM holds without any script.
    const OTHERS: usize = 1024;
    let buckets = (strings.len() + OTHERS).next_power_of_two();
    let mut met = vec![0_usize; buckets];
    let mut compared = 0;
    for string in strings {
        let bucket = &mut met[hash(string) as usize & (buckets - 1)];
        compared += *bucket;
        *bucket += 1;
    }
    compared
}

/// Luau's hash of a string.
pub(super) fn hash(string: &[u8]) -> u32 {
    let (mut a, mut b, mut hash) = (0_u32, 0_u32, string.len() as u32);
    let mut rest = string;
    while rest.len() >= 32 {
        let word =
            |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        a = a.wrapping_add(word(0));
        b = b.wrapping_add(word(4));
        hash = hash.wrapping_add(word(8));
        a = (a ^ hash).wrapping_sub(hash.rotate_right(14));
        b = (b ^ a).wrapping_sub(a.rotate_right(11));
        hash = (hash ^ b).wrapping_sub(b.rotate_right(25));
        rest = &rest[12..];
    }
    for byte in rest.iter().rev() {
        let mixed = (hash << 5).wrapping_add(hash >> 2).wrapping_add(u32::from(*byte));
        hash ^= mixed;
    }
    hash
}
