//! [`ScriptError`]: everything that can go wrong with a script, each with what to do about it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bevy::prelude::Entity;

use crate::escape::{escaped, log_text};

/// Why a script, or something that a script asked for, failed.
///
/// The text of each variant says what to do next. Where it happened (script, line, entity, call
/// stack) is in the [`Failure`] that carries it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// The script raised an error, or Luau did on its behalf.
    #[error("{message}")]
    Raised {
        /// The message without the place.
        message: String,
    },
    /// The text does not compile.
    #[error("{message}")]
    Syntax {
        /// The asset path.
        script: String,
        /// The line, counted from 1.
        line: u32,
        /// What the compiler says.
        message: String,
    },
    /// The asset is not text in UTF-8.
    #[error("not text: byte {offset} is not UTF-8; scripts are loaded as source text only")]
    NotText {
        /// The offset of the first bad byte.
        offset: usize,
    },
    /// The asset is too large.
    #[error("{size} bytes is too large for a script: at most {limit} are allowed; split it")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// The run used more CPU time than it may, or called a built-in that takes longer than it had left. If the
    /// compiling alone used it up, nothing has run; outside Bevy the source is kept compiled, so that the next call may
    /// succeed.
    #[error(
        "ran for {used:?}, longer than its limit of {limit:?}; do less in one call, or raise {}",
        place_of(.setting)
    )]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// The CPU time that it used, or the limit if it is that that it would have passed; of a call outside Bevy, what it took to compile included.
        used: Duration,
        /// The field of the configuration, or of the engine, that sets it.
        setting: &'static str,
    },
    /// The call was not over in time by the clock on the wall.
    #[error(
        "was not over within {timeout:?} by the clock on the wall; wait for less in one call, or raise \
         {}",
        place_of(.setting)
    )]
    Overdue {
        /// The limit.
        timeout: Duration,
        /// The setting of the engine, or of the pool, that sets it.
        setting: &'static str,
    },
    /// The call was ended from outside, by an [`Interrupter`](crate::engine::Interrupter).
    #[error(
        "the call was ended by its interrupter; what a pool ran changed nothing, and may be repeated"
    )]
    Cancelled,
    /// The run was ended from outside.
    #[error(
        "the pool was closed while the script ran; the run changed nothing and may be repeated"
    )]
    Interrupted,
    /// The run reached its memory limit, or that of the VM.
    #[error(
        "needed more memory than its limit of {limit} bytes, of which {used} were in use; keep less \
         at once, or raise {}",
        place_of(.setting)
    )]
    OutOfMemory {
        /// The limit in bytes.
        limit: usize,
        /// The bytes that were in use when it asked for more.
        used: usize,
        /// The field of the configuration that sets it.
        setting: &'static str,
    },
    /// An engine reached its memory limit.
    #[error(
        "needed more memory than the engine's limit of {limit} bytes, of which {held} are in use \
         still; keep less in globals, start afresh with `reset()`, or raise `memory_limit` of the \
         engine"
    )]
    EngineOutOfMemory {
        /// The limit in bytes.
        limit: usize,
        /// The bytes that it holds when all garbage is collected.
        held: usize,
    },
    /// The run produced more than it may.
    #[error("more than {limit} {what} in one run; raise {}", place_of(.setting))]
    TooMuch {
        /// What there was too much of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
        /// The field of the configuration, or of the engine, that sets it.
        setting: &'static str,
    },
    /// The lists and maps of components that a run read are larger together than they may be, or became so.
    #[error(
        "more than {limit} bytes in lists and maps of components that one run uses; let it use fewer or smaller ones"
    )]
    TooMuchInLists {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// A value can't be kept in `self`, sent, or handed to the host.
    #[error(
        "`{place}` is {what}; only nil, booleans, numbers, strings, vectors, entities and \
             tables of these can be {purpose}{}",
        instead(.what, .purpose)
    )]
    NotData {
        /// Where in the value, such as `self.items[3]`.
        place: String,
        /// What is there.
        what: String,
        /// What was to be done with it, such as `kept`.
        purpose: &'static str,
    },
    /// There is no component of this name within the scripts' reach.
    #[error("no component `{name}` is exposed to scripts{}; expose it with \
             `app.expose_component::<{name}>()`", nearest(.similar))]
    UnknownComponent {
        /// The name.
        name: String,
        /// The most similar name there is.
        similar: Option<String>,
    },
    /// A component, or a value in one, has no such field.
    #[error("`{owner}` has no field `{field}`{}", nearest(.similar))]
    UnknownField {
        /// The component and the path within it.
        owner: String,
        /// The field.
        field: String,
        /// The most similar name there is.
        similar: Option<String>,
    },
    /// A field can't hold the value.
    #[error("`{place}` takes {expected}, got {got}")]
    WrongType {
        /// The component and the path within it.
        place: String,
        /// What it takes, in Lua's terms.
        expected: String,
        /// What came.
        got: String,
    },
    /// A number that is not finite was written to a component.
    #[error(
        "`{place}` can't be {value}, which is not finite: look at what it was computed from (a division by \
         zero?), or let this script write such numbers by `allow_non_finite` in the sandbox's limits"
    )]
    NotFinite {
        /// The component and the path within it.
        place: String,
        /// What was written.
        value: String,
    },
    /// A number of the host that Lua's numbers can't hold.
    #[error("{value} can't be held exactly by a Lua number (whole numbers are exact up to 2^53)")]
    Inexact {
        /// The number.
        value: String,
    },
    /// A component that scripts may read only.
    #[error("`{name}` can be read but not written by scripts")]
    ReadOnly {
        /// The component.
        name: String,
    },
    /// The entity is gone.
    #[error("entity {entity} does not exist (any more); ask `world.exists(id)` first")]
    NoEntity {
        /// The entity.
        entity: Entity,
    },
    /// The entity lacks a component that a write needs.
    #[error("{entity} has no `{component}`; assign the whole component to insert it")]
    NoComponent {
        /// The entity.
        entity: Entity,
        /// The component.
        component: String,
    },
    /// The file level reached for the world.
    #[error(
        "`{what}` is not available while the file itself is loaded: there is no entity yet; \
             use it in a callback such as on_start(self) or on_update(self, dt)"
    )]
    FileLevel {
        /// What was reached for.
        what: String,
    },
    /// A wrong argument of a host function.
    #[error("{function}: argument {position} must be {expected}, got {got}")]
    Argument {
        /// The function.
        function: String,
        /// The position, counted from 1.
        position: usize,
        /// What was expected, in Lua's terms.
        expected: String,
        /// What came.
        got: String,
    },
    /// A host function reported an error.
    #[error("{message}")]
    Host {
        /// What it says.
        message: String,
    },
    /// A host function panicked.
    #[error(
        "the host function `{function}` panicked: {message}; this is a bug in the game, not in \
             the script"
    )]
    HostPanicked {
        /// The function.
        function: String,
        /// The panic's message.
        message: String,
    },
    /// A text that would take long to be read as a number.
    #[error(
        "a text with more than {limit} digits, or spaces, in a row, which would take long to be read as one number; \
         put something else between them, or keep them in a table or a buffer"
    )]
    LongNumeral {
        /// How many are allowed.
        limit: usize,
    },
    /// What was to be called is no function.
    #[error("`{name}` is {got}, not a function; define it before it is called")]
    NotCallable {
        /// The name, dots and all.
        name: String,
        /// What is there.
        got: String,
    },
    /// There is no coroutine of this number that could be resumed.
    #[error(
        "there is no coroutine {id} that waits: it is over, or there never was one; ask `coroutines()`"
    )]
    NoCoroutine {
        /// The number.
        id: u64,
    },
    /// A function or a value server that the host took away.
    #[error("`{name}` is gone: the host has unregistered it")]
    Unregistered {
        /// Its name.
        name: String,
    },
    /// A host function called back into the script's VM, or a handle was used where no run is.
    #[error("`{what}` can't be used here: no script is running on this thread")]
    NoRun {
        /// What was used.
        what: String,
    },
}

