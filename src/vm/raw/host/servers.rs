//! Namespaces of live values: those of value servers, which nest, and those of the host.
//!
//! A server's namespace is userdata with a tag of its own, which `push_server` alone sets. It holds
//! a number and a name: plain data without a destructor, a `u32` followed by UTF-8 text to the end.
//!
//! # Safety
//!
//! Luau calls the C functions here as metamethods, with their operands from 1 on.

use std::ffi::c_int;

use mlua::ffi::lua_State;
use mlua::{Function, Lua, ffi};

use crate::error::ScriptError;
use crate::value::ScriptValue;
use crate::vm::host::{Field, Host, Live, ReadResult};
use crate::vm::raw::errors::raise;
use crate::vm::raw::functions::{
    lock_metatable, numbered, set_function, set_type_name, upvalue_number,
};
use crate::vm::raw::handles::keys::{MAX_NAME, field_at, no_field};
use crate::vm::raw::host::answer::answer;
use crate::vm::raw::run::current::with_host;
use crate::vm::raw::stack::TOO_DEEP;

/// The userdata tag of a server's namespace.
const SERVER_TAG: c_int = 8;

/// Separates the parts of a name in a namespace.
const JOINT: char = '\0';

/// Installs the metatable of servers' namespaces. It comes before [`server`].
pub(in crate::vm) fn set_up_servers(lua: &Lua) -> mlua::Result<()> {
    // SAFETY: rule 1, with room for the table, a key and a value.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            ffi::lua_createtable(state, 0, 6);
            set_function(state, c"__index", server_index);
            set_function(state, c"__newindex", server_newindex);
            set_function(state, c"__iter", server_iter);
            set_function(state, c"__tostring", server_tostring);
            set_type_name(state, c"Namespace");
            lock_metatable(state);
            ffi::lua_setuserdatametatable(state, SERVER_TAG);
        })
    }
}

/// The namespace of a value server, by its number.
pub(in crate::vm) fn server(lua: &Lua, number: u32, name: &str) -> mlua::Result<mlua::Value> {
    // SAFETY: rule 1, with room for the namespace; `set_up_servers` came before.
    unsafe {
        lua.exec_raw((), |state| {
            ffi::luaL_checkstack(state, 2, TOO_DEEP.as_ptr());
            push_server(state, number, name);
        })
    }
}

/// The `__index` of a namespace of live values of the host, by its number.
pub(in crate::vm) fn live_namespace(lua: &Lua, number: u32, name: &str) -> mlua::Result<Function> {
    numbered(lua, number, name, read_live)
}

/// Pushes a namespace.
///
/// # Safety
///
/// In a protected call; one free slot; `set_up_servers` was called.
unsafe fn push_server(state: *mut lua_State, number: u32, name: &str) {
    // SAFETY: in a protected call, with a free slot. The memory has room for the number and the
    // name.
    unsafe {
        let size = size_of::<u32>() + name.len();
        let memory = ffi::lua_newuserdatataggedwithmetatable(state, size, SERVER_TAG).cast::<u8>();
        memory.cast::<u32>().write_unaligned(number);
        memory.add(size_of::<u32>()).copy_from_nonoverlapping(name.as_ptr(), name.len());
    }
}

/// Number and name of the namespace at a stack index.
///
/// # Safety
///
/// A valid index; the value lives while the name is used.
unsafe fn server_at<'s>(
    state: *mut lua_State,
    index: c_int,
) -> Result<(u32, &'s str), ScriptError> {
    // SAFETY: the index is valid. What has the tag was written by `push_server`: a number, and a
    // name in UTF-8.
    unsafe {
        let memory = ffi::lua_touserdatatagged(state, index, SERVER_TAG).cast::<u8>();
        if memory.is_null() {
            return Err(ScriptError::Raised { message: "not a namespace".to_owned() });
        }
        let number = memory.cast::<u32>().read_unaligned();
        let length = ffi::lua_objlen(state, index) - size_of::<u32>();
        let name = std::slice::from_raw_parts(memory.add(size_of::<u32>()), length);
        Ok((number, std::str::from_utf8_unchecked(name)))
    }
}

/// The name of a field below a namespace.
fn name_below(namespace: &str, field: Field<'_>) -> Result<String, ScriptError> {
    let shown = || namespace.replace(JOINT, ".");
    let name = match field {
        Field::Name(name) => format!("{namespace}{JOINT}{name}"),
        Field::Position(position) => format!("{namespace}{JOINT}{position}"),
    };
    if name.len() > MAX_NAME || matches!(field, Field::Name(name) if name.contains(JOINT)) {
        return Err(no_field(&shown(), "a name that is too long or holds a zero byte"));
    }
    Ok(name)
}

/// The parts of a name, without the empty part in front.
fn path_of(name: &str) -> Vec<&str> {
    name.split(JOINT).skip(1).collect()
}

