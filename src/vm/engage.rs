//! [`engage`]: what a thread needs before it runs scripts.

use super::native_stack::with_native_stack;
use super::watchdog::Engaged;

/// Calls `body` with enough native stack for Luau and while the watchdog is awake.
pub(crate) fn engage<R>(body: impl FnOnce(&Engaged) -> R) -> R {
    let engaged = Engaged::new();
    with_native_stack(|| body(&engaged))
}
