//! Builds the globals that scripts find: the allowed parts of Luau's libraries and the app's API, frozen.

use mlua::{Function, IntoLua, LightUserData, Lua, LuaString, StdLib, Table, Value, Vector};

use super::api::{Api, ApiMark, NamespaceKind};
use super::host::LogLevel;
use super::libraries::{MEMBERS, defines};
use super::raw;
use crate::sandbox::Library;

/// The libraries that are opened.
pub(super) fn libraries() -> StdLib {
    StdLib::COROUTINE
        | StdLib::TABLE
        | StdLib::STRING
        | StdLib::UTF8
        | StdLib::BIT
        | StdLib::MATH
        | StdLib::BUFFER
        | StdLib::VECTOR
        | StdLib::DEBUG
}

/// Prunes the globals to the allow-list, adds the API, and freezes all of it.
pub(super) fn build(lua: &Lua, api: &Api) -> mlua::Result<Table> {
    raw::forbid_weak_tables(lua)?;
    build_all(lua, api)
}

fn build_all(lua: &Lua, api: &Api) -> mlua::Result<Table> {
    let globals = lua.globals();
    raw::set_up_servers(lua)?;
    prune(&globals, defines)?;
    for (library, members) in MEMBERS {
        prune(&globals.raw_get(library)?, |name| members.contains(&name))?;
    }
    globals.raw_get::<Table>("math")?.raw_set("random", raw::random_function(lua)?)?;
    globals.raw_set("tostring", raw::tostring_function(lua)?)?;
    raw::guard(lua, &globals)?;
    raw::bound_built_ins(lua, &globals)?;
    let string = globals.raw_get::<Table>("string")?;

    globals.raw_set("print", raw::log_function(lua, LogLevel::Info)?)?;
    let log = lua.create_table()?;
    for (name, level) in
        [("info", LogLevel::Info), ("warn", LogLevel::Warn), ("error", LogLevel::Error)]
    {
        log.raw_set(name, raw::log_function(lua, level)?)?;
    }
    globals.raw_set("log", log)?;

    // Last, since the functions above are made from parts of the libraries.
    for library in api.missing_libraries() {
        if *library == Library::String {
            // Methods of strings are looked up here.
            prune(&string, |_| false)?;
        }
        globals.raw_remove(library.name())?;
    }
    freeze(&globals)?;
    extend(lua, &globals, api, ApiMark::default())?;
    Ok(globals)
}

/// As [`build`], for sessions, which have some more functions.
pub(super) fn build_for_sessions(lua: &Lua, api: &Api, coroutines: &Table) -> mlua::Result<Table> {
    let globals = lua.globals();
    let coroutine = globals.raw_get::<Table>("coroutine")?;
    for name in [c"create", c"wrap"] {
        let key = lua.create_string(name.to_bytes())?;
        let original = coroutine.raw_get(&key)?;
        coroutine.raw_set(key, raw::recording_function(lua, (name, original), coroutines)?)?;
    }
    globals.raw_set("rawset", raw::rawset_function(lua, &globals)?)?;
    build_all(lua, api)
}

/// Adds to the frozen built-ins what the API got since `mark`. The time that it takes depends on what is added, and
/// not on what is there.
pub(super) fn extend(lua: &Lua, globals: &Table, api: &Api, mark: ApiMark) -> mlua::Result<()> {
    for (number, name) in api.functions_since(mark) {
        define(lua, globals, name, raw::host_function(lua, number, name)?)?;
    }
    for (number, name, kind) in api.namespaces_since(mark) {
        match kind {
            NamespaceKind::Server => define(lua, globals, name, raw::server(lua, number, name)?)?,
            NamespaceKind::Table => define_live_table(lua, globals, number, name)?,
        }
    }
    for (name, value) in api.constants_since(mark) {
        define(lua, globals, name, raw::plain(lua, value)?)?;
    }
    Ok(())
}

fn define(lua: &Lua, globals: &Table, name: &str, value: impl IntoLua) -> mlua::Result<()> {
    let value = value.into_lua(lua)?;
    if let Value::Table(table) = &value {
        freeze(table)?;
    }
    let (tables, last) = Thawed::for_name(lua, globals, name)?;
    tables.last().raw_set(last, value)
}

fn define_live_table(lua: &Lua, globals: &Table, number: u32, name: &str) -> mlua::Result<()> {
    let (tables, last) = Thawed::for_name(lua, globals, name)?;
    let namespace = match tables.last().raw_get(last)? {
        Value::Table(existing) => existing,
        _ => lua.create_table()?,
    };
    let metatable = lua.create_table()?;
    metatable.raw_set("__index", raw::live_namespace(lua, number, name)?)?;
    metatable.raw_set("__metatable", false)?;
    metatable.set_readonly(true);
    namespace.set_readonly(false);
    let set = namespace.set_metatable(Some(metatable));
    namespace.set_readonly(true);
    set?;
    tables.last().raw_set(last, namespace)
}

/// Tables that can be written to until this is dropped.
struct Thawed(Vec<Table>);

