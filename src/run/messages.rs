//! Messages between scripts, and between scripts and the game.

use std::collections::VecDeque;

use bevy::prelude::{Entity, Message, MessageReader, ResMut};

use crate::bindings::{Amount, Mail};
use crate::error::Failure;
use crate::run::mailbox::Mailbox;
use crate::value::ScriptValue;
use crate::vm::Callback;

/// A message from the game to the scripts of an entity: calls their `on_message(self, name, payload)`.
///
/// Delivered in the next frame that collects, in the order in which it was written, after the messages
/// that scripts sent. One script on one entity takes at most 1,024 messages in a frame, and no more once
/// they made it work, send, log or queue four times what one run may; the rest wait. One that no script of
/// its receiver has an `on_message` for is counted as
/// [undelivered](crate::FrameStats::undelivered). Of messages of the game, 262,144 with 32 MiB wait at most; further
/// ones are dropped, and counted as undelivered.
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

/// A message from a script to the game: what `emit(name, payload)` sends. Bevy keeps those of the last two frames,
/// read or not: they are 65,536 with 32 MiB at most, and further ones are not emitted, which is told as an error.
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

/// A run failed and changed nothing. Bevy keeps those of the last two frames, read or not: they are 4,096 at most, and
/// further ones are not written. [`LuaSnapshot`](crate::LuaSnapshot) counts all.
#[derive(Message, Clone, Debug, PartialEq)]
pub struct ScriptFailed {
    /// The entity.
    pub entity: Entity,
    /// The callback.
    pub callback: Callback,
    /// The script, the line, the error and the call stack.
    pub failure: Failure,
    /// The callback has failed too often in a row: on this entity the script doesn't run until it is tried again,
    /// reloaded or woken; if it is `on_message`, it takes no messages until then.
    pub put_aside: bool,
}

/// How much of what scripts tell the game is kept for it. Bevy keeps a message for two frames, whether it was read or
/// not, and as long as no fixed step is made while the clock stands still.
#[derive(Default)]
pub(crate) struct Outbox {
    /// The bytes of each event that is kept.
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Outbox {
    /// Events that may be kept.
    pub(crate) const MOST: Amount = Amount { count: 1 << 16, bytes: 32 * 1024 * 1024 };
    /// Failures that may be kept; of others none is told by a message.
    pub(crate) const MOST_FAILURES: usize = 1 << 12;

    /// Whether an event may be written where so many are kept; counts it if it may.
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

/// Takes the game's messages, also while scripts are paused, so that none expires unread.
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
