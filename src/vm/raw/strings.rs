//! Strings on the stack: their bytes, their text, and how messages show it.

use std::borrow::Cow;
use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

/// Messages longer than this are cut, in bytes.
pub(super) const MAX_MESSAGE: usize = 2000;

/// The most bytes that a message shows of a name.
const MAX_SHOWN: usize = 80;

/// Luau's message for want of memory.
pub(super) const OUT_OF_MEMORY: &str = "not enough memory";

/// The bytes of the string at a stack index, which live as long as it is there.
///
/// # Safety
///
/// A valid index; the string stays reachable while the bytes are used.
#[inline]
pub(super) unsafe fn text_bytes<'s>(state: *mut lua_State, index: c_int) -> Option<&'s [u8]> {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let text = ffi::lua_tolstring(state, index, &raw mut length);
        Some(std::slice::from_raw_parts(text.cast::<u8>(), length))
    }
}

/// The string at a stack index, made valid UTF-8; `None` if it is none.
///
/// # Safety
///
/// A valid index.
pub(super) unsafe fn text_at(state: *mut lua_State, index: c_int) -> Option<String> {
    // SAFETY: the caller keeps what this function asks for.
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

/// A name as messages show it.
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

/// Pushes what `tostring` gives, but no address: those differ from run to run.
///
/// # Safety
///
/// Inside a protected call, with a valid positive index and two free slots.
pub(super) unsafe fn push_text(state: *mut lua_State, index: c_int) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        if may_have_address(ffi::lua_type(state, index)) {
            if ffi::luaL_getmetafield(state, index, c"__tostring".as_ptr()) == 0 {
                ffi::lua_pushstring(state, ffi::lua_typename(state, ffi::lua_type(state, index)));
                return;
            }
            ffi::lua_pop(state, 1);
        }
        // Luau's own: mlua's knows no vectors.
        ffi::luaL_tolstring_(state, index, std::ptr::null_mut());
    }
}

/// Whether Luau shows a value of this type by its address, unless it has a metamethod for that.
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
