//! [`SandboxConfig`]: what scripts find, and which of them may use more or less than the others.
//!
//! Plain data, which the VMs and the frame act on.

mod distinct;
mod library;
mod scripts;

pub use self::library::Library;
pub use self::scripts::{Preset, ScriptLimits};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::distinct::Distinct;
use self::scripts::normal;

/// What scripts find in their VMs, and what single scripts may use up. All of it by allow-list.
///
/// A part of [`LuaPoolConfig`](crate::LuaPoolConfig), so of its RON file too, where every field is optional:
///
/// ```ron
/// (
///     run_time_limit: "2ms",
///     sandbox: (
///         libraries: [math, string, table, vector],
///         modules: ["json"],
///         scripts: {
///             "scripts/": (preset: trusted),
///             "scripts/boss.luau": (run_time_limit: "8ms"),
///         },
///     ),
/// )
/// ```
///
/// Whatever it says, a script stays isolated: trust buys time, memory and commands, and never reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenSandbox")]
pub struct SandboxConfig {
    /// Luau's libraries that scripts find. Default: all of [`Library::ALL`]. Functions such as `pcall`,
    /// `pairs` and `tostring` belong to no library and are always there. VMs are replaced when this
    /// changes.
    pub libraries: BTreeSet<Library>,
    /// The [modules](crate::modules) that scripts find, by name, of those that the app adds. Default
    /// `None`: all of them. VMs are replaced when this changes.
    pub modules: Option<BTreeSet<String>>,
    /// What scripts may use up that [`scripts`](Self::scripts) doesn't name. Default:
    /// [`ScriptLimits::untrusted`].
    pub limits: ScriptLimits,
    /// What single scripts may use up, by asset path: a path, or a folder with the slash at its end.
    /// If several match, the longest one holds. Default: none.
    ///
    /// Give more to scripts you know rather than less to those you don't: a path without a rule has
    /// [`limits`](Self::limits).
    pub scripts: BTreeMap<String, ScriptLimits>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self::untrusted()
    }
}

impl SandboxConfig {
    /// For strangers' scripts, and the default: each run has the limits of
    /// [`LuaPoolConfig`](crate::LuaPoolConfig).
    #[must_use]
    pub fn untrusted() -> Self {
        Self::of(Preset::Untrusted)
    }

    /// For scripts that the app's makers wrote: as [`SandboxConfig::untrusted`], but with
    /// [`ScriptLimits::trusted`].
    #[must_use]
    pub fn trusted() -> Self {
        Self::of(Preset::Trusted)
    }

    fn of(preset: Preset) -> Self {
        Self {
            libraries: Library::ALL.into(),
            modules: None,
            limits: ScriptLimits::of(preset),
            scripts: BTreeMap::new(),
        }
    }

    /// What the script with this asset path may use up. `..` and `.` in the path are followed first.
    #[must_use]
    pub fn limits_of(&self, path: &str) -> ScriptLimits {
        if self.scripts.is_empty() {
            return self.limits;
        }
        let path = normal(path);
        let fits = |rule: &&String| {
            **rule == path || (rule.ends_with('/') && path.starts_with(rule.as_str()))
        };
        let longest = self.scripts.keys().filter(fits).max_by_key(|rule| rule.len());
        longest.map_or(self.limits, |rule| self.scripts[rule])
    }

    /// Whether both offer scripts the same libraries and modules.
    pub(crate) fn offers_as(&self, other: &Self) -> bool {
        (&self.libraries, &self.modules) == (&other.libraries, &other.modules)
    }

    /// All limits, with the key of the rule that has them.
    pub(crate) fn all_limits(&self) -> impl Iterator<Item = (Option<&str>, &ScriptLimits)> {
        let rules = self.scripts.iter().map(|(rule, limits)| (Some(rule.as_str()), limits));
        std::iter::once((None, &self.limits)).chain(rules)
    }
}

