//! [`Mailbox`]: messages that wait for the scripts of entities, within limits.

mod limits;
mod queued_mail;
mod stage_mail;

use bevy::prelude::{Entity, Resource};

use crate::bindings::{Amount, Mail, OF_A_PAIR};
use crate::run::mailbox::limits::{MailTotals, OF_ALL};

pub(crate) use self::limits::MailLimit;
pub(crate) use self::queued_mail::QueuedMail;
pub(crate) use self::stage_mail::StageMail;

/// Messages that wait for the next stage, in the order in which they were sent.
///
/// Their number and their bytes are limited. What exceeds a limit is refused to its sender. So a flood of messages to
/// one entity doesn't displace what others send to it, and no script displaces what other scripts send.
#[derive(Resource, Default)]
pub(crate) struct Mailbox {
    pub(super) waiting: Vec<QueuedMail>,
    /// Messages of the game that were refused.
    dropped: u64,
}

/// Messages of one script that were refused for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefusedMail {
    /// The hash of the script's name.
    pub(crate) from: u64,
    /// The sender and the receiver of the first one, and the line that sent it, if that was noted.
    pub(crate) sender: Entity,
    pub(crate) to: Entity,
    pub(crate) line: Option<u32>,
    pub(crate) limit: MailLimit,
    pub(crate) count: u64,
}

impl Mailbox {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes all that waits.
    pub(crate) fn take(&mut self) -> Vec<QueuedMail> {
        std::mem::take(&mut self.waiting)
    }

    /// Puts back what a stage left, before what was sent meanwhile. If the game sent much before the stage ended, the
    /// latest of that is dropped.
    pub(super) fn put_back(&mut self, stage_mail: &mut StageMail) {
        let sent_meanwhile = self.waiting.len();
        self.waiting.splice(0..0, stage_mail.take_left());
        if sent_meanwhile == 0 {
            return;
        }
        let all = self.waiting.len();
        let mut of_game = Amount::default();
        self.waiting
            .retain(|waiting| !waiting.is_of_game() || of_game.add(waiting.amount(), OF_ALL));
        self.dropped += (all - self.waiting.len()) as u64;
    }

    /// Takes what the game sends. What exceeds the limit is dropped.
    pub(crate) fn put_of_game(&mut self, mail: impl Iterator<Item = Mail>) {
        let of_game = self.waiting.iter().filter(|waiting| waiting.is_of_game());
        let mut all = of_game.map(QueuedMail::amount).sum::<Amount>();
        for mail in mail {
            let queued = QueuedMail::new(mail, 0);
            if all.add(queued.amount(), OF_ALL) {
                self.waiting.push(queued);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// Takes what scripts send, as far as the limits allow. Gives what is refused.
    pub(crate) fn put(&mut self, new: Vec<QueuedMail>) -> Vec<RefusedMail> {
        if new.is_empty() {
            return Vec::new();
        }
        let of = |mail: &[QueuedMail]| mail.iter().map(QueuedMail::amount).sum::<Amount>();
        // Nearly always all of it is less than what one entity may send to another.
        let all = [of(&self.waiting), of(&new)].into_iter().sum::<Amount>();
        if all.is_within(OF_A_PAIR) {
            self.waiting.extend(new);
            return Vec::new();
        }
        let mut totals = MailTotals::default();
        for waiting in self.waiting.iter().filter(|waiting| !waiting.is_of_game()) {
            totals.count(waiting);
        }
        let mut refused: Vec<RefusedMail> = Vec::new();
        for queued in new {
            let Err(limit) = totals.add(&queued) else {
                self.waiting.push(queued);
                continue;
            };
            let QueuedMail { from, ref mail, .. } = queued;
            match refused.iter_mut().find(|known| (known.from, known.limit) == (from, limit)) {
                Some(known) => known.count += 1,
                None => {
                    let sender = mail.sender.unwrap_or(Entity::PLACEHOLDER);
                    let (to, line) = (mail.to, mail.line);
                    refused.push(RefusedMail { from, sender, to, line, limit, count: 1 });
                }
            }
        }
        refused
    }

    /// How many messages were dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests;
