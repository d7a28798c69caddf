//! [`set_up`]: what a fresh VM is given.

use std::collections::HashSet;
use std::sync::Arc;

use mlua::{Lua, Table, ffi};

use super::errors::handler::on_error;
use super::functions::{
    lock_metatable, lock_shared_metatable, push_function, set_function, set_type_name,
};
use super::handles::component::{
    component_eq, component_index, component_newindex, component_tostring,
};
use super::handles::entity::{entity_index, entity_newindex, entity_tostring};
use super::handles::keys::atom_of;
use super::handles::{FIELD_REF_TAG, OWN_FIELD_TAG};
use super::image::reachable::reachable;
use super::protected::call_job;
use super::refs::{Callbacks, OwnHandles, Refs};
use super::safepoint::interrupt::on_interrupt;
use super::safepoint::set_interrupt;
use super::stack::TOO_DEEP;

/// Installs what runs need into a fresh VM; `builtins` is what scripts find besides their own
/// globals.
pub(in crate::vm) fn set_up(lua: &Lua, builtins: &Table) -> mlua::Result<Refs> {
    let mut refs = Refs {
        entity: 0,
        own_handles: OwnHandles::default(),
        environment_metatable: 0,
        message_handler: 0,
        handed: 0,
        job: 0,
        shared: Arc::default(),
        vm: Callbacks(std::ptr::null_mut()),
    };
    set_interrupt(on_interrupt);
    let slots = &mut refs;
    // SAFETY: rule 1; the stack holds `builtins` at 1, and has room for eight values more. The
    // callbacks of the VM get a function, which lives as long as the process.
    unsafe {
        lua.exec_raw::<()>(builtins, |state| {
            ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
            (*ffi::lua_callbacks(state)).useratom = Some(atom_of);
            slots.vm = Callbacks(ffi::lua_callbacks(state));

            ffi::lua_pushstring(state, c"entity".as_ptr());
            slots.entity = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            ffi::lua_createtable(state, 0, 2);
            ffi::lua_pushvalue(state, 1);
            ffi::lua_rawsetfield(state, -2, c"__index".as_ptr());
            lock_metatable(state);
            slots.environment_metatable = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            push_function(state, on_error);
            slots.message_handler = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            ffi::lua_createtable(state, 0, 0);
            slots.handed = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            push_function(state, call_job);
            slots.job = ffi::lua_ref(state, -1);
            ffi::lua_pop(state, 1);

            // All strings share one metatable, and so do all vectors. Luau leaves that of strings
            // writable.
            ffi::lua_pushlstring(state, c"".as_ptr(), 0);
            lock_shared_metatable(state);
            ffi::lua_pushvector(state, 0.0, 0.0, 0.0);
            lock_shared_metatable(state);

            // The metatable of one light userdata is that of all, and entities are the only ones.
            ffi::lua_pushlightuserdata(state, std::ptr::null_mut());
            ffi::lua_createtable(state, 0, 6);
            set_function(state, c"__index", entity_index);
            set_function(state, c"__newindex", entity_newindex);
            set_function(state, c"__tostring", entity_tostring);
            set_type_name(state, c"Entity");
            lock_metatable(state);
            ffi::lua_setmetatable(state, -2);
            ffi::lua_pop(state, 1);

            ffi::lua_createtable(state, 0, 6);
            set_function(state, c"__index", component_index);
            set_function(state, c"__newindex", component_newindex);
            set_function(state, c"__tostring", component_tostring);
            set_function(state, c"__eq", component_eq);
            set_type_name(state, c"Component");
            lock_metatable(state);
            // Scripts can't tell the two kinds of handles apart.
            ffi::lua_pushvalue(state, -1);
            ffi::lua_setuserdatametatable(state, FIELD_REF_TAG);
            ffi::lua_setuserdatametatable(state, OWN_FIELD_TAG);

            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slots.environment_metatable.into());
            let shared = reachable(
                state,
                ffi::lua_gettop(state),
                &HashSet::new(),
                &mut |_, _| true,
                &mut |_| {},
                &mut || false,
            );
            slots.shared = Arc::new(shared.expect("everything is accepted"));
            ffi::lua_pop(state, 1);
        })?;
    }
    Ok(refs)
}
