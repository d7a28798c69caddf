//! [`QueuedMail`]: a message that waits for the scripts of an entity.

use std::sync::Arc;

use bevy::prelude::Entity;
use smallvec::SmallVec;

use crate::bindings::{Amount, Mail};
use crate::run::sweep::ByEntity;

/// A message that waits for the scripts of an entity.
#[derive(Clone, Debug)]
pub(crate) struct QueuedMail {
    pub(crate) mail: Arc<Mail>,
    /// The scripts that still have to take it.
    pub(super) slots: ScriptSlots,
    /// The hash of the name of the script that sent it; 0 if the game did.
    pub(super) from: u64,
    /// Roughly the bytes that it takes.
    size: u32,
}

impl QueuedMail {
    /// A message that a script sent, which is given by the hash of its name.
    pub(crate) fn new(mail: Mail, from: u64) -> Self {
        let size = size_of::<Self>() + size_of::<Mail>() + mail.name.len() + mail.payload.size();
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        Self { mail: Arc::new(mail), slots: ScriptSlots::All, from, size }
    }

    /// Whether the script in this slot is to take it.
    pub(crate) fn is_for(&self, slot: usize) -> bool {
        self.slots.contain(slot)
    }

    pub(super) fn is_of_game(&self) -> bool {
        self.from == 0
    }

    pub(super) fn amount(&self) -> Amount {
        Amount { count: 1, bytes: self.size as usize }
    }
}

impl ByEntity for QueuedMail {
    #[inline]
    fn entity(&self) -> Entity {
        self.mail.to
    }
}

/// Some of the scripts on an entity, by their indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ScriptSlots {
    All,
    /// A bit for each.
    Of(SmallVec<[u64; 1]>),
}

impl ScriptSlots {
    pub(super) const NONE: Self = Self::Of(SmallVec::new_const());

    fn contain(&self, slot: usize) -> bool {
        match self {
            Self::All => true,
            Self::Of(bits) => bits.get(slot / 64).is_some_and(|bits| bits >> (slot % 64) & 1 > 0),
        }
    }

    pub(super) fn add(&mut self, slot: usize) {
        if let Self::Of(bits) = self {
            if bits.len() <= slot / 64 {
                bits.resize(slot / 64 + 1, 0);
            }
            bits[slot / 64] |= 1 << (slot % 64);
        }
    }
}
