//! The messages between the game and scripts.

use std::collections::VecDeque;

use bevy::prelude::{Entity, Message, MessageReader, ResMut};

use crate::bindings::{Amount, Mail};
use crate::error::Failure;
use crate::run::mailbox::Mailbox;
use crate::value::ScriptValue;
use crate::vm::Callback;

/// A message from the game to the scripts of an entity: calls their `on_message(self, name, payload)`.
///
/// It is delivered the next time that scripts run in the plugin's schedule, after the messages that scripts sent, in
/// the order in which it was written. A script on an entity takes at most 1,024 messages in a frame. It takes no more
/// once its runs together worked, sent, logged or queued four times what one run may. The rest wait.
///
/// If no script of the receiver has an `on_message`, the message is counted as
/// [undelivered](crate::FrameStats::undelivered). At most 262,144 messages of the game with 32 MiB wait. Further ones
/// are dropped and counted as undelivered.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct ToScript {
    /// The receiver.
    pub to: Entity,
    /// The message's name.
    pub name: String,
    /// The value that comes with it.
    pub payload: ScriptValue,
}

impl ToScript {
    /// A message to the scripts of an entity.
    #[must_use]
    pub fn new(to: Entity, name: impl Into<String>, payload: impl Into<ScriptValue>) -> Self {
        Self { to, name: name.into(), payload: payload.into() }
    }
}

/// A message from a script to the game: what `emit(name, payload)` sends.
///
/// Bevy keeps those of the last two frames, read or not. At most 65,536 with 32 MiB are kept. Further ones are not
/// emitted, and an error says so.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct ScriptEvent {
    /// The entity whose script sent it.
    pub entity: Entity,
    /// The script's asset path.
    pub script: std::sync::Arc<str>,
    /// The message's name.
    pub name: String,
    /// The value that came with it.
    pub payload: ScriptValue,
}

/// A run failed and changed nothing.
///
/// Bevy keeps those of the last two frames, read or not. At most 4,096 are kept, and further ones are not written.
/// [`LuaSnapshot`](crate::LuaSnapshot) counts all.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct ScriptFailed {
    /// The entity.
    pub entity: Entity,
    /// The callback.
    pub callback: Callback,
    /// The script, the line, the error and the call stack.
    pub failure: Failure,
    /// The callback failed too often in a row. The script doesn't run on this entity until it is tried again,
    /// reloaded or woken. If the callback is `on_message`, only messages are not taken until then.
    pub put_aside: bool,
}

/// Limits the events that are kept for the game. Bevy keeps each for two frames, read or not, and longer while the
/// clock stands still and no fixed step is made.
#[derive(Default)]
pub(crate) struct Outbox {
    /// The bytes of each event that is kept, the oldest first.
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Outbox {
    /// The most events that are kept.
    pub(crate) const MOST: Amount = Amount { count: 1 << 16, bytes: 32 * 1024 * 1024 };
    /// The most [`ScriptFailed`] messages that are kept.
    pub(crate) const MOST_FAILURES: usize = 1 << 12;

    /// Whether an event may be written while so many are kept. If so, counts it.
    pub(crate) fn has_room_for(&mut self, event: &ScriptEvent, kept: usize) -> bool {
        while self.sizes.len() > kept {
            self.bytes -= self.sizes.pop_front().unwrap_or(0);
        }
        let size = size_of::<ScriptEvent>() + event.name.len() + event.payload.size();
        let all = Amount { count: kept + 1, bytes: self.bytes + size };
        let fits = all.is_within(Self::MOST);
        if fits {
            self.sizes.push_back(size);
            self.bytes += size;
        }
        fits
    }
}

/// Takes the game's messages. Runs while scripts are paused too, so that none expires unread.
pub(crate) fn gather(mut from_game: MessageReader<ToScript>, mut mailbox: ResMut<Mailbox>) {
    if from_game.is_empty() {
        return;
    }
    mailbox.put_of_game(from_game.read().map(|message| Mail {
        to: message.to,
        name: message.name.clone(),
        payload: message.payload.clone(),
        sender: None,
        line: None,
    }));
}
