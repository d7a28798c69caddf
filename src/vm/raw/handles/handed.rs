//! Tables that stand for lists and maps of components: handed out, and written back.

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

use crate::error::ScriptError;
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::host::FieldRef;
use crate::vm::raw::data::problem::ReadProblemKind;
use crate::vm::raw::data::push::push_table;
use crate::vm::raw::data::read::StackReader;
use crate::vm::raw::errors::raise;
use crate::vm::raw::refs::Refs;
use crate::vm::raw::run::Run;
use crate::vm::raw::run::current::{catch_host_panic, with_run};
use crate::vm::raw::stack::TOO_DEEP;

/// The most bytes that all lists and maps of components may have together that a run gets, and each one when
/// it comes back.
const MAX_HANDED: usize = 8 * 1024 * 1024;

/// Pushes the table that stands for the list or map at `place`: the same one each time.
///
/// # Safety
///
/// Inside a protected call; four free slots.
pub(in crate::vm::raw) unsafe fn push_handed(
    state: *mut lua_State,
    table: ScriptTable,
    place: FieldRef,
) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let known = with_run("table", |run| {
            let index = run.per_run.handed.iter().position(|(known, _)| *known == place);
            Ok((index, run.handed_ref, run.per_run.handed.len()))
        });
        let (index, slot, len) = match known {
            Ok(known) => known,
            Err(error) => raise(state, error),
        };
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
        if let Some(index) = index {
            ffi::lua_rawgeti(state, -1, index as ffi::lua_Integer + 1);
        } else {
            let size = table.size();
            let counted = with_run("table", |run| {
                let bytes = run.per_run.handed_bytes.saturating_add(size);
                if bytes > MAX_HANDED {
                    return Err(handed_too_much());
                }
                run.per_run.handed_bytes = bytes;
                Ok(())
            });
            if let Err(error) = counted {
                raise(state, error);
            }
            push_table(state, &table, 0);
            ffi::lua_pushvalue(state, -1);
            ffi::lua_rawseti(state, -3, len as ffi::lua_Integer + 1);
            let _ = with_run("table", |run| {
                run.per_run.handed.push((place, table));
                Ok(())
            });
        }
        ffi::lua_remove(state, -2);
    }
}

fn handed_too_much() -> ScriptError {
    ScriptError::TooMuchInLists { limit: MAX_HANDED }
}

/// Writes back the handed tables that were changed, from within a C function.
///
/// # Safety
///
/// Inside a C function that Luau called.
pub(in crate::vm::raw) unsafe fn write_back_current(
    state: *mut lua_State,
) -> Result<(), ScriptError> {
    let handed = with_run("table", |run| Ok(!run.per_run.handed.is_empty()));
    if handed == Ok(true) {
        // SAFETY: the caller keeps what this function asks for.
        with_run("table", |run| unsafe { write_back(state, run) })?;
    }
    Ok(())
}

/// # Safety
///
/// Inside a protected call. ReadResult raises nothing but a stack overflow.
pub(in crate::vm::raw) unsafe fn write_back(
    state: *mut lua_State,
    run: &mut Run<'_>,
) -> Result<(), ScriptError> {
    if run.per_run.handed.is_empty() {
        return Ok(());
    }
    // All of them together have room for as much as was handed out at most.
    let mut left = MAX_HANDED;
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, run.handed_ref.into());
        for index in 0..run.per_run.handed.len() {
            ffi::lua_rawgeti(state, -1, index as ffi::lua_Integer + 1);
            let mut reader = StackReader::new(left, Some(&mut *run.host), &mut run.deadline);
            let table = reader.table(state, ffi::lua_gettop(state));
            left = reader.budget;
            ffi::lua_pop(state, 1);
            let (place, before) = &mut run.per_run.handed[index];
            let host = &mut *run.host;
            let result = catch_host_panic("component", || {
                let table = table.map_err(|problem| match problem.what {
                    ReadProblemKind::TooLarge => handed_too_much(),
                    _ => problem.into_error(&host.name(*place), MAX_HANDED, "handed over"),
                })?;
                if table != *before {
                    host.replace(*place, ScriptValue::Table(table.clone()), before.size())?;
                    *before = table;
                }
                Ok(())
            });
            run.note_panic(&result);
            if result.is_err() {
                ffi::lua_pop(state, 1);
                return result;
            }
        }
        ffi::lua_pop(state, 1);
    }
    Ok(())
}

/// Forgets the handed tables whose place has another value since it was written in another way: the
/// next read gets a new one. All others still come back.
///
/// # Safety
///
/// Inside a C function that Luau called.
pub(in crate::vm::raw) unsafe fn drop_stale(state: *mut lua_State) {
    let _ = with_run("table", |run| {
        let host = &mut *run.host;
        let deadline = &mut run.deadline;
        let fresh: Vec<bool> = run
            .per_run
            .handed
            .iter()
            .map(|(place, before)| {
                // Nothing is read any more.
                if deadline.has_passed() {
                    return true;
                }
                let now = catch_host_panic("component", || host.copy(*place));
                matches!(&now, Ok(ScriptValue::Table(now)) if now == before)
            })
            .collect();
        if fresh.iter().all(|fresh| *fresh) {
            return Ok(());
        }
        // SAFETY: the caller keeps what this function asks for.
        unsafe {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, run.handed_ref.into());
            let mut kept = 0;
            for index in (1..).zip(&fresh).filter(|(_, fresh)| **fresh).map(|(index, _)| index) {
                kept += 1;
                ffi::lua_rawgeti(state, -1, index);
                ffi::lua_rawseti(state, -2, kept);
            }
            for index in kept + 1..=fresh.len() as ffi::lua_Integer {
                ffi::lua_pushnil(state);
                ffi::lua_rawseti(state, -2, index);
            }
            ffi::lua_pop(state, 1);
        }
        let mut fresh = fresh.into_iter();
        run.per_run.handed.retain(|_| fresh.next().unwrap_or(false));
        Ok(())
    });
}

/// Empties the array of handed tables between two runs.
pub(in crate::vm) fn forget_all(lua: &Lua, refs: &Refs, run: &Run<'_>) {
    if run.per_run.handed.is_empty() {
        return;
    }
    let slot = refs.handed;
    // SAFETY: rule 1.
    let cleared = unsafe {
        lua.exec_raw::<()>((), |state| {
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
            ffi::lua_cleartable(state, -1);
            ffi::lua_pop(state, 1);
        })
    };
    debug_assert!(cleared.is_ok(), "clearing a table allocates nothing");
}
