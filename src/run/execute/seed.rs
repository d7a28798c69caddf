//! Where the random numbers of a run start.

use crate::run::invocation::Invocation;
use crate::run::order::mix;
use crate::vm::{Callback, Program};

/// The seed of a run's random numbers.
///
/// It depends on the world's seed, the entity, the script, the callback, on how often the script has drawn numbers
/// (`draws`), and on which run of the invocation this is. It doesn't depend on the VM, on earlier runs of others, or
/// on anything from before the script was loaded.
#[inline]
pub(super) fn seed_of_run(
    world_seed: u64,
    (invocation, program): (&Invocation, &Program),
    draws: u64,
    (callback, run): (Callback, u32),
) -> u64 {
    let which = u64::from(invocation.slot) << 40 | u64::from(run) << 8 | callback as u64;
    let who = mix(invocation.entity.to_bits() ^ program.name_hash());
    let when = draws.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mix(world_seed ^ who ^ mix(which ^ when))
}
