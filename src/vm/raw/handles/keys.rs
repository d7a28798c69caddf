//! The keys by which scripts look up fields, and the atoms of strings.

use std::ffi::{CStr, c_int};

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::vm::atom::{Atom, NO_ATOM, atom_of_string};
use crate::vm::host::Field;

/// The longest name of a component or field, in bytes.
pub(in crate::vm::raw) const MAX_NAME: usize = 1024;

/// The field name or position at a stack index.
///
/// # Safety
///
/// A valid index; if it is a string, that lives while the name is used.
#[inline]
pub(in crate::vm::raw) unsafe fn field_at<'s>(
    state: *mut lua_State,
    index: c_int,
) -> Result<Field<'s>, ScriptError> {
    // SAFETY: the index is valid, and a string has so many bytes, which live as this function asks.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TSTRING => {
                let mut length = 0;
                let text = ffi::lua_tolstring(state, index, &raw mut length);
                if length > MAX_NAME {
                    return Err(no_field("entity", &format!("a name of {length} bytes")));
                }
                let bytes = std::slice::from_raw_parts(text.cast::<u8>(), length);
                std::str::from_utf8(bytes)
                    .map(Field::Name)
                    .map_err(|_| no_field("entity", "a name that is not UTF-8"))
            }
            ffi::LUA_TNUMBER => Ok(Field::Position(ffi::lua_tonumber(state, index))),
            other => {
                let kind = CStr::from_ptr(ffi::lua_typename(state, other)).to_string_lossy();
                Err(no_field("entity", &format!("a {kind}")))
            }
        }
    }
}

/// The atom of the string at a stack index; `None` if it has none, or is no string.
///
/// # Safety
///
/// A valid index.
#[inline]
pub(in crate::vm::raw) unsafe fn atom_at(state: *mut lua_State, index: c_int) -> Option<Atom> {
    let mut atom = NO_ATOM.into();
    // SAFETY: the index is valid.
    let text = unsafe { ffi::lua_tostringatom(state, index, &raw mut atom) };
    if text.is_null() { None } else { Atom::from_luau(atom) }
}

/// Luau asks once per string for its atom.
///
/// # Safety
///
/// Luau calls it, with a string and its length.
pub(in crate::vm::raw) unsafe extern "C-unwind" fn atom_of(
    _: *mut lua_State,
    text: *const std::ffi::c_char,
    length: usize,
) -> i16 {
    // SAFETY: Luau gives a string of that length.
    atom_of_string(unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) })
}

pub(in crate::vm::raw) fn no_field(owner: &str, field: &str) -> ScriptError {
    ScriptError::UnknownField { owner: owner.to_owned(), field: field.to_owned(), similar: None }
}
