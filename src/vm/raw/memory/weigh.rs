//! What a VM and its tables take.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

/// The bytes of all objects in a VM, garbage included. The VM takes more: objects lie in pages.
pub(in crate::vm) fn object_bytes(lua: &Lua) -> usize {
    let mut bytes = 0;
    // SAFETY: reads a number.
    lua.exec_raw_lua(|raw| bytes = unsafe { ffi::lua_totalbytes(raw.state(), -1) });
    bytes
}

/// How many entries a table has room for: in its list, and in the rest. Luau's API does not tell,
/// and going through a large table would take long.
///
/// # Safety
///
/// A valid index of a table.
pub(in crate::vm::raw) unsafe fn room_of_table(
    state: *mut lua_State,
    index: c_int,
) -> (usize, usize) {
    // Offsets of the fields in `lobject.h`, in bytes.
    const LOGARITHM: usize = 6;
    const MASK: usize = 7;
    const LIST: usize = 8;
    // SAFETY: a table is at the index. It is an object of more bytes than these, all of which were
    // written when it was made.
    let (logarithm, mask, list) = unsafe {
        let table = ffi::lua_topointer(state, index).cast::<u8>();
        (*table.add(LOGARITHM), *table.add(MASK), table.add(LIST).cast::<u32>().read())
    };
    let rest = 1_usize.checked_shl(logarithm.into()).unwrap_or(0);
    // The one byte follows from the other. If it doesn't, this version of Luau has other offsets.
    let is_there = rest.wrapping_sub(1) as u8 == mask;
    if is_there { (list as usize, rest) } else { (0, 0) }
}
