//! [`Receivers`]: which messages have a script that takes them.

use std::ops::Range;

use bevy::prelude::Entity;

use crate::run::mailbox::{Mailbox, StageMail};
use crate::run::report::Report;

/// Which of a stage's messages have a script that takes them.
pub(super) struct Receivers {
    /// For each message.
    found: Vec<Receiver>,
}

/// Whether a message has a receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Receiver {
    None,
    /// A script that may have an `on_message`: it has not run yet.
    Possible,
    Certain,
}

impl Receivers {
    pub(super) fn new(messages: usize) -> Self {
        Self { found: vec![Receiver::None; messages] }
    }

    /// Notes a script that takes messages, or may if `is_certain` is not set. Gives the messages to its entity if any
    /// of them is for it.
    pub(super) fn take(
        &mut self,
        stage_mail: &StageMail,
        entity: Entity,
        slot: usize,
        is_certain: bool,
    ) -> Range<u32> {
        let receiver = if is_certain { Receiver::Certain } else { Receiver::Possible };
        let any = self.note(stage_mail, entity, Some(slot), receiver);
        if any { stage_mail.to(entity) } else { 0..0 }
    }

    /// The script in a slot can't take messages yet, or no script of the entity: they wait.
    pub(super) fn wait(&mut self, stage_mail: &mut StageMail, entity: Entity, slot: Option<usize>) {
        self.note(stage_mail, entity, slot, Receiver::Certain);
        match slot {
            Some(slot) => stage_mail.leave(stage_mail.to(entity), slot, 0),
            None => stage_mail.leave_all(stage_mail.to(entity)),
        }
    }

    /// Notes a receiver of the messages for the script in a slot, or for all scripts of the entity. Gives whether
    /// there are any.
    fn note(
        &mut self,
        stage_mail: &StageMail,
        entity: Entity,
        slot: Option<usize>,
        receiver: Receiver,
    ) -> bool {
        let mut any = false;
        for index in stage_mail.to(entity) {
            let index = index as usize;
            if slot.is_none_or(|slot| stage_mail[index].is_for(slot)) {
                self.found[index] = self.found[index].max(receiver);
                any = true;
            }
        }
        any
    }

    /// Counts the messages without receiver. If some have a possible one, `unsure` tells which.
    pub(super) fn report(self, mailbox: &mut Mailbox, report: &mut Report, unsure: &mut Vec<bool>) {
        let count = |receiver| self.found.iter().filter(|found| **found == receiver).count();
        report.frame.undelivered += count(Receiver::None) as u64 + mailbox.take_dropped();
        if count(Receiver::Possible) > 0 {
            unsure.extend(self.found.iter().map(|found| *found == Receiver::Possible));
        }
    }
}
