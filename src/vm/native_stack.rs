//! Room on the native stack for Luau.

/// Native stack that Luau may need, in bytes: its C calls nest up to 200 deep.
pub(crate) const NATIVE_STACK: usize = 8 * 1024 * 1024;

/// Calls `body` with enough native stack for Luau.
pub(super) fn with_native_stack<R>(body: impl FnOnce() -> R) -> R {
    stacker::maybe_grow(NATIVE_STACK / 2, NATIVE_STACK, body)
}
