//! Reads configurations written in RON.

use std::panic::catch_unwind;

use ron::extensions::Extensions;
use serde::de::DeserializeOwned;

use super::error::ConfigError;

/// Reads RON text in which `Some(…)` may be left out. Doesn't validate the values.
///
/// # Errors
///
/// [`ConfigError::Syntax`].
pub(crate) fn read_ron<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    // Some editors begin each file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let options = ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME);
    // `humantime` panics when the parts of a duration overflow in sum.
    let read = catch_unwind(|| options.from_str::<T>(text)).map_err(|_| {
        let message = "a duration is too long".to_owned();
        ConfigError::Syntax { line: 1, column: 1, message }
    })?;
    read.map_err(|error| ConfigError::Syntax {
        line: error.span.start.line,
        column: error.span.start.col,
        message: error.code.to_string(),
    })
}
