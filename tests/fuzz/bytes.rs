//! Choices that a fuzzer makes.

use super::generator::Choices;

/// Takes choices from bytes. Once there are none left, the first of everything is chosen.
pub(crate) struct Bytes<'b>(pub(crate) &'b [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        self.0.split_off_first().map_or(0, |byte| usize::from(*byte))
    }
}

impl Choices for Bytes<'_> {
    fn choose(&mut self, count: usize) -> usize {
        let mut number = self.next();
        let mut range = 256;
        while range < count {
            number = number * 256 + self.next();
            range *= 256;
        }
        number % count
    }

    fn goes_on(&self) -> bool {
        !self.0.is_empty()
    }
}
