//! Choices that follow from a seed.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::generator::Choices;

/// Goes on for ever.
pub(crate) struct Seeded(Pcg64Mcg);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }
}

impl Choices for Seeded {
    fn choose(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }

    fn goes_on(&self) -> bool {
        true
    }
}
