//! Messages between scripts, and between scripts and the game.

use std::collections::HashMap;

use bevy::prelude::{Entity, Message, MessageReader, ResMut, Resource};

use crate::bindings::Mail;
use crate::error::Failure;
use crate::value::ScriptValue;
use crate::vm::Callback;

/// A message from the game to the scripts of an entity: calls their `on_message(self, name, payload)`.
///
/// Delivered in the next frame that collects, in the order in which it was written, after the messages
/// that scripts sent. One script on one entity takes at most 1,024 messages in a frame, and no more once
/// they made it work, send, log or queue four times what one run may; the rest wait. One that no script of
/// its receiver has an `on_message` for is counted as
/// [undelivered](crate::FrameStats::undelivered).
#[derive(Message, Clone, Debug, PartialEq)]
pub struct ToScript {
    /// The receiver.
    pub to: Entity,
    /// The message's name.
    pub name: String,
    /// What comes with it.
    pub payload: ScriptValue,
}

impl ToScript {
    /// A message.
    #[must_use]
    pub fn new(to: Entity, name: impl Into<String>, payload: impl Into<ScriptValue>) -> Self {
        Self { to, name: name.into(), payload: payload.into() }
    }
}

/// A message from a script to the game: what `emit(name, payload)` sends.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct ScriptEvent {
    /// The entity whose script sent it.
    pub entity: Entity,
    /// The script's asset path.
    pub script: std::sync::Arc<str>,
    /// The message's name.
    pub name: String,
    /// What came with it.
    pub payload: ScriptValue,
}

/// A run failed and changed nothing.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct ScriptFailed {
    /// The entity.
    pub entity: Entity,
    /// The callback.
    pub callback: Callback,
    /// The script, the line, the error and the call stack.
    pub failure: Failure,
    /// The script has failed too often in a row: on this entity it doesn't run until it is tried again,
    /// reloaded or woken.
    pub put_aside: bool,
}

/// A message on its way to the scripts of an entity.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) mail: Mail,
    /// The place of the one script that still has to take it; without one all of them have to.
    pub(crate) only: Option<usize>,
}

impl Delivery {
    fn size(&self) -> usize {
        size_of::<Self>() + self.mail.name.len() + self.mail.payload.size()
    }

    /// Whether the script at this place is to take it.
    pub(crate) fn is_for(&self, slot: usize) -> bool {
        self.only.is_none_or(|only| only == slot)
    }
}

/// Messages that wait for the next stage, in the order in which they were sent.
#[derive(Resource, Default)]
pub(crate) struct Mailbox {
    pub(crate) waiting: Vec<Delivery>,
    /// Messages that were dropped because too many were waiting.
    pub(crate) dropped: u64,
}

/// The most messages that wait for the next stage or for paused and deferred scripts. When there are
/// more, the oldest are dropped and counted as undelivered.
const MAX_WAITING: usize = 1 << 20;
/// The most bytes that they may have together.
const MAX_WAITING_BYTES: usize = 256 * 1024 * 1024;

/// The most messages from one entity to another that wait. When there are more, the newest are dropped
/// and counted as undelivered: who floods another doesn't flood out what others, or the game, send.
const MAX_WAITING_FROM_ONE: usize = 2048;
/// The most bytes that they may have together.
const MAX_WAITING_BYTES_FROM_ONE: usize = 4 * 1024 * 1024;

/// Drops what one entity sent to another beyond what may wait; `deliveries` are sorted by receiver.
/// Gives how many.
pub(crate) fn shed(deliveries: &mut Vec<Delivery>) -> u64 {
    let all = deliveries.len();
    if all <= MAX_WAITING_FROM_ONE
        && deliveries.iter().map(Delivery::size).sum::<usize>() <= MAX_WAITING_BYTES_FROM_ONE
    {
        return 0;
    }
    let mut receiver = None;
    let mut waiting: HashMap<Entity, (usize, usize)> = HashMap::new();
    deliveries.retain(|delivery| {
        if receiver.replace(delivery.mail.to) != Some(delivery.mail.to) {
            waiting.clear();
        }
        let Some(sender) = delivery.mail.sender else { return true };
        let (count, bytes) = waiting.entry(sender).or_default();
        *count += 1;
        *bytes += delivery.size();
        *count <= MAX_WAITING_FROM_ONE && *bytes <= MAX_WAITING_BYTES_FROM_ONE
    });
    (all - deliveries.len()) as u64
}

impl Mailbox {
    pub(crate) fn put(&mut self, mail: impl IntoIterator<Item = Mail>) {
        self.waiting.extend(mail.into_iter().map(|mail| Delivery { mail, only: None }));
        let mut bytes: usize = self.waiting.iter().map(Delivery::size).sum();
        let mut surplus = self.waiting.len().saturating_sub(MAX_WAITING);
        for (index, oldest) in self.waiting.iter().enumerate() {
            if index >= surplus && bytes <= MAX_WAITING_BYTES {
                break;
            }
            bytes -= oldest.size();
            surplus = surplus.max(index + 1);
        }
        self.waiting.drain(..surplus);
        self.dropped += surplus as u64;
    }
}

/// Takes the game's messages, also while scripts are paused, so that none expires unread.
pub(crate) fn gather(mut from_game: MessageReader<ToScript>, mut mailbox: ResMut<Mailbox>) {
    if from_game.is_empty() {
        return;
    }
    mailbox.put(from_game.read().map(|message| Mail {
        to: message.to,
        name: message.name.clone(),
        payload: message.payload.clone(),
        sender: None,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(index: u32) -> Entity {
        Entity::from_raw_u32(index).expect("a small index")
    }

    fn delivery(to: u32, sender: Option<u32>, payload: &str) -> Delivery {
        let (name, payload) = (String::new(), payload.into());
        let mail = Mail { to: entity(to), name, payload, sender: sender.map(entity) };
        Delivery { mail, only: None }
    }

    #[test]
    fn who_floods_one_floods_out_neither_others_nor_the_game() {
        let mut deliveries: Vec<_> =
            (0..MAX_WAITING_FROM_ONE + 100).map(|_| delivery(1, Some(7), "flood")).collect();
        deliveries.push(delivery(1, Some(8), "from another"));
        deliveries.push(delivery(1, None, "from the game"));
        deliveries.push(delivery(2, Some(7), "to another"));
        assert_eq!(shed(&mut deliveries), 100);
        let left: Vec<_> = deliveries[MAX_WAITING_FROM_ONE..].iter().collect();
        let payloads: Vec<String> =
            left.iter().map(|delivery| delivery.mail.payload.to_string()).collect();
        assert_eq!(left.len(), 3, "{payloads:?}");
    }

    #[test]
    fn many_bytes_are_a_flood_too() {
        let long = "x".repeat(MAX_WAITING_BYTES_FROM_ONE / 4);
        let mut deliveries: Vec<_> = (0..10).map(|_| delivery(1, Some(7), &long)).collect();
        deliveries.extend((0..10).map(|_| delivery(1, None, &long)));
        assert_eq!(shed(&mut deliveries), 7);
    }
}
