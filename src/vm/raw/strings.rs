//! Strings on the stack: their bytes, their text, and how messages show them.

use std::borrow::Cow;
use std::ffi::c_int;

use super::stack::StackCheck;
use mlua::ffi;
use mlua::ffi::lua_State;

/// Longer messages are truncated, in bytes.
pub(super) const MAX_MESSAGE: usize = 2000;

/// The most bytes of a name that a message shows.
const MAX_SHOWN: usize = 80;

/// Luau's message when memory was refused.
pub(super) const OUT_OF_MEMORY: &str = "not enough memory";

/// The bytes of the string at a stack index; `None` for any other value.
///
/// # Safety
///
/// A valid index; the string lives while the bytes are used.
#[inline]
pub(super) unsafe fn text_bytes<'s>(state: *mut lua_State, index: c_int) -> Option<&'s [u8]> {
    // SAFETY: the index is valid, and a string has so many bytes. `lua_tolstring` converts nothing,
    // since it is a string.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let text = ffi::lua_tolstring(state, index, &raw mut length);
        Some(std::slice::from_raw_parts(text.cast::<u8>(), length))
    }
}

/// The string at a stack index, truncated, as UTF-8 with replacement characters; `None` for any
/// other value.
///
/// # Safety
///
/// A valid index.
pub(super) unsafe fn text_at(state: *mut lua_State, index: c_int) -> Option<String> {
    // SAFETY: as in `text_bytes`; the bytes are copied while the string is on the stack.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let text = ffi::lua_tolstring(state, index, &raw mut length);
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length.min(2 * MAX_MESSAGE));
        let mut text = String::from_utf8_lossy(bytes).into_owned();
        cut(&mut text);
        Some(text)
    }
}

pub(super) fn cut(message: &mut String) {
    if message.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
}

/// A name, shortened for a message.
pub(super) fn short(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_SHOWN {
        return name.into();
    }
    let mut end = MAX_SHOWN;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &name[..end]).into()
}

/// Pushes what `tostring` gives, but without addresses: they differ from run to run.
///
/// # Safety
///
/// In a protected call, with a valid positive index and two free slots.
pub(super) unsafe fn push_text(state: *mut lua_State, index: c_int) {
    // SAFETY: in a protected call, as a metamethod may raise; one slot for a metamethod or the
    // type's name, one for the text.
    unsafe {
        let check = StackCheck::begin(state);
        if may_have_address(ffi::lua_type(state, index)) {
            if ffi::luaL_getmetafield(state, index, c"__tostring".as_ptr()) == 0 {
                ffi::lua_pushstring(state, ffi::lua_typename(state, ffi::lua_type(state, index)));
                check.end(state, 1);
                return;
            }
            ffi::lua_pop(state, 1);
        }
        // Luau's own function: mlua's does not know vectors.
        ffi::luaL_tolstring_(state, index, std::ptr::null_mut());
        check.end(state, 1);
    }
}

/// Whether Luau shows values of this type by their address, unless they have `__tostring`.
pub(super) fn may_have_address(kind: c_int) -> bool {
    matches!(
        kind,
        ffi::LUA_TTABLE
            | ffi::LUA_TFUNCTION
            | ffi::LUA_TTHREAD
            | ffi::LUA_TUSERDATA
            | ffi::LUA_TLIGHTUSERDATA
            | ffi::LUA_TBUFFER
    )
}
