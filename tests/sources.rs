//! Sources, from wherever they come: all of a text runs, or none of it.

mod common;

use bevy_lua_pool::engine::ExecuteError;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::vm::Program;
use bevy_lua_pool::{Failure, LuaEngine, LuauPool, ScriptError};
use common::{Lab, keep_log, log, patient};

/// Sources with a NUL byte, and its line and column.
const WITH_NUL: [(&str, u32, u32); 8] = [
    ("return 1\0 + 1", 1, 9),
    ("\0", 1, 1),
    ("local a = 1\nlocal b = 2\n\0\nreturn a", 3, 1),
    ("return 'a\0b'", 1, 10),
    ("return [[a\0b]]", 1, 11),
    ("-- a comment \0 and more\nreturn 2", 1, 14),
    ("-- é\n-- ü \0\nreturn 1", 2, 6),
    ("function on_update(self) end\0", 1, 29),
];

/// That an error names the place and the remedy.
#[track_caller]
fn assert_refused(source: &str, failure: &Failure, (line, column): (u32, u32)) {
    assert_eq!(failure.line, Some(line), "{source:?}: {failure}");
    let text = failure.to_string();
    for part in ["NUL", &format!(":{line}:"), &format!("column {column}"), "remove"] {
        assert!(text.contains(part), "{part:?} is not in {text:?}, which is said of {source:?}");
    }
}

#[track_caller]
fn assert_error(source: &str, error: ScriptError, place: (u32, u32)) {
    let ScriptError::Syntax { ref script, line, .. } = error else { panic!("{error:?}") };
    let (script, line) = (script.as_str().into(), Some(line));
    let failure = Failure { script, line, error, traceback: String::new() };
    assert_refused(source, &failure, place);
}

#[test]
fn no_part_of_a_source_with_a_nul_byte_runs() {
    for (source, line, column) in WITH_NUL {
        let place = (line, column);
        let error = Program::compile("a.luau", source).map(drop).expect_err(source);
        assert_error(source, error, place);
        let error =
            Program::compile_bytes("a.luau", source.as_bytes()).map(drop).expect_err(source);
        assert_error(source, error, place);
        let error = Program::compile_expression("a.luau", source).map(drop).expect_err(source);
        assert_error(source, error, place);
        let error = LuaScript::from_source("a.luau", source).map(drop).expect_err(source);
        assert_error(source, error, place);

        let mut engine = LuaEngine::new().expect("there is memory");
        assert_refused(source, &engine.run(source).expect_err(source), place);
        assert_refused(source, &engine.run_named("n", source).expect_err(source), place);
        assert_refused(source, &engine.evaluate(source).expect_err(source), place);
        let built = LuaEngine::builder().prelude("p", source).build();
        assert!(built.expect_err(source).to_string().contains("NUL"), "{source:?}");

        let pool = LuauPool::builder().config(patient()).build().expect("it is valid");
        let failed = pool.execute(source, ScriptTable::default()).expect_err(source);
        let ExecuteError::Failed(failure) = failed else { panic!("{failed}") };
        assert_refused(source, &failure, place);
    }
}

#[test]
fn an_asset_with_a_nul_byte_is_no_script_and_a_changed_one_changes_nothing() {
    keep_log();
    let mut lab = Lab::new();
    lab.file("nul.luau", "function on_update(self) self.n = 1 end\0 more");
    lab.load("nul.luau");
    let says = "nul.luau:1: a NUL byte in column 40";
    lab.until(|_| log().contains(says));

    let entity = lab.entity("good.luau", "function on_update(self) self.n = (self.n or 0) + 1 end");
    lab.frame();
    let says = "good.luau:1: a NUL byte in column 30";
    lab.edit("good.luau", "function on_update(self) end \0");
    lab.until(|_| log().contains(says));
    let ScriptValue::Number(before) = lab.field(entity, "n") else { panic!("it never ran") };
    lab.frames(2);
    assert_eq!(lab.field(entity, "n"), (before + 2.0).into());
}

#[test]
fn a_text_may_still_hold_the_byte() {
    let mut engine = LuaEngine::new().expect("there is memory");
    let value = engine.evaluate("'a\\0b' .. '\\z\n\\u{0}' .. string.char(0)").expect("it is Lua");
    assert_eq!(value, "a\0b\0\0".into());
}

#[test]
fn a_name_with_a_nul_byte_names_what_it_names() {
    let mut engine = LuaEngine::new().expect("there is memory");
    let failure = engine.run_named("a\0b", "error('here')").expect_err("it fails");
    assert!(failure.to_string().contains("here"), "{failure}");
    engine.run("t = {['a\\0b'] = 3}").expect("it is Lua");
    assert_eq!(engine.get("t.a\0b").expect("it is data"), 3.0.into());
    assert_eq!(engine.get("t.a").expect("it is data"), ScriptValue::Nil);

    let mut lab = Lab::new();
    let script = LuaScript::from_source("a\0b.luau", "function on_start(self) self.n = 1 end");
    let script = script.expect("it compiles");
    let script = lab.app.world_mut().resource_mut::<bevy::prelude::Assets<LuaScript>>().add(script);
    let entity = lab.app.world_mut().spawn(LuaScripts::new(script)).id();
    lab.frame();
    assert_eq!(lab.field(entity, "n"), 1.0.into());
}
