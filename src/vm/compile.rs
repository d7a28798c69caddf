//! From source text to bytecode that can be interrupted in time.

mod open_text;

use mlua::chunk::Compiler;

use self::open_text::{OpenText, open_text};
use super::bytecode::{self, NoSafepoints};
use super::native_stack::with_native_stack;
use crate::error::ScriptError;

/// The largest source text that compiles, in bytes.
pub const MAX_SOURCE_SIZE: usize = 256 * 1024;

/// Makes a source of an expression when put in front of it.
const EXPRESSION: &str = "return ";

/// Globals that differ from run to run, so that the compiler must not treat them as constants.
const PER_RUN_GLOBALS: [&str; 4] = ["entity", "_G", "time", "params"];

/// What a VM is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Single runs that must not see each other.
    Runs,
    /// A session: runs that share one environment.
    Session,
}

impl Purpose {
    /// Built-ins that are replaced and that the compiler would otherwise call directly.
    pub(super) const fn replaced(self) -> &'static [&'static str] {
        match self {
            Self::Runs => &[],
            Self::Session => &["rawset"],
        }
    }
}

/// The largest bytecode that a script may have, in bytes. A small source can compile to much, since the compiler
/// joins constant strings.
const MAX_BYTECODE_SIZE: usize = 8 * MAX_SOURCE_SIZE;

/// How many pairs of strings of one script may have colliding hashes, besides as many as it has strings, which is
/// twice what happens by chance. A VM has one table for the strings of all scripts, so those of many scripts can
/// collide with each other; each comparison takes some nanoseconds.
const MAX_COLLISIONS: usize = 2_000;

const UNREADABLE: &str = "bevy_lua_pool can't read the bytecode of this version of Luau, and so can't tell whether \
                          a run of it ends in time; use the version of mlua that it was made for";

/// Compiles to bytecode that never works for long between two safepoints.
pub(super) fn compile(purpose: Purpose, name: &str, source: &str) -> Result<Vec<u8>, ScriptError> {
    let compiler = Compiler::new()
        .set_optimization_level(1)
        .set_debug_level(1)
        .set_mutable_globals(PER_RUN_GLOBALS)
        .set_disabled_builtins(purpose.replaced().iter().copied());
    // Deeply nested source recurses deeply in the parser, and loaders run on small stacks.
    let bytecode = with_native_stack(|| compiler.compile(source))
        .map_err(|error| syntax_error(name, source, &compiler, &error))?;
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

/// Refuses NUL bytes: Luau's parser would silently end the text there.
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

/// The chunk name for Luau, which marks it as a file. It can't have a NUL byte.
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
fn syntax_error(name: &str, source: &str, compiler: &Compiler, error: &mlua::Error) -> ScriptError {
    let text = message_of(error);
    let (line, message) = text
        .trim_start_matches(':')
        .split_once(':')
        .and_then(|(line, message)| Some((line.trim().parse().ok()?, message.trim())))
        .unwrap_or((1, text.as_str()));
    let (script, message) = (name.to_owned(), message.to_owned());
    let incomplete = is_incomplete(source, compiler, &message);
    ScriptError::Syntax { script, line, message, incomplete }
}

fn message_of(error: &mlua::Error) -> String {
    match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// Whether a source merely ends too early, of which Luau says this. Its message is about the first mistake.
fn is_incomplete(source: &str, compiler: &Compiler, message: &str) -> bool {
    if message.contains("got <eof>") {
        return true;
    }
    match open_text(source) {
        Some(OpenText::Text(closing)) => {
            // With the text closed, the source is right, or at least incomplete.
            let closed = source.to_owned() + &closing;
            with_native_stack(|| compiler.compile(&closed)).map_or_else(
                |error| is_incomplete(&closed, compiler, &message_of(&error)),
                |_| true,
            )
        }
        Some(OpenText::Expression) => message.contains("Malformed interpolated string"),
        None => false,
    }
}

#[cfg(test)]
mod tests;
