//! How much mail of scripts may wait.

use std::fmt;

use bevy::platform::collections::HashMap;
use bevy::prelude::Entity;

use crate::bindings::{Amount, OF_A_PAIR};
use crate::run::mailbox::queued_mail::QueuedMail;

const MIB: usize = 1024 * 1024;

/// What may wait of all scripts together. Apart from them, the game has as much.
pub(super) const OF_ALL: Amount = Amount { count: 1 << 18, bytes: 32 * MIB };
/// What may wait of one script, sent from all entities that carry it.
pub(super) const OF_A_SCRIPT: Amount = Amount { count: 1 << 17, bytes: 16 * MIB };
/// What may wait for one entity.
pub(super) const TO_AN_ENTITY: Amount = Amount { count: 1 << 14, bytes: 4 * MIB };

/// The limit that a message would have exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MailLimit {
    OfAll,
    OfAScript,
    ToAnEntity,
    OfAPair,
}

impl fmt::Display for MailLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, Amount { count, bytes }) = match self {
            Self::OfAll => ("wait in all", OF_ALL),
            Self::OfAScript => ("of one script wait", OF_A_SCRIPT),
            Self::ToAnEntity => ("to one entity wait", TO_AN_ENTITY),
            Self::OfAPair => ("of one entity to another wait", OF_A_PAIR),
        };
        write!(f, "at most {count} messages {what}, of {bytes} bytes")
    }
}

/// How much mail waits, of and for all that have a limit.
#[derive(Default)]
pub(super) struct MailTotals {
    all: Amount,
    scripts: HashMap<u64, Amount>,
    receivers: HashMap<Entity, Amount>,
    pairs: HashMap<(Entity, Entity), Amount>,
}

impl MailTotals {
    /// The totals that a message adds to, with their limits.
    fn parts(&mut self, queued: &QueuedMail) -> [(&mut Amount, Amount, MailLimit); 4] {
        let QueuedMail { mail, from, .. } = queued;
        let sender = mail.sender.unwrap_or(Entity::PLACEHOLDER);
        [
            (self.pairs.entry((sender, mail.to)).or_default(), OF_A_PAIR, MailLimit::OfAPair),
            (self.receivers.entry(mail.to).or_default(), TO_AN_ENTITY, MailLimit::ToAnEntity),
            (self.scripts.entry(*from).or_default(), OF_A_SCRIPT, MailLimit::OfAScript),
            (&mut self.all, OF_ALL, MailLimit::OfAll),
        ]
    }

    /// Counts what waits already.
    pub(super) fn count(&mut self, queued: &QueuedMail) {
        for (total, ..) in self.parts(queued) {
            *total = [*total, queued.amount()].into_iter().sum();
        }
    }

    /// Counts one more if that exceeds no limit.
    pub(super) fn add(&mut self, queued: &QueuedMail) -> Result<(), MailLimit> {
        let parts = self.parts(queued);
        let over = parts.iter().find(|(total, most, _)| {
            ![**total, queued.amount()].into_iter().sum::<Amount>().is_within(*most)
        });
        if let Some((_, _, limit)) = over {
            return Err(*limit);
        }
        for (total, most, _) in parts {
            total.add(queued.amount(), most);
        }
        Ok(())
    }
}
