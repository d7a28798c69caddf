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
    expected: Ending,
}

/// How an attack must end. Each is shown by something that only a run, or the loader, leaves behind, so that a
/// script that never ran ends in no way at all.
#[derive(Clone, Debug, PartialEq)]
enum Ending {
    /// `timeout`: runs failed, each by its limit on time.
    Timeout,
    /// `memory`: runs failed, each by the limit on memory.
    Memory,
    /// `time`: like `timeout`, or a built-in was refused that takes longer than the limit. Which of them depends on
    /// the limit, and so on whether the build is optimised.
    Time,
    /// `limit`: like `time` or `memory`. Which of them depends on the speed of the machine.
    Limit,
    /// `error <part>`: runs failed, each with this in its message. The place and the call stack don't count.
    Error(String),
    /// `error "<message>"`: runs failed, each with this message and no more.
    Message(String),
    /// `unloadable <part>`: it was not loaded, with this in the message, and nothing ran.
    Unloadable(String),
    /// `done <literal>`: no run failed, and the script set `self.result` to this, or emitted it as `result`.
    Done(ScriptValue),
}

/// What an attack came to.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Why it did not load.
    pub(crate) broken: Option<String>,
    /// The failures of the script, on whatever entity.
    pub(crate) failures: Vec<ScriptFailed>,
    /// The runs of the script that were counted, on whatever entity.
    pub(crate) runs: u64,
    /// Its `self.result` at the end, or else what it emitted as `result`.
    pub(crate) result: ScriptValue,
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

    /// A script that does nothing but run.
    pub(crate) fn harmless() -> Self {
        let source = "-- tries: nothing\n-- expect: done \"nothing\"\n\n\
                      function on_update(self) self.result = \"nothing\" end";
        Self::new("nothing", source).expect("its head is well-formed")
    }

    /// An attack of this text.
    pub(crate) fn new(name: &str, source: &str) -> Result<Self, String> {
        let field = |field: &str| {
            let prefix = format!("-- {field}: ");
            let mut lines = source.lines().take_while(|line| line.starts_with("--"));
            let value = lines.find_map(|line| line.strip_prefix(&prefix)).map(str::trim);
            value.ok_or_else(|| format!("`-- {field}:` is missing"))
        };
        field("tries")?;
        let expected = Ending::parse(field("expect")?)?;
        Ok(Self { name: name.to_owned(), source: source.to_owned(), probe: None, expected })
    }

    fn read(path: &Path) -> Self {
        let text = |path: &Path| std::fs::read_to_string(path).expect("it is text");
        let group = path.parent().map_or_else(String::new, stem);
        let name = format!("{group}/{}", stem(path));
        let attack = Self::new(&name, &text(path)).unwrap_or_else(|why| panic!("{name}: {why}"));
        let probe = path.with_file_name(format!("{}_probe.luau", stem(path)));
        Self { probe: probe.exists().then(|| text(&probe)), ..attack }
    }

    /// Asserts that it ended as expected.
    pub(crate) fn judge(&self, outcome: &Outcome) -> Result<(), String> {
        if self.expected.is(outcome) {
            return Ok(());
        }
        let other = outcome.failures.iter().find(|failed| !self.expected.is_of(&failed.failure));
        let failure = other.or(outcome.failures.first()).map(|failed| failed.failure.to_string());
        let happened = match (outcome.broken.as_ref(), failure) {
            (Some(broken), _) => format!("it was not loaded: {broken}"),
            (None, Some(failure)) => failure,
            (None, None) if outcome.runs == 0 => "it never ran".to_owned(),
            (None, None) => format!("it was done: {}", outcome.result),
        };
        let happened: String = happened.chars().take(400).collect();
        Err(format!("expected {:?}, but: {happened}", self.expected))
    }
}

impl Ending {
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains(" | ") {
            return Err(format!("`{text}` is more than one ending"));
        }
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let part = || {
            // What is in every message says nothing.
            let says_nothing = rest.len() < 3 || "attack.luau:".contains(rest);
            if says_nothing {
                return Err(format!("`{text}` is not a part of one message alone"));
            }
            Ok(rest.to_owned())
        };
        Ok(match (kind, rest) {
            ("timeout", "") => Self::Timeout,
            ("memory", "") => Self::Memory,
            ("time", "") => Self::Time,
            ("limit", "") => Self::Limit,
            ("error", _) => match rest.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
                Some(message) => Self::Message(message.to_owned()),
                None => Self::Error(part()?),
            },
            ("unloadable", _) => Self::Unloadable(part()?),
            ("done", "true") => Self::Done(true.into()),
            ("done", "false") => Self::Done(false.into()),
            ("done", _) => match (rest.parse::<f64>(), rest.strip_prefix('"')) {
                (Ok(number), _) => Self::Done(number.into()),
                (_, Some(text)) => Self::Done(text.trim_end_matches('"').into()),
                // Nil is what a script leaves that never ran.
                _ => return Err(format!("`{rest}` is not a literal that a script can leave")),
            },
            _ => return Err(format!("`{text}` is not a way to end")),
        })
    }

    /// Whether a run failed like that.
    fn is_of(&self, failure: &Failure) -> bool {
        let message = || failure.error.to_string();
        match self {
            Self::Timeout => matches!(failure.error, ScriptError::TimedOut { .. }),
            Self::Memory => matches!(failure.error, ScriptError::OutOfMemory { .. }),
            Self::Time => Self::Timeout.is_of(failure) || message().contains("takes too long"),
            Self::Limit => Self::Time.is_of(failure) || Self::Memory.is_of(failure),
            Self::Error(part) => message().contains(part),
            Self::Message(whole) => message() == *whole,
            Self::Unloadable(_) | Self::Done(_) => false,
        }
    }

    fn is(&self, outcome: &Outcome) -> bool {
        let failures = &outcome.failures;
        match (self, &outcome.broken) {
            (Self::Unloadable(part), Some(broken)) => {
                broken.contains(part) && outcome.runs == 0 && failures.is_empty()
            }
            (Self::Unloadable(_), None) | (_, Some(_)) => false,
            (Self::Done(result), None) => failures.is_empty() && outcome.result == *result,
            (_, None) => {
                !failures.is_empty() && failures.iter().all(|failed| self.is_of(&failed.failure))
            }
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