/// A limit that a run reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachedLimit {
    /// The field of the configuration, or of the engine, that sets it.
    pub setting: &'static str,
    /// Its value, with the unit.
    pub limit: String,
    /// What the run used when it was stopped, with the unit.
    pub used: String,
}

impl ScriptError {
    /// The limit that the run reached, if that is why it failed.
    #[must_use]
    pub fn reached_limit(&self) -> Option<ReachedLimit> {
        let bytes = |bytes: &usize| format!("{bytes} bytes");
        let (setting, limit, used) = match self {
            Self::TimedOut { limit, used, setting } => {
                (*setting, format!("{limit:?}"), format!("{used:?}"))
            }
            Self::Overdue { timeout, setting } => {
                (*setting, format!("{timeout:?}"), format!("more than {timeout:?}"))
            }
            Self::OutOfMemory { limit, used, setting } => (*setting, bytes(limit), bytes(used)),
            Self::EngineOutOfMemory { limit, held } => ("memory_limit", bytes(limit), bytes(held)),
            Self::TooMuch { what, limit, setting } => {
                (*setting, format!("{limit} {what}"), format!("more than {limit} {what}"))
            }
            _ => return None,
        };
        Some(ReachedLimit { setting, limit, used })
    }
}

/// A setting, and where it is.
fn place_of(setting: &str) -> String {
    match setting {
        "time_limit" | "output_limit" | "value_limit" => format!("`{setting}` of the engine"),
        "call_timeout" => format!("`{setting}` of the engine or the pool"),
        "max_commands" => "`max_commands` in the pool's configuration, or for this script in its \
                           `sandbox.scripts` (a spawn is one command, whatever it comes with)"
            .to_owned(),
        _ => format!("`{setting}` in the pool's configuration"),
    }
}

