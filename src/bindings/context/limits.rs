//! What one run may ask for, and what it has asked for so far.

use super::ScriptContext;
use crate::bindings::effects::{Effects, ScalarWrite};
use crate::config::LuaPoolConfig;
use crate::error::{ScriptError, Setting};
use crate::value::ScriptValue;
use crate::vm::FieldRef;

/// The bytes that all messages which one run sends, and all components, texts and tables in components that it
/// inserts or assigns, may have together.
pub(crate) fn max_bytes_handed_over(limits: &LuaPoolConfig) -> usize {
    limits.max_value_size.saturating_mul(16)
}

impl ScriptContext<'_> {
    /// Whether the runs so far have asked for so many times what one run may.
    pub(crate) fn is_replete(&self, times: usize) -> bool {
        let Effects { commands, spawned, drafts, messages, emitted, logs, .. } = &self.effects;
        let limits = self.limits;
        commands.len() + spawned.len() + drafts.len() >= times.saturating_mul(self.max_commands)
            || messages.len() + emitted.len() >= times.saturating_mul(limits.max_messages)
            || logs.len() >= times.saturating_mul(limits.max_log_lines)
            || self.bytes >= max_bytes_handed_over(limits)
    }

    /// Bytes of messages, components and log lines so far.
    #[inline]
    pub(crate) fn bytes_handed_over(&self) -> usize {
        self.bytes
            + self.copied
            + self.effects.logs.iter().map(|line| line.text.len()).sum::<usize>()
    }

    pub(super) fn count_command(&mut self) -> Result<(), ScriptError> {
        let effects = &self.effects;
        let made = effects.commands.len() + effects.spawned.len() - self.base.commands;
        let limit = self.max_commands;
        if made + self.base.changes < limit {
            return Ok(());
        }
        Err(ScriptError::TooMuch { what: "commands", limit, setting: Setting::MaxCommands })
    }

    pub(super) fn count_message(
        &mut self,
        name: &str,
        payload: &ScriptValue,
    ) -> Result<(), ScriptError> {
        let effects = &self.effects;
        let made = effects.messages.len() + effects.emitted.len() - self.base.messages;
        let limit = self.limits.max_messages;
        if made >= limit {
            return Err(ScriptError::TooMuch {
                what: "messages",
                limit,
                setting: Setting::MaxMessages,
            });
        }
        self.count_bytes("bytes in messages", name.len() + payload.size())
    }

    /// Counts what the run hands over.
    pub(super) fn count_bytes(
        &mut self,
        what: &'static str,
        bytes: usize,
    ) -> Result<(), ScriptError> {
        self.bytes += bytes;
        let limit = max_bytes_handed_over(self.limits);
        if self.bytes - self.base.bytes > limit {
            return Err(ScriptError::TooMuch { what, limit, setting: Setting::MaxValueSize });
        }
        Ok(())
    }

    /// Counts what a script writes to a field, if that can be large: as far as it is larger than what it wrote
    /// there before.
    pub(super) fn count_written(
        &mut self,
        place: FieldRef,
        value: &ScriptValue,
    ) -> Result<(), ScriptError> {
        if !matches!(value, ScriptValue::String(_) | ScriptValue::Bytes(_) | ScriptValue::Table(_))
        {
            return Ok(());
        }
        let before = self.written_leaf(place).map_or(0, |leaf| leaf.value.size());
        self.count_bytes("bytes in components", value.size().saturating_sub(before))
    }

    /// Counts a list or map that a script changed in place: as far as it is larger than it was `before`. The first
    /// time, what was there before counts as well, but only in the stage: a long list can be changed.
    pub(super) fn count_replaced(
        &mut self,
        place: FieldRef,
        size: usize,
        before: usize,
    ) -> Result<(), ScriptError> {
        let is_copied = self.draft_index(place.entity, place.component).is_some()
            || self.written_leaf(place).is_some();
        if !is_copied {
            self.copied += before;
        }
        match size.saturating_sub(before) {
            0 => Ok(()),
            grown => self.count_bytes("bytes in components", grown),
        }
    }

    /// What was written to the leaf at a place.
    pub(super) fn written_leaf(&self, place: FieldRef) -> Option<&ScalarWrite> {
        let spot = self.exposure.fields.at(place.component, place.path)?;
        self.effects.leaves.iter().find(|leaf| leaf.entity == place.entity && leaf.spot == spot)
    }
}
