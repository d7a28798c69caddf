//! [`ImageTexts`]: the strings that an image holds.

use std::collections::HashSet;

use mlua::ffi::lua_State;

use crate::vm::raw::strings::text_bytes;
use crate::vm::text::{Text, weigh_text};

/// The strings that an image holds, each once.
#[derive(Default)]
pub(in crate::vm::raw) struct ImageTexts {
    /// Where those are that were met: Luau has each text once.
    met: HashSet<usize>,
    pub(in crate::vm::raw) list: Vec<Text>,
}

impl ImageTexts {
    /// Adds the string on top, in time that does not depend on its length if it was met before.
    ///
    /// # Safety
    ///
    /// Inside a protected call.
    pub(in crate::vm::raw) unsafe fn add(&mut self, state: *mut lua_State) {
        // SAFETY: the caller keeps what this function asks for; the bytes are not used any longer than that.
        let Some(text) = (unsafe { text_bytes(state, -1) }) else { return };
        if self.met.insert(text.as_ptr() as usize) {
            self.list.push(weigh_text(text));
        }
    }
}