/// What is done with the values that a source or a function gives to the host.
pub(crate) const RETURNED: &str = "returned";

/// What to do instead of giving to the host what is no data.
fn instead(what: &str, purpose: &str) -> &'static str {
    match (purpose, what) {
        (RETURNED, "a function") => {
            "; call the function in the source, or (in an engine) define it under a name with `run` and use `call`"
        }
        (RETURNED, _) => {
            "; return what the host needs of it, or (in an engine) use `run`, which gives nothing"
        }
        _ => "",
    }
}

fn nearest(similar: &Option<String>) -> String {
    similar.as_ref().map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

/// The name among `names` that `name` was most likely meant to be.
///
/// Similarity is that of Jaro and Winkler; below 0.7 nothing is suggested.
pub(crate) fn suggest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    // Nobody misspelt that; comparing would take long.
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_lowercase();
    names
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, candidate)| candidate.to_owned())
}

/// An error and the place in the script where it happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What went wrong.
    pub error: ScriptError,
    /// The script's asset path.
    pub script: Arc<str>,
    /// The line, counted from 1, if it is known.
    pub line: Option<u32>,
    /// The Lua call stack, innermost call first, one line each; empty if there is none.
    pub traceback: String,
}

impl Failure {
    /// A failure without a place in the script.
    pub(crate) fn new(script: &Arc<str>, error: ScriptError) -> Self {
        let line = match &error {
            ScriptError::Syntax { line, .. } => Some(*line),
            _ => None,
        };
        Self { error, script: Arc::clone(script), line, traceback: String::new() }
    }
}

/// `scripts/orbit.luau:12: message`, then the call stack. Control characters of the script are shown escaped, and
/// further lines of the message are set off.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&escaped(&self.script))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", log_text(&self.error.to_string()))?;
        for line in self.traceback.lines() {
            f.write_char('\n')?;
            write!(f, "    at {}", escaped(line))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[test]
    fn a_misspelt_name_gets_the_nearest_one_suggested() {
        let names = ["translation", "rotation", "scale"];
        assert_eq!(suggest("tranlation", names.into_iter()), Some("translation".to_owned()));
        assert_eq!(suggest("Rotation", names.into_iter()), Some("rotation".to_owned()));
        assert_eq!(suggest("zzz", names.into_iter()), None);
    }
}
