//! [`run_alone`]: a whole source in an environment of its own.

use std::ffi::c_int;

use mlua::{Function, Lua, ffi};

use crate::value::{ScriptTable, ScriptValues};
use crate::vm::call::Results;
use crate::vm::raw::data::push::push_table;
use crate::vm::raw::errors::outcome::RunStop;
use crate::vm::raw::memory::blocks;
use crate::vm::raw::numerals;
use crate::vm::raw::protected::protected;
use crate::vm::raw::refs::Refs;
use crate::vm::raw::run::Run;
use crate::vm::raw::session::environment::push_environment;
use crate::vm::raw::session::results::returned;
use crate::vm::raw::stack::TOO_DEEP;

/// Runs a whole source in an environment of its own that holds `params`.
pub(in crate::vm) fn run_alone(
    lua: &Lua,
    refs: &Refs,
    main: &Function,
    params: &ScriptTable,
    results: Results,
    run: &mut Run<'_>,
) -> Result<ScriptValues, RunStop> {
    const MAIN: c_int = 1;
    const HANDLER: c_int = 2;
    numerals::check_table(params)?;
    protected(lua, Some(main), run, |state, run| {
        // SAFETY: `protected` gives a state in a protected call, with the main function at 1, and
        // room is made for eleven values more. `run` is referenced between calls into Lua only.
        unsafe {
            ffi::luaL_checkstack(state, 12, TOO_DEEP.as_ptr());
            ffi::lua_rawgeti(state, ffi::LUA_REGISTRYINDEX, refs.message_handler.into());
            ffi::lua_clonefunction(state, MAIN);
            push_environment(state, refs.environment_metatable);
            push_table(state, params, 0);
            ffi::lua_rawsetfield(state, -2, c"params".as_ptr());
            ffi::lua_setfenv(state, -2);
            blocks::forget_blocks();
            let status = ffi::lua_pcall(state, 0, results.count(), HANDLER);
            returned(state, status, HANDLER + 1, run)
        }
    })
}
