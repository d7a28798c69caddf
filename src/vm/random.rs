//! [`RunRandom`]: the random numbers of one run.

use std::convert::Infallible;

use rand::{Rng, TryRng};
use rand_pcg::Pcg32;

/// The stream of PCG that all runs use; any odd number does.
const STREAM: u64 = 0x0a02_bdbf_7bb3_c0a7;

/// The random numbers of one run: a generator (PCG-XSH-RR 64/32) that depends on the seed alone, and is
/// made when the first number is asked for.
///
/// It is what `math.random` draws from, so numbers that the host draws and numbers that the script draws
/// come from one sequence.
#[derive(Clone, Debug)]
pub struct RunRandom {
    seed: u64,
    generator: Option<Pcg32>,
}

impl RunRandom {
    /// The sequence that belongs to a seed.
    #[must_use]
    #[inline]
    pub const fn new(seed: u64) -> Self {
        Self { seed, generator: None }
    }

    /// Whether any number was drawn.
    #[inline]
    pub(crate) const fn has_drawn(&self) -> bool {
        self.generator.is_some()
    }

    fn generator(&mut self) -> &mut Pcg32 {
        let seed = self.seed;
        self.generator.get_or_insert_with(|| Pcg32::new(seed, STREAM))
    }
}

impl TryRng for RunRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.generator().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.generator().next_u64())
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        self.generator().fill_bytes(to);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_depends_on_its_seed_alone() {
        let draw = |seed| {
            let mut random = RunRandom::new(seed);
            [random.next_u64(), random.next_u64()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[0], draw(1)[1]);
    }
}
