//! Protected calls that let no limit be caught.
//!
//! A script may catch errors, but some must count all the same: that memory ran out, and that it tried to
//! change what is frozen only because other runs share it. So what `pcall`, `xpcall` and `coroutine.resume`
//! catch is looked at before the script gets it, and what a handler gets is too. `coroutine.wrap` catches
//! nothing, and what `coroutine.close` gives was given to who resumed the coroutine before.
//!
//! No text is trusted to say that memory ran out: see `raw/refusal.rs`.

use mlua::chunk::Compiler;
use mlua::{Function, Lua, Table};

use super::raw;

/// Written in Luau, since a function in Rust could not be yielded across.
///
/// A wrong call is an error at the place of the call, as Luau's own function words it.
const SOURCE: &str = "
local pcall, xpcall, resume, error, note = ...
local function refuse(f, ...)
    local _, message = pcall(f, ...)
    error(message, 3)
end
return function(...)
    if (...) == nil and select('#', ...) == 0 then
        refuse(pcall)
    end
    return note(pcall(...))
end, function(f, handler, ...)
    if type(handler) ~= 'function' then
        if handler == nil then
            refuse(xpcall, f)
        end
        refuse(xpcall, f, handler)
    end
    return note(xpcall(f, function(...)
        note(false, ...)
        -- What fails in a handler, Luau hides.
        local ok, result = note(pcall(handler, ...))
        if not ok then
            error(result, 0)
        end
        return result
    end, ...))
end, function(...)
    if type((...)) ~= 'thread' then
        refuse(resume, ...)
    end
    return note(resume(...))
end
";

/// Replaces the functions that catch errors, and those that tell whether a table is frozen.
pub(super) fn install(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let table: Table = globals.raw_get("table")?;
    let coroutine: Table = globals.raw_get("coroutine")?;
    let [note, is_frozen, freeze] = raw::guards(lua, table.raw_get("freeze")?)?;
    table.raw_set("isfrozen", is_frozen)?;
    table.raw_set("freeze", freeze)?;

    let originals: (Function, Function, Function) =
        (globals.raw_get("pcall")?, globals.raw_get("xpcall")?, coroutine.raw_get("resume")?);
    let (pcall, xpcall, resume) = originals;
    let error: Function = globals.raw_get("error")?;
    // Without lines, Luau puts no place in front of an error for whom this is the caller, as if it were C.
    let compiler = Compiler::new().set_debug_level(0);
    let chunk = lua.load(SOURCE).set_name("=[host]").set_compiler(compiler);
    let guarded: (Function, Function, Function) =
        chunk.call((pcall, xpcall, resume, error, note))?;
    globals.raw_set("pcall", guarded.0)?;
    globals.raw_set("xpcall", guarded.1)?;
    coroutine.raw_set("resume", guarded.2)
}
