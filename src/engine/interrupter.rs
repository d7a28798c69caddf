//! [`Interrupter`]: ends calls from another thread.

use std::fmt;
use std::sync::Arc;

/// Ends the running calls of a [`LuaEngine`](super::LuaEngine) or a [`LuauPool`](super::LuauPool) from any thread. They
/// fail with [`ScriptError::Cancelled`](crate::ScriptError::Cancelled). Calls that begin later are not affected.
///
/// A host function isn't interrupted: the call ends when it returns.
#[derive(Clone)]
pub struct Interrupter(Arc<dyn Fn() + Send + Sync>);

impl Interrupter {
    pub(super) fn new(interrupt: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(interrupt))
    }

    /// Ends the running calls, if there are any.
    pub fn interrupt(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}
