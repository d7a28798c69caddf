//! Call stacks.

use std::ffi::{CStr, c_int};

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::raw::strings::{MAX_MESSAGE, short};

/// Calls shown in a traceback.
pub(in crate::vm::raw) const MAX_FRAMES: c_int = 24;

/// The calls from a level on, the innermost first, and the first line among them that is known.
///
/// # Safety
///
/// `lua_getinfo` fills the record that it gets and raises no error with these letters; its
/// strings live while the functions do.
pub(in crate::vm::raw) unsafe fn call_stack(
    state: *mut lua_State,
    level: c_int,
) -> (Option<u32>, String) {
    let mut first = None;
    let mut text = String::new();
    for level in level..=MAX_FRAMES {
        // SAFETY: the caller keeps what this function asks for.
        let Some((place, name, line)) = (unsafe { frame_at(state, level) }) else {
            break;
        };
        if let Some(line) = line {
            first.get_or_insert(line);
            text.push_str(&format!("{place}:{line}"));
        } else if name.is_empty() || name == "error" {
            // The protected call at the bottom, and what only raised the error.
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

/// # Safety
///
/// As `call_stack`.
pub(in crate::vm::raw) unsafe fn frame_at(
    state: *mut lua_State,
    level: c_int,
) -> Option<(String, String, Option<u32>)> {
    // SAFETY: the caller keeps what this function asks for.
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

/// The line that the Lua function which called this C function is at.
///
/// # Safety
///
/// As `call_stack`.
pub(in crate::vm::raw) unsafe fn caller_line(state: *mut lua_State) -> Option<u32> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { frame_at(state, 1) }.and_then(|(_, _, line)| line)
}

/// The line at which the innermost function of the script is.
///
/// # Safety
///
/// As `call_stack`.
pub(in crate::vm::raw) unsafe fn script_line(state: *mut lua_State) -> Option<u32> {
    (1..MAX_FRAMES).find_map(|level| {
        // SAFETY: the caller keeps what this function asks for.
        let (_, _, line) = unsafe { frame_at(state, level) }?;
        line
    })
}
