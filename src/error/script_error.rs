//! [`ScriptError`]: everything that can go wrong with a script, each with what to do about it.

use std::time::Duration;

use bevy::prelude::Entity;

use super::cause::Cause;
use super::setting::Setting;

/// Why a script, or something that a script asked for, failed.
///
/// The text of each variant says what to do next. Where it happened (script, line, entity, call
/// stack) is in the [`Failure`](super::Failure) that carries it.
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
        /// Whether the text is right as far as it goes, and merely ends too early. See
        /// [`ScriptError::is_incomplete`].
        incomplete: bool,
    },
    /// The asset can't be read.
    #[error("can't be read: {source}")]
    Unreadable {
        /// Why.
        source: Cause,
    },
    /// Luau, or the system, failed at something that no script is to blame for.
    #[error("{what}: {source}")]
    Vm {
        /// What failed.
        what: &'static str,
        /// Why.
        source: Cause,
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
    /// The run used more CPU time than it may, or called a built-in that takes longer than it had left.
    ///
    /// Outside Bevy the time to compile counts too. If that alone used it up, nothing has run; the source is kept
    /// compiled, so the next call may succeed.
    #[error(
        "ran for {used:?}, longer than its limit of {limit:?}; do less in one call, or raise {setting}"
    )]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// The CPU time that it used, at least the limit. Of a call outside Bevy, the time to compile counts too.
        used: Duration,
        /// The setting that sets it.
        setting: Setting,
    },
    /// The call was not over in time by the clock on the wall.
    #[error(
        "was not over within {timeout:?} by the clock on the wall; wait for less in one call, or raise \
         {setting}"
    )]
    Overdue {
        /// The limit.
        timeout: Duration,
        /// The setting that sets it.
        setting: Setting,
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
         at once, or raise {setting}"
    )]
    OutOfMemory {
        /// The limit in bytes.
        limit: usize,
        /// The bytes that were in use when it asked for more.
        used: usize,
        /// The setting that sets it.
        setting: Setting,
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
    #[error("more than {limit} {what} in one run; raise {setting}")]
    TooMuch {
        /// What there was too much of.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
        /// The setting that sets it.
        setting: Setting,
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

impl ScriptError {
    /// Whether a text is right as far as it goes, and merely ends too early: a console should ask for the next line
    /// and try again with both, joined by a line end. Nothing has run.
    ///
    /// ```
    /// use bevy_lua_pool::LuaEngine;
    ///
    /// let mut engine = LuaEngine::new()?;
    /// let mut incomplete = |text| match engine.evaluate(text) {
    ///     Ok(_) => false,
    ///     Err(failure) => failure.error.is_incomplete(),
    /// };
    /// assert!(incomplete("for i = 1, 3 do"));
    /// assert!(!incomplete("for i = 1, 3 do\nend"));
    /// assert!(!incomplete("for i = 1, 3 end"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        matches!(self, Self::Syntax { incomplete: true, .. })
    }

    /// That of Luau, or of the system, while `what` was done.
    pub(crate) fn vm(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Vm { what, source: Cause::new(source) }
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
