//! [`Backlog`]: messages that wait for entities whose scripts take none.

use std::iter::Sum;

use bevy::platform::collections::HashMap;
use bevy::prelude::{Entity, Resource};

use crate::error::ScriptError;

/// A number of messages and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

impl Amount {
    pub(crate) fn is_within(self, most: Self) -> bool {
        self.count <= most.count && self.bytes <= most.bytes
    }

    /// Adds another amount if the sum stays within `most`; returns whether it does.
    pub(crate) fn add(&mut self, other: Self, most: Self) -> bool {
        let both: Self = [*self, other].into_iter().sum();
        let fits = both.is_within(most);
        if fits {
            *self = both;
        }
        fits
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |all, one| Self {
            count: all.count + one.count,
            bytes: all.bytes + one.bytes,
        })
    }
}

/// The most waiting messages from one entity to another.
pub(crate) const OF_A_PAIR: Amount = Amount { count: 2048, bytes: 1024 * 1024 };

/// Messages that wait for entities whose scripts take none, because they are paused or not loaded. Taken when the stage
/// begins; empty as long as few wait.
#[derive(Resource, Default)]
pub(crate) struct Backlog {
    pairs: HashMap<(Entity, Entity), Amount>,
    /// Messages were refused recently, so the lines that send them are recorded.
    pub(crate) refuses: bool,
}

impl Backlog {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    pub(crate) fn clear(&mut self) {
        self.pairs.clear();
    }

    pub(crate) fn note(&mut self, sender: Entity, to: Entity, amount: Amount) {
        let known = self.pairs.entry((sender, to)).or_default();
        *known = [*known, amount].into_iter().sum();
    }

    /// Checks that one entity may send more messages to another.
    ///
    /// # Errors
    /// If too many of its messages wait there.
    pub(crate) fn check(&self, sender: Entity, to: Entity) -> Result<(), ScriptError> {
        let Some(Amount { count, bytes }) = self.pairs.get(&(sender, to)) else { return Ok(()) };
        if *count < OF_A_PAIR.count && *bytes < OF_A_PAIR.bytes {
            return Ok(());
        }
        Err(ScriptError::Host {
            message: format!(
                "{count} messages of this entity with {bytes} bytes wait for {to}, whose scripts take none; \
                 no more than {} or {} bytes can wait; send again when it has taken some",
                OF_A_PAIR.count, OF_A_PAIR.bytes
            ),
        })
    }
}
