//! From source text to bytecode that can be interrupted in time.

mod open_text;

use mlua::chunk::Compiler;

use self::open_text::ends_in_open_text;
use super::bytecode::{self, NoSafepoints};
use super::native_stack::with_native_stack;
use crate::error::ScriptError;

/// The largest source text that compiles, in bytes.
pub const MAX_SOURCE_SIZE: usize = 256 * 1024;

/// In front of an expression, this makes a source of it.
const EXPRESSION: &str = "return ";

/// Globals that differ from run to run: the compiler must not take their values for constants.
const PER_RUN_GLOBALS: [&str; 4] = ["entity", "_G", "time", "params"];

/// What a VM is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Single runs, none of which may notice another.
    Runs,
    /// Runs that last.
    Session,
}

impl Purpose {
    /// Built-ins that are replaced and that the compiler would call directly.
    pub(super) const fn replaced(self) -> &'static [&'static str] {
        match self {
            Self::Runs => &[],
            Self::Session => &["rawset"],
        }
    }
}

/// The largest bytecode that a script may have, in bytes: a small text can stand for much, since the
/// compiler joins constant strings.
const MAX_BYTECODE_SIZE: usize = 8 * MAX_SOURCE_SIZE;

/// Pairs of strings of one script whose hashes collide, besides as many as it has strings, which is twice what comes
/// about by chance. A VM has one table for the strings of all scripts, so that many scripts may collide together: each
/// string is compared with those of the others, which takes some nanoseconds for each.
const MAX_COLLISIONS: usize = 2_000;

const UNREADABLE: &str = "bevy_lua_pool can't read the bytecode of this version of Luau, and so can't tell whether \
                          a run of it ends in time; use the version of mlua that it was made for";

/// Compiles to code that never works for long between two safepoints.
pub(super) fn compile(purpose: Purpose, name: &str, source: &str) -> Result<Vec<u8>, ScriptError> {
    let compiler = Compiler::new()
        .set_optimization_level(1)
        .set_debug_level(1)
        .set_mutable_globals(PER_RUN_GLOBALS)
        .set_disabled_builtins(purpose.replaced().iter().copied());
    // Deeply nested source recurses deeply in the parser, and loaders run on small stacks.
    let bytecode = with_native_stack(|| compiler.compile(source))
        .map_err(|error| syntax_error(name, source, &error))?;
    let check_size = |size| {
        let limit = MAX_BYTECODE_SIZE;
        if size > limit { Err(ScriptError::TooLarge { size, limit }) } else { Ok(()) }
    };
    check_size(bytecode.len())?;
    let refused = |line, message: &str| {
        let (script, message) = (name.to_owned(), message.to_owned());
        ScriptError::Syntax { script, line, message, incomplete: false }
    };
    let strings = bytecode::strings(&bytecode).ok_or_else(|| refused(1, UNREADABLE))?;
    if bytecode::collisions(&strings) > MAX_COLLISIONS + strings.len() {
        return Err(refused(1, "its strings all have the same hash: nobody can load that in time"));
    }
    let bytecode = bytecode::with_safepoints(&bytecode).map_err(|error| match error {
        NoSafepoints::Unreadable => refused(1, UNREADABLE),
        NoSafepoints::TooFar(line) => refused(
            line,
            "this function is too long for Luau to be interrupted everywhere; make two of it",
        ),
    })?;
    check_size(bytecode.len())?;
    Ok(bytecode.into_owned())
}

/// Luau's parser takes a NUL byte for the end of the text, and what follows would be lost without a word.
pub(super) fn refuse_nul(name: &str, source: &str) -> Result<(), ScriptError> {
    let Some(offset) = source.find('\0') else { return Ok(()) };
    let before = &source[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let message = format!(
        "a NUL byte in column {column}, which would end the text here; remove it, write `\\0` if a text is \
         to hold it, and save the file as UTF-8"
    );
    let line = u32::try_from(line).unwrap_or(u32::MAX);
    Err(ScriptError::Syntax { script: name.to_owned(), line, message, incomplete: false })
}

/// What Luau calls a chunk: the name of a file. No NUL byte can be part of it.
pub(super) fn chunk_name(name: &str) -> String {
    format!("@{}", name.replace('\0', "\\0"))
}

/// Reads a text as an expression, or as a source if it is none, by `read`, which gets a source and how many bytes it
/// may have.
///
/// If neither compiles, the error is that of the source, unless the expression merely ends too early.
pub(super) fn expression_or_source<T>(
    text: &str,
    max_size: usize,
    read: impl Fn(&str, usize) -> Result<T, ScriptError>,
) -> Result<T, ScriptError> {
    // The word in front is not the caller's.
    let longer = max_size.saturating_add(EXPRESSION.len());
    let no_expression = match read(&format!("{EXPRESSION}{text}"), longer) {
        Err(error @ (ScriptError::Syntax { .. } | ScriptError::TooLarge { .. })) => error,
        read => return read,
    };
    read(text, max_size).map_err(|error| match error {
        ScriptError::Syntax { .. } if no_expression.is_incomplete() => no_expression,
        error => error,
    })
}

/// Takes the line out of Luau's `12: message`.
fn syntax_error(name: &str, source: &str, error: &mlua::Error) -> ScriptError {
    let text = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let (line, message) = text
        .trim_start_matches(':')
        .split_once(':')
        .and_then(|(line, message)| Some((line.trim().parse().ok()?, message.trim())))
        .unwrap_or((1, text.as_str()));
    let incomplete = is_incomplete(message, source);
    ScriptError::Syntax { script: name.to_owned(), line, message: message.to_owned(), incomplete }
}

/// Whether a source merely ends too early, of which Luau says this. It speaks of the first thing that is wrong.
fn is_incomplete(message: &str, source: &str) -> bool {
    let of_text = || {
        message.starts_with("Malformed")
            || message.ends_with("malformed string")
            || message.ends_with("unfinished comment")
    };
    message.contains("got <eof>") || of_text() && ends_in_open_text(source)
}

#[cfg(test)]
mod tests;
