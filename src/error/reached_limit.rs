//! [`ReachedLimit`]: the limit that ended a run.

use super::script_error::ScriptError;
use super::setting::Setting;

/// A limit that a run reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachedLimit {
    /// The setting that sets it.
    pub setting: Setting,
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
            Self::EngineOutOfMemory { limit, held } => {
                (Setting::EngineMemoryLimit, bytes(limit), bytes(held))
            }
            Self::TooMuch { what, limit, setting } => {
                (*setting, format!("{limit} {what}"), format!("more than {limit} {what}"))
            }
            _ => return None,
        };
        Some(ReachedLimit { setting, limit, used })
    }
}
