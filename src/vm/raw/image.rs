//! [`Image`]: a file level that ran once and was frozen, with all that it made. It serves every run
//! of its script on this VM.
//!
//! A run on an image can't change it, and finds in it what it would find had the file level run
//! just now. Where a script could tell the difference, the run is stopped and begun again on a file
//! level of its own: see [`Touched`](super::Touched) and `errors::caught`. What freezing
//! guarantees, and why, stands in [`freeze`].

pub(super) mod freeze;
pub(super) mod make;
pub(super) mod reachable;
pub(super) mod shapes;
pub(super) mod texts;

use std::ffi::c_int;

use mlua::{Lua, ffi};

use super::image::shapes::Shapes;
use crate::vm::callback::Callback;
use crate::vm::text::Text;

/// The registry slots of an image.
#[derive(Debug)]
pub(in crate::vm) struct Image {
    /// The environment's slot.
    pub(super) environment: c_int,
    pub(super) callbacks: [c_int; Callback::COUNT],
    /// The strings that it holds.
    pub(in crate::vm) texts: Vec<Text>,
}

impl Image {
    /// Whether the script defines the callback, as a function.
    pub(in crate::vm) fn has(&self, callback: Callback) -> bool {
        self.callbacks[callback as usize] > 0
    }
}

/// In place of a registry slot: the script does not define the callback.
pub(super) const MISSING: c_int = 0;

/// In place of a registry slot: the script defines it, but it is no function.
pub(super) const WRONG: c_int = -1;

/// Frees the registry slots of an image and of the shapes that were used with it.
pub(in crate::vm) fn drop_image(lua: &Lua, image: &Image, shapes: &Shapes) {
    lua.exec_raw_lua(|raw| {
        let slots = image.callbacks.iter().copied().chain([image.environment]);
        for slot in slots.chain(shapes.slots()).filter(|slot| *slot > 0) {
            // SAFETY: freeing a slot raises nothing. The slots are those that `lua_ref` gave; 0 and
            // less are left out.
            unsafe { ffi::lua_unref(raw.state(), slot) };
        }
    });
}
