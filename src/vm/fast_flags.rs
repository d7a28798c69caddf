//! Fixes of Luau that mlua leaves off.

use std::sync::Once;

use mlua::Lua;

/// Turns on the fixes that stock mlua leaves off, once per process and before any VM or compiler.
pub(super) fn set_fast_flags() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for flag in ["LuauTableArrayAdjustCheck", "LuauTableRobustOom", "LuauTableMoveTimeoutFix"] {
            // An error only means that this Luau no longer has the flag: the fix is always on.
            let _ = Lua::set_fflag(flag, true);
        }
    });
}
