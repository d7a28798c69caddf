//! Limits of what one run may produce, and what it has produced so far.

use super::ScriptContext;
use crate::bindings::effects::Effects;
use crate::bindings::field_ids::KnownField;
use crate::bindings::write_log::ComponentWrite;
use crate::config::LuaPoolConfig;
use crate::error::{ScriptError, Setting};
use crate::value::ScriptValue;
use crate::vm::FieldRef;

/// The most bytes that one run may put in messages and in components, texts and tables that it writes, in total.
pub(crate) fn max_bytes_handed_over(limits: &LuaPoolConfig) -> usize {
    limits.max_value_size.saturating_mul(16)
}

impl ScriptContext<'_> {
    /// Whether the invocation has produced `times` as much as one run may.
    pub(crate) fn is_replete(&self, times: usize) -> bool {
        let Effects { commands, spawned, writes, messages, emitted, logs } = &self.effects;
        let limits = self.limits;
        let most = times.saturating_mul(self.max_commands);
        let made = commands.len() + spawned.len();
        // Scalars don't count. They are only filtered out if the total is high enough to matter.
        let changes = || writes.iter().filter(|write| !write.value.is_scalar()).count();
        made + writes.len() >= most && made + changes() >= most
            || messages.len() + emitted.len() >= times.saturating_mul(limits.max_messages)
            || logs.len() >= times.saturating_mul(limits.max_log_lines)
            || self.bytes >= max_bytes_handed_over(limits)
    }

    /// Bytes of messages, components and log lines that the invocation has produced so far.
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

    /// Counts bytes in messages and components.
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

    /// Counts the bytes of a value that is written to a field, less those of the value that the invocation wrote there
    /// before. Scalars are free.
    pub(super) fn count_written(
        &mut self,
        place: FieldRef,
        value: &ScriptValue,
    ) -> Result<(), ScriptError> {
        if !matches!(value, ScriptValue::String(_) | ScriptValue::Bytes(_) | ScriptValue::Table(_))
        {
            return Ok(());
        }
        let fields = &self.exposure.fields;
        let is_its = |write: &&ComponentWrite| {
            let KnownField { path, is_compound, .. } = fields.get(write.field);
            *path == place.path && !is_compound
        };
        let written = self.effects.writes.around(fields, place).filter(is_its);
        let before = written.map_or(0, |write| write.value.size());
        self.count_bytes("bytes in components", value.size().saturating_sub(before))
    }

    /// Counts by how much a list or map that is changed in place has grown. The first change also counts the `before`
    /// bytes of the copy, but only against the stage, so that a script can change a list of any length.
    pub(super) fn count_replaced(
        &mut self,
        place: FieldRef,
        size: usize,
        before: usize,
    ) -> Result<(), ScriptError> {
        let is_copied = self.effects.writes.around(&self.exposure.fields, place).is_some();
        if !is_copied {
            self.copied += before;
        }
        match size.saturating_sub(before) {
            0 => Ok(()),
            grown => self.count_bytes("bytes in components", grown),
        }
    }
}
