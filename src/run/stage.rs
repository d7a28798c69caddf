//! The two schedules in which scripts run.

use crate::vm::Callback;

/// Which of the two schedules a stage belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    Update,
    FixedUpdate,
}

impl Stage {
    /// The callback that scripts run in it every time.
    pub(crate) fn callback(self) -> Callback {
        match self {
            Self::Update => Callback::Update,
            Self::FixedUpdate => Callback::FixedUpdate,
        }
    }
}
