//! [`Interrupter`]: a way to end calls from outside.

use std::fmt;
use std::sync::Arc;

/// Ends calls of a [`LuaEngine`](super::LuaEngine) or a [`LuauPool`](super::LuauPool) from any thread: those that
/// are under way, and none that begins later. They fail with
/// [`ScriptError::Cancelled`](crate::ScriptError::Cancelled).
///
/// A host function isn't interrupted: the call ends when it returns.
#[derive(Clone)]
pub struct Interrupter(Arc<dyn Fn() + Send + Sync>);

impl Interrupter {
    pub(super) fn new(interrupt: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(interrupt))
    }

    /// Ends the calls that are under way. If there are none, nothing happens.
    pub fn interrupt(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Interrupter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupter").finish_non_exhaustive()
    }
}
