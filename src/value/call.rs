//! What crosses in a call: [`FromScriptArgs`] and [`IntoScriptArgs`], [`IntoScriptResults`] and [`ScriptValues`],
//! [`Variadic`] for any number of either, and tuples.

mod args;
mod results;
mod tuples;
mod variadic;

pub use self::args::{FromScriptArgs, IntoScriptArgs};
pub use self::results::{IntoScriptResults, ScriptValues};
pub use self::variadic::Variadic;
