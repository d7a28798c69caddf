//! What a VM and its tables weigh.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

/// The bytes of all objects in a VM, garbage included: less than it holds, for it has them in pages.
pub(in crate::vm) fn object_bytes(lua: &Lua) -> usize {
    let mut bytes = 0;
    // SAFETY: reads a number.
    lua.exec_raw_lua(|raw| bytes = unsafe { ffi::lua_totalbytes(raw.state(), -1) });
    bytes
}

/// How many entries a table has room for: in its list, and in the rest. Luau's API doesn't tell, and that a table is
/// large is no reason to go through it.
///
/// # Safety
///
/// A valid index of a table.
pub(in crate::vm::raw) unsafe fn room_of_table(
    state: *mut lua_State,
    index: c_int,
) -> (usize, usize) {
    // Where `lobject.h` has them, in bytes.
    const LOGARITHM: usize = 6;
    const MASK: usize = 7;
    const LIST: usize = 8;
    // SAFETY: the caller keeps what this function asks for. A table is an object of more bytes than that, all of which
    // were written when it was made.
    let (logarithm, mask, list) = unsafe {
        let table = ffi::lua_topointer(state, index).cast::<u8>();
        (*table.add(LOGARITHM), *table.add(MASK), table.add(LIST).cast::<u32>().read())
    };
    let rest = 1_usize.checked_shl(logarithm.into()).unwrap_or(0);
    // One byte is made of the other: if it isn't, this Luau has them elsewhere.
    let is_there = rest.wrapping_sub(1) as u8 == mask;
    if is_there { (list as usize, rest) } else { (0, 0) }
}
