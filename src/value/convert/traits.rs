//! [`FromScript`] and [`IntoScript`]: the conversion of one value.

use crate::error::ScriptError;
use crate::value::types::ScriptValue;

/// A Rust type that a script can pass to the host.
pub trait FromScript: Sized {
    /// What a script has to pass, in Lua's terms, for errors: `number`, `whole number from 0 to 255`.
    fn expected() -> String;

    /// What to say instead of [`expected`](FromScript::expected) if this value came, which can't be converted.
    #[doc(hidden)]
    fn expected_instead_of(_: &ScriptValue) -> String {
        Self::expected()
    }

    /// Converts the value.
    ///
    /// # Errors
    /// Returns the value if it can't be converted.
    fn from_script(value: ScriptValue) -> Result<Self, ScriptValue>;
}

/// A Rust type that the host can pass to a script.
pub trait IntoScript {
    /// Converts the value.
    ///
    /// # Errors
    /// [`ScriptError::Inexact`] if Lua can't hold it without loss.
    fn into_script(self) -> Result<ScriptValue, ScriptError>;
}
