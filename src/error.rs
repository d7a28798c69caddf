//! What goes wrong with scripts: one enum, whose every text says what to do next.

mod cause;
mod failure;
mod reached_limit;
mod script_error;
mod setting;
mod suggestion;

pub use self::cause::Cause;
pub use self::failure::Failure;
pub use self::reached_limit::ReachedLimit;
pub(crate) use self::script_error::RETURNED;
pub use self::script_error::ScriptError;
pub use self::setting::Setting;
pub(crate) use self::suggestion::suggest;
