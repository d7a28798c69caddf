//! [`reachable`]: everything that can be reached from a value.

use std::collections::HashSet;
use std::ffi::c_int;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::raw::stack::{StackCheck, TOO_DEEP};

/// A file level that keeps more objects is not worth an image.
const MAX_OBJECTS: usize = 50_000;

/// Visits every object that can be reached from the one at `root`, but for `known` ones and what is
/// reached only through them: tables, their keys, values and metatables; functions and their
/// upvalues. `accept` gets each on top of the stack, with its type. `meet_text` gets each string on
/// top of the stack, as often as it is met.
///
/// Gives the addresses of what was visited. If `accept` refuses an object, if there are too many,
/// or if it is `late`, gives the line of the function through which the last object was found, if
/// there was one.
///
/// Positions in the list of objects are no larger than [`MAX_OBJECTS`] and what one object holds,
/// so they fit a C `int`.
///
/// # Safety
///
/// In a protected call, with an object at `root`; `accept` and `meet_text` leave the stack as they
/// found it.
pub(in crate::vm::raw) unsafe fn reachable(
    state: *mut lua_State,
    root: c_int,
    known: &HashSet<usize>,
    accept: &mut dyn FnMut(*mut lua_State, c_int) -> bool,
    meet_text: &mut dyn FnMut(*mut lua_State),
    late: &mut dyn FnMut() -> bool,
) -> Result<HashSet<usize>, Option<u32>> {
    let mut seen = HashSet::new();
    // For each object, the position of the one in which it was found.
    let mut found_in = vec![0];
    // SAFETY: in a protected call, with the room that is made here. An object is in the list before
    // the next value is looked at, so none is collected. Nothing assigns to a table while its
    // entries are visited.
    unsafe {
        ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
        let check = StackCheck::begin(state);
        let base = ffi::lua_gettop(state);
        ffi::lua_createtable(state, 0, 0);
        let list = base + 1;
        // Pops the value on top; puts it into the list if it is new.
        let mut add = |seen: &mut HashSet<usize>, within: usize| {
            let kind = ffi::lua_type(state, -1);
            if kind == ffi::LUA_TSTRING {
                meet_text(state);
            }
            let object = matches!(
                kind,
                ffi::LUA_TTABLE
                    | ffi::LUA_TFUNCTION
                    | ffi::LUA_TUSERDATA
                    | ffi::LUA_TTHREAD
                    | ffi::LUA_TBUFFER
            );
            let address = ffi::lua_topointer(state, -1) as usize;
            if object && !known.contains(&address) && seen.insert(address) {
                ffi::lua_rawseti(state, list, seen.len() as ffi::lua_Integer);
                found_in.push(within);
            } else {
                ffi::lua_pop(state, 1);
            }
        };
        ffi::lua_pushvalue(state, root);
        add(&mut seen, 0);
        let mut next = 1;
        let mut refused = false;
        while next <= seen.len() && !refused {
            let current = next;
            next += 1;
            ffi::lua_rawgeti(state, list, current as ffi::lua_Integer);
            let kind = ffi::lua_type(state, -1);
            let object = ffi::lua_gettop(state);
            let accepted = seen.len() <= MAX_OBJECTS && accept(state, kind);
            debug_assert_eq!(ffi::lua_gettop(state), object);
            if !accepted || late() {
                refused = true;
                break;
            }
            match kind {
                ffi::LUA_TTABLE => {
                    if ffi::lua_getmetatable(state, object) != 0 {
                        add(&mut seen, current);
                    }
                    let mut entry = ffi::lua_rawiter(state, object, 0);
                    let mut entries = 0_u32;
                    while entry >= 0 {
                        add(&mut seen, current);
                        add(&mut seen, current);
                        entries += 1;
                        if entries.is_multiple_of(256) && late() {
                            refused = true;
                            break;
                        }
                        entry = ffi::lua_rawiter(state, object, entry);
                    }
                }
                ffi::LUA_TFUNCTION => {
                    let mut number = 1;
                    while !ffi::lua_getupvalue(state, object, number).is_null() {
                        add(&mut seen, current);
                        number += 1;
                    }
                }
                _ => {}
            }
            ffi::lua_settop(state, object - 1);
        }
        let mut holder = None;
        if refused {
            let mut number = found_in[next - 1];
            while number > 0 && holder.is_none() {
                ffi::lua_settop(state, list);
                ffi::lua_rawgeti(state, list, number as ffi::lua_Integer);
                holder = line_defined(state);
                number = found_in[number];
            }
        }
        ffi::lua_settop(state, base);
        check.end(state, 0);
        if refused { Err(holder) } else { Ok(seen) }
    }
}

/// The line where the Lua function on top is defined; `None` for any other value.
///
/// # Safety
///
/// A value on top.
unsafe fn line_defined(state: *mut lua_State) -> Option<u32> {
    // SAFETY: a value is on top. A negative level of `lua_getinfo` is a stack index, where a Lua
    // function was seen; with this letter it fills the record and raises nothing.
    unsafe {
        if ffi::lua_type(state, -1) != ffi::LUA_TFUNCTION || ffi::lua_iscfunction(state, -1) != 0 {
            return None;
        }
        let mut record: ffi::lua_Debug = std::mem::zeroed();
        ffi::lua_getinfo(state, -1, c"s".as_ptr(), &raw mut record);
        u32::try_from(record.linedefined).ok().filter(|line| *line > 0)
    }
}