impl Thawed {
    /// The tables on the way to `a.b.c`, made if they are missing, and `c`, the name in the last one.
    fn for_name<'n>(lua: &Lua, globals: &Table, name: &'n str) -> mlua::Result<(Self, &'n str)> {
        globals.set_readonly(false);
        let mut thawed = Self(vec![globals.clone()]);
        let mut last = name;
        while let Some((part, rest)) = last.split_once('.') {
            let table = match thawed.last().raw_get(part)? {
                Value::Table(table) => table,
                _ => {
                    let table = lua.create_table()?;
                    thawed.last().raw_set(part, &table)?;
                    table
                }
            };
            table.set_readonly(false);
            thawed.0.push(table);
            last = rest;
        }
        Ok((thawed, last))
    }

    fn last(&self) -> &Table {
        self.0.last().expect("the globals are on every way")
    }
}

impl Drop for Thawed {
    fn drop(&mut self) {
        self.0.iter().for_each(|table| table.set_readonly(true));
    }
}

fn prune(table: &Table, keep: impl Fn(&str) -> bool) -> mlua::Result<()> {
    let mut doomed = Vec::new();
    table.for_each(|key: Value, _: Value| {
        let kept = matches!(&key, Value::String(name) if keep(&name.to_string_lossy()));
        if !kept {
            doomed.push(key);
        }
        Ok(())
    })?;
    doomed.into_iter().try_for_each(|key| table.raw_set(key, Value::Nil))
}

/// The metatables that all values of a type share.
pub(super) fn type_metatables(lua: &Lua) -> impl Iterator<Item = (&'static str, Table)> {
    let metatables = [
        ("string", lua.type_metatable::<LuaString>()),
        ("vector", lua.type_metatable::<Vector>()),
        ("function", lua.type_metatable::<Function>()),
        ("entity", lua.type_metatable::<LightUserData>()),
    ];
    metatables.into_iter().filter_map(|(name, metatable)| Some((name, metatable?)))
}

/// Makes the metatables of all types read-only, and all that they lead to: scripts may reach a library through them
/// that they don't find by its name.
pub(super) fn freeze_types(lua: &Lua) -> mlua::Result<()> {
    for (_, metatable) in type_metatables(lua) {
        // It is read-only already, but what it leads to may not be: `freeze` skips read-only tables.
        metatable.set_readonly(false);
        freeze(&metatable)?;
    }
    Ok(())
}

/// Makes a table read-only, and all tables and metatables that it leads to.
fn freeze(table: &Table) -> mlua::Result<()> {
    if table.is_readonly() {
        return Ok(());
    }
    table.set_readonly(true);
    if let Some(metatable) = table.metatable() {
        freeze(&metatable)?;
    }
    table.for_each(|_: Value, value: Value| {
        #[cfg(test)]
        tests::LOOKED_AT.set(tests::LOOKED_AT.get() + 1);
        match value {
            Value::Table(inner) => freeze(&inner),
            _ => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Entries of tables that [`freeze`] has looked at.
        pub(super) static LOOKED_AT: Cell<u64> = const { Cell::new(0) };
    }

    fn is_frozen(table: &Table) -> bool {
        let inner = table.pairs::<Value, Value>().flatten().all(|(_, value)| match value {
            // The globals hold themselves.
            Value::Table(inner) if inner != *table => is_frozen(&inner),
            _ => true,
        });
        let metatable = table.metatable().is_none_or(|metatable| is_frozen(&metatable));
        table.is_readonly() && inner && metatable
    }

    #[test]
    fn what_is_added_is_frozen_without_a_look_at_what_is_there() {
        let lua = Lua::new_with(libraries(), mlua::LuaOptions::new()).expect("there is memory");
        let mut api = Api::default();
        let globals = build(&lua, &api).expect("it is complete");
        assert!(is_frozen(&globals));
        let before = LOOKED_AT.get();
        let mut list = crate::value::ScriptTable::default();
        list.push(1.0);
        list.push(2.0);
        for number in 0..1000 {
            let mark = api.mark();
            api.add_function(&format!("game.f{number}")).expect("the name is free");
            api.add_library_function(&format!("math.f{number}")).expect("the name is free");
            api.add_constant(&format!("game.c{number}.x"), list.clone().into())
                .expect("it is free");
            extend(&lua, &globals, &api, mark).expect("there is memory");
        }
        let mark = api.mark();
        api.add_namespace("game.now").expect("the name is free");
        api.add_namespace("live").expect("the name is free");
        api.add_function("live.f").expect("the name is free");
        extend(&lua, &globals, &api, mark).expect("there is memory");
        assert_eq!(LOOKED_AT.get() - before, 2 * 1000, "those of the constants");
        assert!(is_frozen(&globals));
        let probe = "return game.c999.x[2], type(math.f0), type(game.f999), type(live.f)";
        let found: (f64, String, String, String) = lua.load(probe).eval().expect("all are there");
        let function = || "function".to_owned();
        assert_eq!(found, (2.0, function(), function(), function()));
    }
}
