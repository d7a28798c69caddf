//! Weak tables, which don't exist in VMs for single runs.
//!
//! What a weak table holds depends on when the collector ran, and that on other scripts. So scripts that name
//! `__mode` are refused, and so are metatables that have it. But a name can be put together while a script runs, and
//! be put into a metatable that is in use; and Luau has a short cut for calls of `setmetatable`, which looks at
//! nothing. So the collector looks for another name: one that is made by chance, and that no script can find out.
//!
//! Luau offers no way to do that. The place where it keeps the names of metamethods is looked up in the VM's state,
//! by what it holds.

use std::ffi::c_int;
use std::hash::{BuildHasher, Hasher, RandomState};

use mlua::Lua;
use mlua::ffi::{self, lua_State};

use super::TOO_DEEP;

/// Has the collector take no table for a weak one.
///
/// # Errors
/// If this Luau keeps the names of metamethods elsewhere: then scripts could notice each other.
pub(in crate::vm) fn ignore(lua: &Lua) -> mlua::Result<()> {
    // SAFETY: rule 1.
    let found: bool = unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            let found = rename_mode(state);
            ffi::lua_settop(state, 0);
            ffi::lua_pushboolean(state, found.into());
        })?
    };
    if found {
        return Ok(());
    }
    let message = "this version of Luau keeps the names of metamethods where bevy_lua_pool does not find \
                   them";
    Err(mlua::Error::RuntimeError(message.to_owned()))
}

/// # Safety
///
/// Inside a protected call, with four free slots.
unsafe fn rename_mode(state: *mut lua_State) -> bool {
    // SAFETY: the main thread and the state of the VM are one block of memory, in this order, and the callbacks lie
    // in the latter, behind the names of metamethods (`LG` and `global_State` in Luau). All of it was written when the
    // VM was made, but for gaps between fields; those are read, and are compared, as words that may be anything.
    // What holds the addresses of three names that follow each other there is the place of these names, if it is the
    // only one. The new name lives as long as the VM: the registry holds it.
    unsafe {
        let begin = ffi::lua_mainthread(state).cast::<usize>();
        let end = ffi::lua_callbacks(state).cast::<usize>();
        let Ok(words) = usize::try_from(end.offset_from(begin)) else { return false };
        let names = [c"__newindex", c"__mode", c"__namecall"].map(|name| {
            ffi::lua_pushstring(state, name.as_ptr());
            ffi::lua_topointer(state, -1) as usize
        });
        let is_at = |word: usize| (0..3).all(|n| begin.add(word + n).read_volatile() == names[n]);
        let mut places = (0..words.saturating_sub(2)).filter(|word| is_at(*word));
        let (Some(place), None) = (places.next(), places.next()) else { return false };
        let name = by_chance();
        ffi::lua_pushlstring(state, name.as_ptr().cast(), name.len());
        let address = ffi::lua_topointer(state, -1) as usize;
        let _: c_int = ffi::lua_ref(state, -1);
        begin.add(place + 1).write(address);
        true
    }
}

/// A text that nobody can guess.
fn by_chance() -> String {
    let [first, second] = [0; 2].map(|_| RandomState::new().build_hasher().finish());
    format!("{first:016x}{second:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the collector takes a key out of a table with this metatable, which nothing else holds.
    fn is_weak(lua: &Lua, mode: &str) -> bool {
        let source = "local mode = ... local t = {} t[{}] = 1
            return setmetatable(t, {[mode] = 'kv'})";
        let table: mlua::Table = lua.load(source).call(mode).expect("it is right");
        lua.gc_collect().expect("nothing is in its way");
        table.is_empty()
    }

    #[test]
    fn the_collector_takes_no_table_for_a_weak_one() {
        let lua = Lua::new();
        assert!(is_weak(&lua, "__mode"));
        ignore(&lua).expect("this Luau is known");
        assert!(!is_weak(&lua, "__mode"));
    }
}
