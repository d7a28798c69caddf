//! The comment at the top of an attack: what it tries, where it is known from, how it must end.

use std::path::{Path, PathBuf};

use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{Failure, ScriptError, ScriptFailed};

/// A script that tries to do harm.
pub(crate) struct Attack {
    /// `time/endless_loop`
    pub(crate) name: String,
    pub(crate) source: String,
    /// A script for another entity, that looks for what this one left: the file `<name>_probe.luau`.
    pub(crate) probe: Option<String>,
    /// One of these must be how it ends.
    expected: Vec<Ending>,
}

/// How an attack ends.
#[derive(Clone, Debug)]
enum Ending {
    /// Each run ran out of time.
    Timeout,
    /// Each run ran out of memory.
    Memory,
    /// Each run, or loading it, failed with an error that contains this.
    Error(String),
    /// No run failed, and `self.result` is this.
    Done(ScriptValue),
    /// However it likes.
    Any,
}

/// What an attack came to.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Why it did not load.
    pub(crate) broken: Option<String>,
    pub(crate) failures: Vec<ScriptFailed>,
    /// Its `self` at the end.
    pub(crate) state: ScriptTable,
}

impl Attack {
    /// All attacks of a folder, sorted by name.
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("it can be listed").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "luau"))
            .filter(|path| !stem(path).ends_with("_probe"))
            .collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// A script that does nothing.
    pub(crate) fn harmless() -> Self {
        let (name, source) = ("nothing".to_owned(), String::new());
        Self { name, source, probe: None, expected: vec![Ending::Any] }
    }

    fn read(path: &Path) -> Self {
        let text = |path: &Path| std::fs::read_to_string(path).expect("it is text");
        let group = path.parent().map_or_else(String::new, stem);
        let name = format!("{group}/{}", stem(path));
        let source = text(path);
        let field = |field: &str| {
            let prefix = format!("-- {field}: ");
            let mut lines = source.lines().take_while(|line| line.starts_with("--"));
            lines.find_map(|line| line.strip_prefix(&prefix)).map(str::trim)
        };
        assert!(field("tries").is_some(), "{name}: `-- tries:` is missing");
        let expected = field("expect").unwrap_or_else(|| panic!("{name}: `-- expect:` is missing"));
        let expected = expected.split(" | ").map(|ending| Ending::parse(&name, ending)).collect();
        let probe = path.with_file_name(format!("{}_probe.luau", stem(path)));
        let probe = probe.exists().then(|| text(&probe));
        Self { name, source, probe, expected }
    }

    /// Asserts that it ended as expected.
    pub(crate) fn judge(&self, outcome: &Outcome) -> Result<(), String> {
        // Of several runs that fail, each may do so in its own way.
        let as_expected = |failed: &ScriptFailed| {
            self.expected.iter().any(|ending| ending.is_of(&failed.failure))
        };
        let each = outcome.broken.is_none()
            && !outcome.failures.is_empty()
            && outcome.failures.iter().all(as_expected);
        if each || self.expected.iter().any(|ending| ending.is(outcome)) {
            return Ok(());
        }
        let mut failures: Vec<String> =
            outcome.failures.iter().map(|failed| failed.failure.to_string()).collect();
        failures.sort();
        failures.dedup();
        failures.extend(outcome.broken.clone());
        let happened = match failures.first() {
            Some(failure) => failure.chars().take(400).collect(),
            None => format!("it was done: {}", outcome.state.get("result")),
        };
        Err(format!("expected {:?}, but: {happened}", self.expected))
    }
}

impl Ending {
    fn parse(name: &str, text: &str) -> Self {
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        match kind {
            "timeout" => Self::Timeout,
            "memory" => Self::Memory,
            "any" => Self::Any,
            "error" => Self::Error(rest.to_owned()),
            "done" => Self::Done(match rest {
                "nil" => ScriptValue::Nil,
                "true" => true.into(),
                "false" => false.into(),
                _ => match (rest.parse::<f64>(), rest.strip_prefix('"')) {
                    (Ok(number), _) => number.into(),
                    (_, Some(text)) => text.trim_end_matches('"').into(),
                    _ => panic!("{name}: {rest} is no Lua literal"),
                },
            }),
            _ => panic!("{name}: `{text}` is no way to end"),
        }
    }

    /// Whether a run failed like that.
    fn is_of(&self, failure: &Failure) -> bool {
        match self {
            Self::Timeout => matches!(failure.error, ScriptError::TimedOut { .. }),
            Self::Memory => matches!(failure.error, ScriptError::OutOfMemory { .. }),
            Self::Error(part) => failure.to_string().contains(part),
            Self::Done(_) | Self::Any => false,
        }
    }

    fn is(&self, outcome: &Outcome) -> bool {
        let failures = &outcome.failures;
        match self {
            Self::Error(part) if outcome.broken.is_some() => {
                outcome.broken.as_ref().is_some_and(|broken| broken.contains(part))
            }
            Self::Timeout | Self::Memory | Self::Error(_) => {
                !failures.is_empty() && failures.iter().all(|failed| self.is_of(&failed.failure))
            }
            Self::Done(result) => {
                outcome.broken.is_none()
                    && outcome.failures.is_empty()
                    && outcome.state.get("result") == result
            }
            Self::Any => true,
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
