//! [`ScriptLimits`]: what a script may use up, and how scripts are told apart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far scripts are trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preset {
    /// Not at all: a stranger wrote them.
    #[default]
    Untrusted,
    /// Not to be slow by intent: the app's makers wrote them. They have more time, and are as isolated
    /// as the others.
    Trusted,
}

/// What one run of a script may use up, and may do, and what all may that descend from one entity. A limit that is
/// `None` is as in [`LuaPoolConfig`](crate::LuaPoolConfig).
///
/// In RON over a preset: `(preset: trusted)`, `(preset: trusted, run_memory_limit: 1048576)`,
/// `(run_time_limit: "8ms")`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenLimits")]
pub struct ScriptLimits {
    /// As [`LuaPoolConfig::run_time_limit`](crate::LuaPoolConfig::run_time_limit): from 10 µs to 1 min.
    #[serde(with = "humantime_serde")]
    pub run_time_limit: Option<Duration>,
    /// As [`LuaPoolConfig::run_memory_limit`](crate::LuaPoolConfig::run_memory_limit): from 256 KiB to
    /// `memory_limit`.
    pub run_memory_limit: Option<usize>,
    /// Whether it may write numbers that are not finite to components: infinities, and what is not a number.
    /// `None` is `false`: nearly always they come from a division by zero, and what has a `Transform` with one
    /// vanishes with all its children, or makes physics panic. With `false` that is an error of the script that
    /// writes it, which names the field. `self`, messages and arguments of functions may hold them in any case.
    pub allow_non_finite: Option<bool>,
    /// As [`LuaPoolConfig::max_commands`](crate::LuaPoolConfig::max_commands): at most 1,000,000.
    pub max_commands: Option<usize>,
    /// Entities that scripts may spawn in one stage on all entities that descend from one because scripts
    /// spawned them: at most 1,000,000. `None`: as many as one run of the script may, `max_commands`.
    /// Who would spawn more than are left waits for the next frame.
    pub max_spawned_together: Option<usize>,
}

impl ScriptLimits {
    /// Those of [`LuaPoolConfig`](crate::LuaPoolConfig).
    #[must_use]
    pub const fn untrusted() -> Self {
        Self::of(Preset::Untrusted)
    }

    /// Ten times the default time and the default number of commands: 20 ms, and 2,560. They may write numbers that
    /// are not finite.
    #[must_use]
    pub const fn trusted() -> Self {
        Self::of(Preset::Trusted)
    }

    pub(super) const fn of(preset: Preset) -> Self {
        let (run_time_limit, max_commands, allow_non_finite) = match preset {
            Preset::Untrusted => (None, None, None),
            Preset::Trusted => (Some(Duration::from_millis(20)), Some(2560), Some(true)),
        };
        Self {
            run_time_limit,
            run_memory_limit: None,
            allow_non_finite,
            max_commands,
            max_spawned_together: None,
        }
    }
}

/// Limits as they are written in RON: what differs from a preset.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "ScriptLimits")]
struct WrittenLimits {
    preset: Preset,
    #[serde(with = "humantime_serde")]
    run_time_limit: Option<Duration>,
    run_memory_limit: Option<usize>,
    allow_non_finite: Option<bool>,
    max_commands: Option<usize>,
    max_spawned_together: Option<usize>,
}

impl From<WrittenLimits> for ScriptLimits {
    fn from(written: WrittenLimits) -> Self {
        let preset = Self::of(written.preset);
        Self {
            run_time_limit: written.run_time_limit.or(preset.run_time_limit),
            run_memory_limit: written.run_memory_limit.or(preset.run_memory_limit),
            allow_non_finite: written.allow_non_finite.or(preset.allow_non_finite),
            max_commands: written.max_commands.or(preset.max_commands),
            max_spawned_together: written.max_spawned_together.or(preset.max_spawned_together),
        }
    }
}

/// An asset path without detours: `a/../b` is `b`. One that leaves its root keeps its `..`.
pub(super) fn normal(path: &str) -> String {
    let path = path.replace('\\', "/");
    let (source, path) = match path.split_once("://") {
        Some((source, path)) if !source.contains('/') => (format!("{source}://"), path),
        _ => (String::new(), path.as_str()),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    source + &parts.join("/")
}
