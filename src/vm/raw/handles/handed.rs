//! Tables handed out for lists and maps of components, and written back.
//!
//! A list or map of a component is a table of its own for the script. The script may change it in
//! place, so before the host is asked anything, and when the run ends, the tables that changed are
//! written back.
//!
//! Two arrays are parallel: `PerRun::handed` holds where each table belongs and the value that it
//! had, and the array in the registry (slot `handed_ref`) holds the table itself, at the position
//! one higher. Every function here changes both, or none: [`push_handed`] appends to both,
//! [`drop_stale`] removes the same positions from both; and when a run ends, `PerRun` begins anew
//! and the array is cleared, by the batch or by [`forget_all`].

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
use crate::vm::raw::stack::{StackCheck, TOO_DEEP};

/// The most bytes that all tables handed out to a run may have, and that all of them may have when
/// they come back.
const MAX_HANDED: usize = 8 * 1024 * 1024;

/// Pushes the table that stands for the list or map at `field_ref`. It is the same table each time.
///
/// # Safety
///
/// In a C function that Luau called; four free slots.
pub(in crate::vm::raw) unsafe fn push_handed(
    state: *mut lua_State,
    table: ScriptTable,
    field_ref: FieldRef,
) {
    // SAFETY: in a C function, so an error may be raised; of the four slots, one is for the array,
    // one for the table, one for its copy, and `push_table` makes room for more. No reference to
    // the run exists while tables are pushed.
    unsafe {
        let known = with_run("table", |run| {
            let index = run.per_run.handed.iter().position(|(known, _)| *known == field_ref);
            Ok((index, run.handed_ref, run.per_run.handed.len()))
        });
        let (index, slot, len) = match known {
            Ok(known) => known,
            Err(error) => raise(state, error),
        };
        let check = StackCheck::begin(state);
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
                run.per_run.handed.push((field_ref, table));
                Ok(())
            });
        }
        ffi::lua_remove(state, -2);
        check.end(state, 1);
    }
}

fn handed_too_much() -> ScriptError {
    ScriptError::TooMuchInLists { limit: MAX_HANDED }
}

/// Writes back the handed tables that changed.
///
/// # Safety
///
/// In a C function that Luau called.
pub(in crate::vm::raw) unsafe fn write_back_current(
    state: *mut lua_State,
) -> Result<(), ScriptError> {
    let handed = with_run("table", |run| Ok(!run.per_run.handed.is_empty()));
    if handed == Ok(true) {
        // SAFETY: in a C function; `write_back` reaches no safepoint, so the reference to the run
        // may exist meanwhile.
        with_run("table", |run| unsafe { write_back(state, run) })?;
    }
    Ok(())
}

/// As [`write_back_current`], for a run that is at hand. Raises nothing but a stack overflow, and
/// reaches no safepoint.
///
/// # Safety
///
/// In a protected call.
pub(in crate::vm::raw) unsafe fn write_back(
    state: *mut lua_State,
    run: &mut Run<'_>,
) -> Result<(), ScriptError> {
    if run.per_run.handed.is_empty() {
        return Ok(());
    }
    // Together they may have as much as all that was handed out.
    let mut left = MAX_HANDED;
    // SAFETY: in a protected call, with room for the array and one table, which is a table because
    // `push_handed` stored it.
    unsafe {
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        let check = StackCheck::begin(state);
        ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, run.handed_ref.into());
        for index in 0..run.per_run.handed.len() {
            ffi::lua_rawgeti(state, -1, index as ffi::lua_Integer + 1);
            let mut reader = StackReader::new(left, Some(&mut *run.host), &mut run.deadline);
            let table = reader.table(state, ffi::lua_gettop(state));
            left = reader.budget;
            ffi::lua_pop(state, 1);
            let (field_ref, before) = &mut run.per_run.handed[index];
            let host = &mut *run.host;
            let result = catch_host_panic("component", || {
                let table = table.map_err(|problem| match problem.what {
                    ReadProblemKind::TooLarge => handed_too_much(),
                    _ => problem.into_error(&host.name(*field_ref), MAX_HANDED, "handed over"),
                })?;
                if table != *before {
                    host.replace(*field_ref, ScriptValue::Table(table.clone()), before.size())?;
                    *before = table;
                }
                Ok(())
            });
            run.note_panic(&result);
            if result.is_err() {
                ffi::lua_pop(state, 1);
                check.end(state, 0);
                return result;
            }
        }
        ffi::lua_pop(state, 1);
        check.end(state, 0);
    }
    Ok(())
}

/// Drops the handed tables whose value in the host differs, since it was written in another way:
/// the next read gets a new table. All others still come back.
///
/// # Safety
///
/// In a C function that Luau called.
pub(in crate::vm::raw) unsafe fn drop_stale(state: *mut lua_State) {
    let _ = with_run("table", |run| {
        let host = &mut *run.host;
        let deadline = &mut run.deadline;
        let fresh: Vec<bool> = run
            .per_run
            .handed
            .iter()
            .map(|(field_ref, before)| {
                // Too late to read anything.
                if deadline.has_passed() {
                    return true;
                }
                let now = catch_host_panic("component", || host.copy(*field_ref));
                matches!(&now, Ok(ScriptValue::Table(now)) if now == before)
            })
            .collect();
        if fresh.iter().all(|fresh| *fresh) {
            return Ok(());
        }
        // SAFETY: in a C function, with room for the array and one table. Nothing here reaches a
        // safepoint, so the reference to the run may exist meanwhile.
        unsafe {
            ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
            let check = StackCheck::begin(state);
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
            check.end(state, 0);
        }
        let mut fresh = fresh.into_iter();
        run.per_run.handed.retain(|_| fresh.next().unwrap_or(false));
        Ok(())
    });
}

/// Empties the array of handed tables after a run.
pub(in crate::vm) fn forget_all(lua: &Lua, refs: &Refs, run: &Run<'_>) {
    if run.per_run.handed.is_empty() {
        return;
    }
    let slot = refs.handed;
    // SAFETY: rule 1; an empty stack has room for the array.
    let cleared = unsafe {
        lua.exec_raw::<()>((), |state| {
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, slot.into());
            ffi::lua_cleartable(state, -1);
            ffi::lua_pop(state, 1);
        })
    };
    debug_assert!(cleared.is_ok(), "clearing a table allocates nothing");
}
