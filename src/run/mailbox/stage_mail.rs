//! [`StageMail`]: the messages that can be taken in one stage.

use std::ops::{Deref, Range};

use bevy::prelude::Entity;

use crate::bindings::{Amount, Backlog, OF_A_PAIR};
use crate::run::mailbox::queued_mail::{QueuedMail, ScriptSlots};
use crate::run::order::order;

/// The messages that can be taken in one stage, sorted by receiver, and which of the receiver's scripts leave each of
/// them for a later stage. However many scripts these are, it stays one message.
#[derive(Debug, Default)]
pub(crate) struct StageMail {
    all: Vec<QueuedMail>,
    /// For each message, the scripts that don't take it in this stage.
    left_by: Vec<ScriptSlots>,
}

impl StageMail {
    pub(in crate::run) fn of(mut all: Vec<QueuedMail>) -> Self {
        all.sort_by_key(|queued| order(queued.mail.to));
        let left_by = vec![ScriptSlots::NONE; all.len()];
        Self { all, left_by }
    }

    /// Of the messages in a range that are for the script in a slot, it takes the first `taken`, and leaves the others.
    pub(in crate::run) fn leave(&mut self, range: Range<u32>, slot: usize, taken: usize) {
        let range = range.start as usize..range.end as usize;
        let all = self.all[range.clone()].iter().zip(&mut self.left_by[range]);
        let for_it = all.filter(|(queued, _)| queued.is_for(slot));
        for_it.skip(taken).for_each(|(_, left_by)| left_by.add(slot));
    }

    /// All scripts leave the messages in a range.
    pub(in crate::run) fn leave_all(&mut self, range: Range<u32>) {
        for number in range.start as usize..range.end as usize {
            self.left_by[number] = self.all[number].slots.clone();
        }
    }

    /// The messages to an entity.
    pub(in crate::run) fn to(&self, entity: Entity) -> Range<u32> {
        if self.all.is_empty() {
            return 0..0;
        }
        let key = order(entity);
        let start = self.all.partition_point(|queued| order(queued.mail.to) < key);
        let to_it = self.all[start..].partition_point(|queued| order(queued.mail.to) == key);
        // The mailbox holds fewer than `u32::MAX`.
        start as u32..(start + to_it) as u32
    }

    /// The messages that were left so far.
    fn left(&self) -> impl Iterator<Item = &QueuedMail> {
        let all = self.all.iter().zip(&self.left_by);
        all.filter(|(_, left_by)| **left_by != ScriptSlots::NONE).map(|(queued, _)| queued)
    }

    /// Notes in the backlog what was left so far, if that is enough to come near a limit.
    pub(in crate::run) fn note_backlog(&self, backlog: &mut Backlog) {
        backlog.clear();
        let all: Amount = self.left().map(QueuedMail::amount).sum();
        if all.count < OF_A_PAIR.count && all.is_within(OF_A_PAIR) {
            return;
        }
        for queued in self.left() {
            if let Some(sender) = queued.mail.sender {
                backlog.note(sender, queued.mail.to, queued.amount());
            }
        }
    }

    /// Takes out what was left, in order. The rest is gone.
    pub(super) fn take_left(&mut self) -> impl Iterator<Item = QueuedMail> {
        let all = self.all.drain(..).zip(self.left_by.drain(..));
        let left = all.filter(|(_, left_by)| *left_by != ScriptSlots::NONE);
        left.map(|(mut queued, slots)| {
            queued.slots = slots;
            queued
        })
    }
}

impl Deref for StageMail {
    type Target = [QueuedMail];

    fn deref(&self) -> &[QueuedMail] {
        &self.all
    }
}
