//! Metamethods of components: their fields are read and written.
//!
//! Plain fields of the own entity take a short way: the host is asked by number, and answers with a
//! [`Scalar`].
//!
//! # Safety
//!
//! Luau calls the functions here as metamethods, with their operands from 1 on and free slots
//! beyond them.

use std::ffi::c_int;

use bevy::prelude::Vec3;
use mlua::ffi;
use mlua::ffi::lua_State;

use crate::value::ScriptValue;
use crate::vm::host::{ReadResult, Scalar, ScalarRead};
use crate::vm::raw::data::arguments::hand_over;
use crate::vm::raw::handles::handed::{drop_stale, write_back_current};
use crate::vm::raw::handles::keys::{atom_at, field_at};
use crate::vm::raw::handles::own::ask_about_own;
use crate::vm::raw::handles::{ComponentHandle, handle_at, own_field_at, push_own_field};
use crate::vm::raw::host::answer::{answer, answer_nothing};
use crate::vm::raw::run::current::with_host;
use crate::vm::raw::safepoint::safepoint;

/// `component.field`
pub(in crate::vm::raw) unsafe extern "C-unwind" fn component_index(state: *mut lua_State) -> c_int {
    // SAFETY: the operands are at 1 and 2.
    unsafe {
        if let Some(within) = own_field_at(state, 1)
            && let Some(name) = atom_at(state, 2)
            && let Some((reading, own)) = ask_about_own(state, |host| host.own_field(within, name))
        {
            match reading {
                ScalarRead::Scalar(Scalar::Number(value)) => ffi::lua_pushnumber(state, value),
                ScalarRead::Scalar(Scalar::Vector(Vec3 { x, y, z })) => {
                    ffi::lua_pushvector(state, x, y, z);
                }
                ScalarRead::Scalar(Scalar::Bool(value)) => {
                    ffi::lua_pushboolean(state, value.into())
                }
                ScalarRead::FieldId(field) => push_own_field(state, &*own, field),
            }
            return 1;
        }
        let result = field_at(state, 2).and_then(|field| {
            let handle = handle_at(state, 1)?;
            with_host("component", |host, _| host.field(handle.field_ref(host), field))
        });
        answer(state, result)
    }
}

/// `component.field = value`
pub(in crate::vm::raw) unsafe extern "C-unwind" fn component_newindex(
    state: *mut lua_State,
) -> c_int {
    // SAFETY: the operands are at 1, 2 and 3.
    unsafe {
        if let Some(within) = own_field_at(state, 1)
            && let Some(name) = atom_at(state, 2)
            && let Some(value) = scalar_at(state, 3)
            && ask_about_own(state, |host| host.set_own_field(within, name, value).then_some(()))
                .is_some()
        {
            return 0;
        }
        let result = field_at(state, 2).and_then(|field| {
            let handle = handle_at(state, 1)?;
            write_back_current(state)?;
            let value = hand_over(state, 3, "component")?;
            with_host("component", |host, _| host.set_field(handle.field_ref(host), field, value))?;
            drop_stale(state);
            Ok(())
        });
        answer_nothing(state, result)
    }
}

pub(in crate::vm::raw) unsafe extern "C-unwind" fn component_tostring(
    state: *mut lua_State,
) -> c_int {
    // SAFETY: the operand is at 1.
    unsafe {
        let result = handle_at(state, 1).and_then(|handle| {
            with_host("tostring", |host, _| {
                let field_ref = handle.field_ref(host);
                let name = host.name(field_ref);
                Ok(ReadResult::Value(ScriptValue::String(format!(
                    "{name} {}",
                    host.copy(field_ref)?
                ))))
            })
        });
        answer(state, result)
    }
}

pub(in crate::vm::raw) unsafe extern "C-unwind" fn component_eq(state: *mut lua_State) -> c_int {
    // SAFETY: the operands are at 1 and 2; a slot is free.
    unsafe {
        safepoint(state);
        let equal = match (handle_at(state, 1), handle_at(state, 2)) {
            (Ok(ComponentHandle::Own(a)), Ok(ComponentHandle::Own(b))) => a == b,
            (Ok(a), Ok(b)) => {
                with_host("component", |host, _| Ok(a.field_ref(host) == b.field_ref(host)))
                    .unwrap_or(false)
            }
            _ => false,
        };
        ffi::lua_pushboolean(state, equal.into());
        1
    }
}

/// The value at a stack index, if it needs no memory.
///
/// # Safety
///
/// A valid index.
#[inline]
unsafe fn scalar_at(state: *mut lua_State, index: c_int) -> Option<Scalar> {
    // SAFETY: the index is valid; a vector has three components.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TNUMBER => Some(Scalar::Number(ffi::lua_tonumber(state, index))),
            ffi::LUA_TBOOLEAN => Some(Scalar::Bool(ffi::lua_toboolean(state, index) != 0)),
            ffi::LUA_TVECTOR => {
                let vector = ffi::lua_tovector(state, index);
                Some(Scalar::Vector(Vec3::new(*vector, *vector.add(1), *vector.add(2))))
            }
            _ => None,
        }
    }
}
