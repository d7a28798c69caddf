//! The Lua stack: what Luau says when there is no room on it.

use std::ffi::CStr;

/// What Luau adds to `stack overflow`.
pub(super) const TOO_DEEP: &CStr = c"too many values";
