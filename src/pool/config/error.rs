//! [`ConfigError`], and the checks that make one.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::Duration;

use thiserror::Error;

pub(crate) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why a configuration can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field has a value that isn't allowed.
    #[error(
        "`{field}` is {value}: allowed is {allowed}; change it, or leave it out to have the default"
    )]
    Invalid {
        /// The name of the field.
        field: &'static str,
        /// The value it has.
        value: String,
        /// The values it may have.
        allowed: String,
    },
    /// The RON text can't be read as a configuration.
    #[error(
        "the pool configuration can't be read at line {line}, column {column}: {message}; write \
         it as `(max_size: 4, acquire_timeout: \"50ms\")`"
    )]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
        /// What is wrong there; for an unknown field, its name and the names there are.
        message: String,
    },
}

/// The error of a field with a value that isn't `allowed`.
pub(crate) fn invalid(
    field: &'static str,
    value: &dyn Debug,
    allowed: impl Into<String>,
) -> ConfigError {
    ConfigError::Invalid { field, value: format!("{value:?}"), allowed: allowed.into() }
}

/// Checks that a duration is within a range, which `allowed` spells out.
pub(crate) fn check_duration(
    field: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
    allowed: &str,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(invalid(field, &value, allowed))
}
