//! [`ImageTexts`]: the strings that an image holds.

use std::collections::HashSet;

use mlua::ffi::lua_State;

use crate::vm::raw::strings::text_bytes;
use crate::vm::text::{Text, weigh_text};

/// The strings that an image holds, each once.
#[derive(Default)]
pub(in crate::vm::raw) struct ImageTexts {
    /// The addresses of those that were added. Luau has each text once.
    met: HashSet<usize>,
    pub(in crate::vm::raw) list: Vec<Text>,
}

impl ImageTexts {
    /// Adds the string on top. If it was added before, its length doesn't matter.
    ///
    /// # Safety
    ///
    /// A string on top.
    pub(in crate::vm::raw) unsafe fn add(&mut self, state: *mut lua_State) {
        // SAFETY: the top is a valid index; the string stays there while its bytes are used.
        let Some(text) = (unsafe { text_bytes(state, -1) }) else { return };
        if self.met.insert(text.as_ptr() as usize) {
            self.list.push(weigh_text(text));
        }
    }
}
