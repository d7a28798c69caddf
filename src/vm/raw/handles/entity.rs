//! Metamethods of entities: `entity.Name`, read and written.
//!
//! # Safety
//!
//! Luau calls the functions here as metamethods, with their operands from 1 on and free slots
//! beyond them.

use std::ffi::c_int;

use mlua::ffi::lua_State;

use crate::error::ScriptError;
use crate::value::ScriptValue;
use crate::vm::host::{Field, ReadResult};
use crate::vm::raw::data::arguments::hand_over;
use crate::vm::raw::data::entity::entity_at;
use crate::vm::raw::handles::handed::{drop_stale, write_back_current};
use crate::vm::raw::handles::keys::{atom_at, field_at, no_field};
use crate::vm::raw::handles::own::ask_about_own;
use crate::vm::raw::handles::push_own_field;
use crate::vm::raw::host::answer::{answer, answer_nothing};
use crate::vm::raw::run::current::with_host;

/// `entity.Name`
pub(in crate::vm::raw) unsafe extern "C-unwind" fn entity_index(state: *mut lua_State) -> c_int {
    // SAFETY: the operands are at 1 and 2.
    unsafe {
        if push_own_component(state) {
            return 1;
        }
        let result = field_at(state, 2).and_then(|field| match field {
            Field::Name(name) => match entity_at(state, 1) {
                Some(entity) => with_host(name, |host, _| host.component(entity, name)),
                None => Err(ScriptError::FileLevel { what: format!("entity.{name}") }),
            },
            Field::Position(position) => Err(no_field("entity", &position.to_string())),
        });
        answer(state, result)
    }
}

/// `entity.Name = value`
pub(in crate::vm::raw) unsafe extern "C-unwind" fn entity_newindex(state: *mut lua_State) -> c_int {
    // SAFETY: the operands are at 1, 2 and 3.
    unsafe {
        let result = field_at(state, 2).and_then(|field| {
            let Field::Name(name) = field else {
                return Err(no_field("entity", "a position"));
            };
            let Some(entity) = entity_at(state, 1) else {
                return Err(ScriptError::FileLevel { what: format!("entity.{name}") });
            };
            write_back_current(state)?;
            let value = hand_over(state, 3, name)?;
            with_host(name, |host, _| host.set_component(entity, name, value))?;
            drop_stale(state);
            Ok(())
        });
        answer_nothing(state, result)
    }
}

pub(in crate::vm::raw) unsafe extern "C-unwind" fn entity_tostring(state: *mut lua_State) -> c_int {
    // SAFETY: the operand is at 1.
    unsafe {
        let text = match entity_at(state, 1) {
            Some(entity) => format!("Entity({entity})"),
            None => "Entity(none)".to_owned(),
        };
        answer(state, Ok(ReadResult::Value(ScriptValue::String(text))))
    }
}

/// Pushes the handle to the component of the name at 2, if the entity at 1 is the own one and its
/// component is as in the world. Gives whether it did.
///
/// # Safety
///
/// In a C function that Luau called with two arguments.
unsafe fn push_own_component(state: *mut lua_State) -> bool {
    // SAFETY: the operands are at 1 and 2, and two slots are free. The handles belong to the VM,
    // and live as long.
    unsafe {
        let Some(name) = atom_at(state, 2) else { return false };
        let entity = entity_at(state, 1);
        let field = ask_about_own(state, |host| {
            if entity == Some(host.entity()) { host.own_component(name) } else { None }
        });
        match field {
            Some((field, own)) => push_own_field(state, &*own, field),
            None => return false,
        }
        true
    }
}