/// Whether a key of [`SandboxConfig::scripts`] can be the path of a script, or of a folder.
pub(crate) fn is_rule(key: &str) -> bool {
    let folder = key.strip_suffix('/').unwrap_or(key);
    // `mods://` is the folder of all that an asset source has.
    let is_source = key.ends_with("://") && key.len() > 3 && key.matches('/').count() == 2;
    let path = folder.split_once("://").map_or(folder, |(_, path)| path);
    is_source || (!path.is_empty() && !path.starts_with("..") && normal(folder) == folder)
}

/// A sandbox as it is written in RON: what differs from a preset.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "SandboxConfig")]
struct WrittenSandbox {
    preset: Preset,
    libraries: Option<Distinct<Library>>,
    modules: Option<Distinct<String>>,
    limits: Option<ScriptLimits>,
    #[serde(deserialize_with = "distinct::map")]
    scripts: BTreeMap<String, ScriptLimits>,
}

impl From<WrittenSandbox> for SandboxConfig {
    fn from(written: WrittenSandbox) -> Self {
        let preset = Self::of(written.preset);
        Self {
            libraries: written.libraries.map_or(preset.libraries, |written| written.0),
            modules: written.modules.map(|written| written.0),
            limits: written.limits.unwrap_or(preset.limits),
            scripts: written.scripts,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limit(millis: u64) -> ScriptLimits {
        ScriptLimits { run_time_limit: Some(Duration::from_millis(millis)), ..Default::default() }
    }

    fn with(rules: &[(&str, u64)]) -> SandboxConfig {
        let scripts = rules.iter().map(|(rule, millis)| ((*rule).to_owned(), limit(*millis)));
        SandboxConfig { limits: limit(1), scripts: scripts.collect(), ..Default::default() }
    }

    #[test]
    fn the_longest_rule_that_fits_holds() {
        let sandbox =
            with(&[("scripts/", 2), ("scripts/boss.luau", 3), ("scripts/mods/", 4), ("net://", 5)]);
        for (path, millis) in [
            ("boss.luau", 1),
            ("scripts.luau", 1),
            ("scripts", 1),
            ("scripts/a.luau", 2),
            ("scripts/boss.luau", 3),
            ("scripts/boss.luau2", 2),
            ("scripts/mods/boss.luau", 4),
            ("net://boss.luau", 5),
            ("net://scripts/boss.luau", 5),
            ("other://scripts/boss.luau", 1),
        ] {
            assert_eq!(sandbox.limits_of(path), limit(millis), "{path}");
        }
    }

    #[test]
    fn no_detour_leads_a_script_to_the_limits_of_another_folder() {
        let sandbox = with(&[("scripts/", 2), ("mods/", 3)]);
        for (path, millis) in [
            ("scripts/../mods/a.luau", 3),
            ("mods/../scripts/a.luau", 2),
            ("mods/./a.luau", 3),
            ("./mods//a.luau", 3),
            ("scripts/../a.luau", 1),
            ("../scripts/a.luau", 1),
            ("x/../../scripts/a.luau", 1),
            ("scripts\\..\\mods\\a.luau", 3),
            ("net://scripts/a.luau", 1),
            ("net://../scripts/a.luau", 1),
        ] {
            assert_eq!(sandbox.limits_of(path), limit(millis), "{path}");
        }
    }

    #[test]
    fn rules_are_paths_and_folders_as_assets_have_them() {
        for rule in ["a.luau", "scripts/", "a/b/c.luau", "mods://", "mods://a/", "mods://a.luau"] {
            assert!(is_rule(rule), "{rule}");
        }
        for rule in ["", "/", "/a", "a//b", "../a", "a/../b", "./a", "a\\b", "://", "a/b://"] {
            assert!(!is_rule(rule), "{rule}");
        }
    }

    #[test]
    fn trust_buys_time_and_commands_and_nothing_else() {
        let (trusted, untrusted) = (SandboxConfig::trusted(), SandboxConfig::untrusted());
        assert_eq!(untrusted, SandboxConfig::default());
        assert!(trusted.limits.run_time_limit > Some(Duration::from_millis(2)));
        let as_untrusted = SandboxConfig { limits: untrusted.limits, ..trusted };
        assert_eq!(as_untrusted, untrusted);
    }
}