/// Ends a C function that read a live value; `name` is what was read, if more can lie below it.
///
/// # Safety
///
/// In a C function that Luau called.
unsafe fn answer_live(
    state: *mut lua_State,
    number: u32,
    name: &str,
    result: Result<Live, ScriptError>,
) -> c_int {
    // SAFETY: in a C function that Luau called, with room for a namespace. Only servers answer with
    // a namespace, so their metatable was set.
    unsafe {
        match result {
            Ok(Live::Value(value)) => answer(state, Ok(ReadResult::Value(value))),
            Ok(Live::Namespace) => {
                ffi::luaL_checkstack(state, 2, TOO_DEEP.as_ptr());
                push_server(state, number, name);
                1
            }
            Err(error) => raise(state, error),
        }
    }
}

/// Reads a live value of the host; the namespace's number and name are the upvalues.
unsafe extern "C-unwind" fn read_live(state: *mut lua_State) -> c_int {
    // SAFETY: `numbered` made the closure with two upvalues; the operands are at 1 and 2.
    unsafe {
        let number = upvalue_number(state);
        let result = field_at(state, 2).and_then(|field| match field {
            Field::Name(name) => with_host(name, |host, _| host.live(number, &[name])),
            Field::Position(position) => Err(no_field("namespace", &position.to_string())),
        });
        answer_live(state, number, "", result)
    }
}

/// `Namespace.name`
unsafe extern "C-unwind" fn server_index(state: *mut lua_State) -> c_int {
    // SAFETY: the operands are at 1 and 2; the namespace and the key stay there while their text is
    // used.
    unsafe {
        let found = field_at(state, 2).and_then(|field| {
            let (number, namespace) = server_at(state, 1)?;
            Ok((number, name_below(namespace, field)?))
        });
        match found {
            Ok((number, name)) => {
                let result = read_server(&name, |host, path| host.live(number, path));
                answer_live(state, number, &name, result)
            }
            Err(error) => raise(state, error),
        }
    }
}

/// Asks the host about a name.
fn read_server<R>(
    name: &str,
    read: impl FnOnce(&mut dyn Host, &[&str]) -> Result<R, ScriptError>,
) -> Result<R, ScriptError> {
    with_host(&name.replace(JOINT, "."), |host, _| read(host, &path_of(name)))
}

/// `Namespace.name = value`
unsafe extern "C-unwind" fn server_newindex(state: *mut lua_State) -> c_int {
    // SAFETY: the operands are at 1, 2 and 3.
    unsafe {
        let name = field_at(state, 2).and_then(|field| {
            let (_, namespace) = server_at(state, 1)?;
            name_below(namespace, field)
        });
        let error = match name {
            Ok(name) => ScriptError::ReadOnly { name: name.replace(JOINT, ".") },
            Err(error) => error,
        };
        raise(state, error)
    }
}

/// `for name, value in Namespace`
unsafe extern "C-unwind" fn server_iter(state: *mut lua_State) -> c_int {
    // SAFETY: the operand is at 1; there is room for the list, a name and the closure's three
    // upvalues.
    unsafe {
        let names = server_at(state, 1).and_then(|(number, name)| {
            read_server(name, |host, path| host.live_names(number, path))
        });
        let names = match names {
            Ok(names) => names,
            Err(error) => raise(state, error),
        };
        ffi::luaL_checkstack(state, 5, TOO_DEEP.as_ptr());
        ffi::lua_createtable(state, names.len() as c_int, 0);
        for (position, name) in (1..).zip(&names) {
            ffi::lua_pushlstring(state, name.as_ptr().cast(), name.len());
            ffi::lua_rawseti(state, -2, position);
        }
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushnumber(state, 0.0);
        ffi::lua_pushcclosurek(state, server_next, std::ptr::null(), 3, None);
        1
    }
}

/// The next name of a namespace, and its value. The upvalues are the names, the namespace and the
/// position.
unsafe extern "C-unwind" fn server_next(state: *mut lua_State) -> c_int {
    // SAFETY: `server_iter` made the closure with three upvalues. The position is at most one
    // beyond the number of names.
    unsafe {
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        let position = ffi::lua_tonumber(state, ffi::lua_upvalueindex(3)) + 1.0;
        ffi::lua_pushnumber(state, position);
        ffi::lua_replace(state, ffi::lua_upvalueindex(3));
        ffi::lua_rawgeti(state, ffi::lua_upvalueindex(1), position as ffi::lua_Integer);
        if ffi::lua_type(state, -1) == ffi::LUA_TNIL {
            return 1;
        }
        ffi::lua_pushvalue(state, -1);
        ffi::lua_gettable(state, ffi::lua_upvalueindex(2));
        2
    }
}

unsafe extern "C-unwind" fn server_tostring(state: *mut lua_State) -> c_int {
    // SAFETY: the operand is at 1.
    unsafe {
        let text = server_at(state, 1).map(|(_, name)| name.replace(JOINT, "."));
        answer(state, text.map(|text| ReadResult::Value(ScriptValue::String(text))))
    }
}
