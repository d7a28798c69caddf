//! Call stacks.
//!
//! # Safety
//!
//! The functions here ask for a state that is alive, and nothing else: `lua_getinfo` with the
//! letters used here fills the record that it gets, allocates nothing and raises nothing. The
//! strings that it gives live while the function of that level does.

use std::ffi::{CStr, c_int};

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::raw::strings::{MAX_MESSAGE, short};

/// The most calls that a traceback shows.
pub(in crate::vm::raw) const MAX_FRAMES: c_int = 24;

/// The calls from a level on, the innermost first, and the first known line among them.
pub(in crate::vm::raw) unsafe fn call_stack(
    state: *mut lua_State,
    level: c_int,
) -> (Option<u32>, String) {
    let mut first = None;
    let mut text = String::new();
    for level in level..=MAX_FRAMES {
        // SAFETY: the state is alive.
        let Some((place, name, line)) = (unsafe { frame_at(state, level) }) else {
            break;
        };
        if let Some(line) = line {
            first.get_or_insert(line);
            text.push_str(&format!("{place}:{line}"));
        } else if name.is_empty() || name == "error" {
            // The protected call at the bottom, or `error`, which only raised the error.
            continue;
        } else {
            text.push_str("[host]");
        }
        if !name.is_empty() {
            text.push_str(&format!(" in {}", short(&name)));
        }
        text.push('\n');
        if text.len() > 2 * MAX_MESSAGE {
            break;
        }
    }
    text.truncate(text.trim_end().len());
    (first, text)
}

/// Script, function name and line at a level of the call stack. Level 0 is the running function.
pub(in crate::vm::raw) unsafe fn frame_at(
    state: *mut lua_State,
    level: c_int,
) -> Option<(String, String, Option<u32>)> {
    // SAFETY: the state is alive; the record is plain data, and its strings are copied at once.
    unsafe {
        let mut record: ffi::lua_Debug = std::mem::zeroed();
        if ffi::lua_getinfo(state, level, c"sln".as_ptr(), &raw mut record) == 0 {
            return None;
        }
        let text = |text: *const std::ffi::c_char| {
            if text.is_null() {
                String::new()
            } else {
                CStr::from_ptr(text).to_string_lossy().into_owned()
            }
        };
        let line = u32::try_from(record.currentline).ok().filter(|line| *line > 0);
        Some((text(record.short_src), text(record.name), line))
    }
}

/// The line at which the Lua function is that called this C function.
pub(in crate::vm::raw) unsafe fn caller_line(state: *mut lua_State) -> Option<u32> {
    // SAFETY: the state is alive.
    unsafe { frame_at(state, 1) }.and_then(|(_, _, line)| line)
}

/// The line at which the innermost Lua function is.
pub(in crate::vm::raw) unsafe fn script_line(state: *mut lua_State) -> Option<u32> {
    (1..MAX_FRAMES).find_map(|level| {
        // SAFETY: the state is alive.
        let (_, _, line) = unsafe { frame_at(state, level) }?;
        line
    })
}
