//! No table is weak.
//!
//! What a weak table holds depends on when the collector ran, and so on what other scripts left
//! behind. At each collection Luau looks for the field `__mode` in metatables. To check metatables
//! when they are set would not help: the field can be written later, under a name that the script
//! puts together. So the collector is made to look for another field, whose name nobody knows.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use mlua::Lua;
use mlua::ffi;

use super::memory::internals;
use super::stack::TOO_DEEP;

/// The name of the field that makes a table weak: random bytes, the same in each VM of this
/// process.
fn secret() -> &'static [u8] {
    static SECRET: OnceLock<Vec<u8>> = OnceLock::new();
    SECRET.get_or_init(|| {
        let random = |_| RandomState::new().hash_one(0).to_ne_bytes();
        (0..4).flat_map(random).collect()
    })
}

/// Makes `__mode` a field like any other in a VM.
///
/// # Errors
///
/// If this version of Luau keeps the name of the field elsewhere: then runs could learn of each
/// other.
pub(in crate::vm) fn forbid_weak_tables(lua: &Lua) -> mlua::Result<()> {
    let mut found = false;
    // SAFETY: rule 1. The strings on the stack live while their addresses are compared. The new one
    // lives as long as the VM, since the registry holds it, and it replaces another string that is
    // the name of a field.
    unsafe {
        lua.exec_raw::<()>((), |state| {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            // Luau's list of such names has them in this order.
            let names = [c"__newindex", c"__mode", c"__namecall"].map(|name| {
                ffi::lua_pushstring(state, name.as_ptr());
                ffi::lua_topointer(state, -1) as usize
            });
            let name = secret();
            ffi::lua_pushlstring(state, name.as_ptr().cast(), name.len());
            if let Some(place) = internals::find(state, &names) {
                ffi::lua_ref(state, -1);
                place.add(1).write(ffi::lua_topointer(state, -1) as usize);
                found = true;
            }
            ffi::lua_settop(state, 0);
        })?;
    }
    if found {
        return Ok(());
    }
    let message = "this version of Luau keeps the names of metamethods where bevy_lua_pool does not find them";
    Err(mlua::Error::RuntimeError(message.to_owned()))
}
