//! `LuaEngine`: everything persists until you say otherwise, and nothing gets out of hand.
#![cfg(all(feature = "data-formats", feature = "linalg"))]
#![expect(clippy::unwrap_used, reason = "what is set up here can't fail")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bevy_lua_pool::engine::CoroutineStatus;
use bevy_lua_pool::vm::{LogLevel, Served};
use bevy_lua_pool::{
    EngineError, LuaEngine, LuaPoolConfig, LuauPool, PoolConfig, ScriptError, ScriptTable,
    ScriptValue, Setting, modules,
};
use serde::Deserialize;

const MIB: usize = 1024 * 1024;

fn engine() -> LuaEngine {
    LuaEngine::new().unwrap()
}

fn number(engine: &mut LuaEngine, source: &str) -> f64 {
    match engine.evaluate(source) {
        Ok(ScriptValue::Number(number)) => number,
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn globals_functions_and_tables_persist_between_calls() {
    let mut engine = engine();
    engine.run("count = 0; items = {}; function add(x) count += 1; items[count] = x end").unwrap();
    engine.run("add('a')").unwrap();
    engine.call("add", "b").unwrap();
    assert_eq!(number(&mut engine, "count"), 2.0);
    assert_eq!(engine.evaluate("items[2]"), Ok("b".into()));
    assert_eq!(engine.evaluate("table.concat(items)"), Ok("ab".into()));
}

#[test]
fn an_expression_and_a_source_with_return_both_give_a_value() {
    let mut engine = engine();
    for source in ["1 + 1", "return 2", "local x = 1\nreturn x + 1", "1 + 1 -- a comment"] {
        assert_eq!(number(&mut engine, source), 2.0, "{source}");
    }
    assert_eq!(engine.evaluate("x = 3"), Ok(ScriptValue::Nil));
    assert_eq!(engine.evaluate(""), Ok(ScriptValue::Nil));
    assert_eq!(number(&mut engine, "x"), 3.0);
}

#[test]
fn a_value_comes_as_any_type_that_serde_knows() {
    #[derive(Deserialize, Debug, PartialEq)]
    struct Hero {
        name: String,
        level: u8,
        items: Vec<String>,
        pet: Option<String>,
    }
    let mut engine = engine();
    engine
        .run("function hero(name) return {name = name, level = 3, items = {'rope'}} end")
        .unwrap();
    let expected =
        Hero { name: "Ann".to_owned(), level: 3, items: vec!["rope".to_owned()], pet: None };
    assert_eq!(engine.call_as::<Hero>("hero", "Ann"), Ok(expected));
    assert_eq!(engine.evaluate_as::<(u8, bool)>("{1, true}"), Ok((1, true)));
    assert!(engine.evaluate_as::<u8>("256").is_err());
}

#[test]
fn functions_in_tables_and_built_ins_can_be_called() {
    let mut engine = engine();
    engine.run("game = {rules = {}} function game.rules.twice(x) return 2 * x end").unwrap();
    assert_eq!(engine.call("game.rules.twice", 4.0), Ok(8.0.into()));
    assert_eq!(engine.call("math.max", (1, 5, 3)), Ok(5.0.into()));
    let error = engine.call("game.rules.thrice", ()).unwrap_err();
    assert_eq!(
        error.error,
        ScriptError::NotCallable { name: "game.rules.thrice".into(), got: "nil".into() }
    );
    assert!(engine.call("game.nothing.here", ()).unwrap_err().to_string().contains("index nil"));
}

#[test]
fn globals_are_read_and_written_by_path() {
    let mut engine = engine();
    engine.set("player", ScriptTable::from([("health", 3.0)])).unwrap();
    engine.set("player.name", "Ann").unwrap();
    assert_eq!(engine.get("player.health"), Ok(3.0.into()));
    assert_eq!(engine.evaluate("player.name"), Ok("Ann".into()));
    assert_eq!(engine.get("nobody"), Ok(ScriptValue::Nil));
    assert!(engine.set("nobody.name", "x").is_err());
    assert!(matches!(engine.get("print").unwrap_err().error, ScriptError::NotData { .. }));
    assert!(engine.set("math.pi", 3.0).is_err(), "built-ins can't be written");
    assert!(number(&mut engine, "math.pi") > 3.1);
}

#[test]
fn an_error_names_the_script_the_line_and_the_calls() {
    let mut engine = engine();
    engine.run_named("lib.luau", "function fail()\n  error('broken')\nend").unwrap();
    let failure = engine.run_named("main.luau", "\n\nfail()").unwrap_err();
    assert_eq!(failure.error, ScriptError::Raised { message: "broken".to_owned() });
    assert_eq!((&*failure.script, failure.line), ("lib.luau", Some(2)));
    assert!(failure.traceback.contains("main.luau:3"), "{}", failure.traceback);

    let failure = engine.run_named("bad.luau", "\nlocal = 1").unwrap_err();
    assert!(matches!(failure.error, ScriptError::Syntax { line: 2, .. }), "{failure}");
    assert_eq!((&*failure.script, failure.line), ("bad.luau", Some(2)));
}

#[test]
fn what_a_failed_call_changed_stays_changed_and_the_engine_goes_on() {
    let mut engine = engine();
    engine.run("x = 1; error('no')").unwrap_err();
    assert_eq!(number(&mut engine, "x"), 1.0);
}

#[test]
fn reset_returns_it_to_the_state_after_set_up() {
    let mut engine = LuaEngine::builder()
        .seed(5)
        .function("double", |x: f64| 2.0 * x)
        .prelude("lib.luau", "base = 10; function twice(x) return double(x) end")
        .module(modules::json())
        .build()
        .unwrap();
    let first = engine.evaluate("math.random()").unwrap();
    engine
        .run("x = 1; base = 0; twice = nil; print('hello'); co = coroutine.create(print)")
        .unwrap();
    engine.run("function math2() end; math = {}; function print() end").unwrap();
    assert!(engine.evaluate("math.pi").unwrap() == ScriptValue::Nil);
    engine.reset().unwrap();
    assert_eq!(engine.evaluate("x"), Ok(ScriptValue::Nil));
    assert_eq!(number(&mut engine, "twice(base)"), 20.0);
    assert!(number(&mut engine, "math.pi") > 3.0);
    assert_eq!(engine.output().len(), 0);
    assert_eq!(engine.coroutines(), []);
    assert_eq!(engine.evaluate("json.encode({1})"), Ok("[1]".into()));
    engine.reset().unwrap();
    assert_eq!(engine.evaluate("math.random()"), Ok(first), "random numbers start again");
    assert_eq!(engine.stats().resets, 2);
}

#[test]
fn a_built_in_that_a_script_shadows_is_shadowed_for_every_script() {
    for shadow in [
        "function print() return 'mine' end",
        "_G.print = function() return 'mine' end",
        "rawset(_G, 'print', function() return 'mine' end)",
    ] {
        let mut engine = engine();
        engine.run("function before() return print() end").unwrap();
        engine.call("before", ()).unwrap();
        engine.run(shadow).unwrap();
        assert_eq!(engine.evaluate("print()"), Ok("mine".into()), "{shadow}");
        assert_eq!(engine.call("before", ()), Ok("mine".into()), "{shadow}");
        engine.run("print = nil").unwrap();
        assert_eq!(engine.call("before", ()), Ok(ScriptValue::Nil), "{shadow}");
    }
    let mut engine = engine();
    engine.set("print", ScriptTable::from([("a", 1.0)])).unwrap();
    assert_eq!(number(&mut engine, "print.a"), 1.0);
}

#[test]
fn a_time_limit_cannot_be_caught_and_does_not_spoil_the_engine() {
    let limit = Duration::from_millis(20);
    let mut engine = LuaEngine::builder().time_limit(limit).build().unwrap();
    engine.run("kept = 7").unwrap();
    for source in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "setmetatable(_G, nil); while true do end",
    ] {
        let failure = engine.run(source).unwrap_err();
        if source.starts_with("setmetatable") {
            assert!(failure.to_string().contains("protected"), "{failure}");
            continue;
        }
        let ScriptError::TimedOut { limit: told, used, setting } = failure.error else {
            panic!("{failure}");
        };
        assert_eq!((told, setting), (limit, Setting::EngineTimeLimit));
        assert!(used > limit);
        assert!(failure.to_string().contains("`time_limit` of the engine"), "{failure}");
    }
    assert_eq!(number(&mut engine, "kept"), 7.0);
    assert_eq!(engine.stats().timeouts, 3);
}

#[test]
fn out_of_memory_says_so_and_reset_makes_room() {
    let mut engine = LuaEngine::builder().memory_limit(4 * MIB).build().unwrap();
    let failure = engine.run("local t = {} for i = 1, 1e7 do t[i] = {i} end").unwrap_err();
    assert!(matches!(failure.error, ScriptError::EngineOutOfMemory { .. }), "{failure}");
    assert!(failure.to_string().contains("`memory_limit` of the engine"), "{failure}");
    assert_eq!(number(&mut engine, "1 + 1"), 2.0, "it was garbage, and is gone");

    engine.run("kept = {} for i = 1, 1e7 do kept[i] = {i} end").unwrap_err();
    assert!(engine.memory_bytes() > 2 * MIB);
    engine.reset().unwrap();
    assert!(engine.memory_bytes() < 2 * MIB, "{}", engine.memory_bytes());
    engine.run("kept = {} for i = 1, 1e3 do kept[i] = {i} end").unwrap();
}

#[test]
fn an_engine_is_out_of_memory_if_the_last_error_came_of_that() {
    let hungry = "local function hungry() return string.rep('x', 1e9) end ";
    // Each puts its place in front.
    let passed_on = "local f = hungry
        for _ = 1, 150 do local g = f f = coroutine.wrap(function() g() end) end f()";
    let passed_on = format!("{}{passed_on}", "\n".repeat(200_000));
    for (source, expected) in [
        ("hungry()", true),
        (&*passed_on, true),
        ("local _, told = pcall(hungry) error(told, 0)", true),
        ("pcall(hungry) error('something else')", false),
        ("pcall(hungry) local t = nil; t.x = 1", false),
        ("error('not enough memory', 0)", false),
    ] {
        let builder = LuaEngine::builder().memory_limit(16 * MIB);
        let mut engine = builder.time_limit(Duration::from_secs(60)).build().unwrap();
        let failure = engine.run(&format!("{hungry}{source}")).unwrap_err();
        let found = matches!(failure.error, ScriptError::EngineOutOfMemory { .. });
        assert_eq!(found, expected, "{}: {failure}", source.trim());
    }
}

#[test]
fn an_engine_may_hold_50_mib_unless_told_otherwise() {
    let mut engine = engine();
    assert_eq!(engine.stats().memory_limit, 50 * MIB);
    engine.run("text = string.rep('x', 40 * 1024 * 1024)").unwrap();
    assert!(engine.run("more = string.rep('y', 40 * 1024 * 1024)").is_err());
    let too_small = LuaEngine::builder().memory_limit(100_000).build();
    assert!(matches!(too_small, Err(EngineError::SetUp(_))));
}

#[test]
fn garbage_of_the_same_call_is_no_reason_to_run_out_of_memory() {
    let mut engine = LuaEngine::builder()
        .memory_limit(8 * MIB)
        .time_limit(Duration::from_secs(60))
        .build()
        .unwrap();
    for held in [0, 2, 4, 5, 6] {
        let more = format!(
            "kept = kept or {{}} for i = #kept + 1, {held} * 16 do kept[i] = string.rep('x', 65000) .. i end"
        );
        engine.run(&more).unwrap();
        // Twenty times as much as the engine may hold.
        engine
            .run(
                "for i = 1, 8000 do local s = string.rep('y', 20000) .. i end
                 for i = 1, 100000 do local t = {i} end",
            )
            .unwrap_or_else(|failure| panic!("{held}: {failure}"));
    }
    let failure = engine.run("local t = {} for i = 1, 1e6 do t[i] = {i} end").unwrap_err();
    assert!(failure.to_string().contains("`memory_limit` of the engine"), "{failure}");
    engine.run("for i = 1, 8000 do local s = string.rep('y', 20000) .. i end").unwrap();
}

#[test]
fn garbage_of_earlier_calls_is_no_reason_to_run_out_of_memory() {
    let mut engine = LuaEngine::builder().memory_limit(8 * MIB).build().unwrap();
    for round in 0..20 {
        engine
            .run("local t = {} for i = 1, 30 do t[i] = string.rep('x', 100000 + i) end")
            .unwrap_or_else(|failure| panic!("round {round}: {failure}"));
    }
}

#[test]
fn output_is_kept_with_its_level_until_it_is_taken() {
    let mut engine = engine();
    engine.run("print('a', 1)\nlog.warn('b')").unwrap();
    let lines: Vec<_> =
        engine.output().map(|line| (line.level, line.text.to_string(), line.line)).collect();
    let expected =
        [(LogLevel::Info, "a\t1".to_owned(), Some(1)), (LogLevel::Warn, "b".to_owned(), Some(2))];
    assert_eq!(lines, expected);
    assert_eq!(engine.take_output().len(), 2);
    assert_eq!(engine.output().len(), 0);
}

#[test]
fn a_call_that_prints_without_end_fails() {
    let mut engine = LuaEngine::builder().output_limit(1000).build().unwrap();
    let failure = engine.run("while true do print('x') end").unwrap_err();
    assert!(failure.to_string().contains("`output_limit` of the engine"), "{failure}");
    engine.run("print('y')").unwrap();
    assert_eq!(engine.take_output().last().unwrap().text.as_ref(), "y");
}

#[test]
fn a_value_that_is_too_large_to_come_out_is_an_error() {
    let mut engine = LuaEngine::builder().value_limit(1000).build().unwrap();
    let failure = engine.evaluate("string.rep('x', 2000)").unwrap_err();
    assert!(failure.to_string().contains("`value_limit` of the engine"), "{failure}");
    let failure = engine.evaluate("{1, {f = print}}").unwrap_err();
    assert!(failure.to_string().contains("result[2].f"), "{failure}");
    engine.run("return print").unwrap();
}

#[test]
fn functions_can_be_registered_and_taken_away_at_any_time() {
    let mut engine = engine();
    engine.run("function ask() return game.answer(1) end").unwrap();
    assert!(engine.call("ask", ()).is_err());
    engine.register_function("game.answer", |x: f64| x + 41.0).unwrap();
    assert_eq!(engine.call("ask", ()), Ok(42.0.into()));
    engine.run("kept = game.answer").unwrap();
    assert!(engine.unregister("game.answer"));
    assert!(!engine.unregister("game.answer"));
    for source in ["ask()", "kept(1)"] {
        let failure = engine.evaluate(source).unwrap_err();
        assert_eq!(failure.error, ScriptError::Unregistered { name: "game.answer".into() });
    }
    engine.register_function("game.answer", |x: f64| x).unwrap();
    assert_eq!(engine.evaluate("kept(1)"), Ok(1.0.into()));
    let taken = engine.register_function("game.answer", |x: f64| x);
    assert!(matches!(taken, Err(EngineError::Name(_))));
    assert!(matches!(engine.register_function("math.sin", |_: ()| 1), Err(EngineError::Name(_))));
}

#[test]
fn a_function_of_the_host_that_panics_fails_the_call_even_if_the_script_catches_it() {
    let mut engine = engine();
    engine.register_function("boom", |_: ()| -> f64 { panic!("in the host") }).unwrap();
    let failure = engine.run("caught = not pcall(boom)").unwrap_err();
    assert!(matches!(failure.error, ScriptError::HostPanicked { .. }), "{failure}");
    assert_eq!(engine.evaluate("caught"), Ok(true.into()));
}

#[test]
fn a_function_of_the_host_may_use_another_engine() {
    let inner = Arc::new(Mutex::new(engine()));
    inner.lock().unwrap().register_function("name", |_: ()| "inner").unwrap();
    let mut outer = engine();
    outer.register_function("name", |_: ()| "outer").unwrap();
    let used = Arc::clone(&inner);
    outer
        .register_function("ask", move |source: String| {
            used.lock().unwrap().evaluate(&source).map_err(|failure| failure.to_string())
        })
        .unwrap();
    assert_eq!(outer.evaluate("ask('name()') .. name()"), Ok("innerouter".into()));
}

#[test]
fn two_engines_with_different_modules_do_not_see_each_others() {
    let mut one = engine();
    one.install(&modules::json()).unwrap();
    one.install(&modules::json()).unwrap();
    let mut other = engine();
    other.install(&modules::toml()).unwrap();
    assert_eq!(one.evaluate("json ~= nil and toml == nil"), Ok(true.into()));
    assert_eq!(other.evaluate("json == nil and toml ~= nil"), Ok(true.into()));
    let mut all = engine();
    all.install_all().unwrap();
    assert_eq!(all.modules().count(), modules::all().len());
    assert_eq!(
        all.evaluate("json ~= nil and toml ~= nil and yaml ~= nil and linalg ~= nil"),
        Ok(true.into())
    );
    assert!(all.run("json.encode = nil").is_err(), "modules are frozen");
}

#[test]
fn a_module_that_clashes_is_not_half_installed() {
    let mut engine = engine();
    engine.register_function("dice.roll", |_: ()| 4).unwrap();
    let dice =
        modules::Module::new("dice").function("count", |_: ()| 2).function("roll", |_: ()| 6);
    assert!(engine.install(&dice).is_err());
    assert_eq!(engine.evaluate("dice.count == nil and dice.roll() == 4"), Ok(true.into()));
}

#[test]
fn random_numbers_depend_on_the_seed_alone_and_go_on_between_calls() {
    let draw = |seed| {
        let mut engine = LuaEngine::builder().seed(seed).build().unwrap();
        [number(&mut engine, "math.random()"), number(&mut engine, "math.random()")]
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert_ne!(draw(1)[0], draw(1)[1]);
}

#[test]
fn the_state_of_one_engine_goes_on_in_another() {
    let mut one = engine();
    one.run("gold = 5; bag = {'rope', {deep = true}}; function f() end; mixed = {f = f}").unwrap();
    let state = one.state().unwrap();
    assert_eq!(state.fields.len(), 2, "{state}");
    let mut other = engine();
    other.restore(&state).unwrap();
    assert_eq!(other.evaluate("gold == 5 and bag[2].deep"), Ok(true.into()));
    assert_eq!(other.state(), Ok(state));
}

#[test]
fn coroutines_are_listed_with_their_place_and_can_be_destroyed() {
    let mut engine = engine();
    engine
        .run_named(
            "co.luau",
            "function work()\n  coroutine.yield()\nend\n\
             a = coroutine.create(work); coroutine.resume(a)\n\
             b = coroutine.wrap(work)\n\
             local lost = coroutine.create(work)\n\
             done = coroutine.create(work); coroutine.resume(done); coroutine.resume(done)",
        )
        .unwrap();
    let found = engine.coroutines();
    let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["1: suspended at co.luau:2", "2: not started, defined at co.luau:1"]);
    assert_eq!(found[0].status, CoroutineStatus::Suspended);
    assert_eq!(engine.stats().coroutines, 2);

    assert!(engine.destroy_coroutine(found[0].id));
    assert!(!engine.destroy_coroutine(found[0].id));
    assert_eq!(engine.evaluate("coroutine.status(a)"), Ok("dead".into()));
    assert!(engine.destroy_coroutine(found[1].id));
    assert!(engine.run("b()").is_err());
    assert_eq!(engine.coroutines(), []);
    engine.run("c = coroutine.create(work)").unwrap();
    assert!(engine.coroutines()[0].id > found[1].id, "numbers are not used again");
}

#[test]
fn figures_tell_what_happened() {
    let mut engine = engine();
    engine.register_function("f", |_: ()| 1).unwrap();
    engine.run("x = 1").unwrap();
    engine.run("x = 1").unwrap();
    engine.evaluate("f()").unwrap();
    engine.run("error('x')").unwrap_err();
    engine.run("not lua").unwrap_err();
    let stats = engine.stats();
    assert_eq!((stats.calls, stats.failures, stats.timeouts), (5, 2, 0));
    assert_eq!((stats.cached_chunks, stats.functions, stats.servers), (3, 1, 0));
    assert_eq!(stats.call_time.count, 4, "what didn't compile took no time");
    assert!(stats.memory_bytes > 100_000 && stats.memory_bytes < stats.memory_limit);
}

#[test]
fn only_so_many_sources_are_kept_compiled() {
    let mut engine = LuaEngine::builder().cached_chunks(10).build().unwrap();
    for i in 0..1000 {
        assert_eq!(number(&mut engine, &format!("{i} + 0")), f64::from(i));
    }
    assert_eq!(engine.stats().cached_chunks, 10);
    engine.collect_garbage();
    assert!(engine.memory_bytes() < 2 * MIB);
}

#[test]
fn bytecode_is_not_taken() {
    assert!(engine().run("\u{1b}Lua").is_err());
    assert!(engine().evaluate("loadstring").unwrap() == ScriptValue::Nil);
}

#[test]
fn engines_work_on_many_threads_at_once() {
    let calls = Arc::new(AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let calls = Arc::clone(&calls);
            scope.spawn(move || {
                let mut engine = LuaEngine::builder().all_modules().build().unwrap();
                engine
                    .register_function("count", move |_: ()| calls.fetch_add(1, Ordering::Relaxed))
                    .unwrap();
                engine.set("id", thread).unwrap();
                for _ in 0..50 {
                    engine.run("count(); sum = (sum or 0) + id").unwrap();
                }
                assert_eq!(number(&mut engine, "sum"), f64::from(50 * thread));
            });
        }
    });
    assert_eq!(calls.load(Ordering::Relaxed), 400);
}

#[test]
fn an_engine_moves_between_threads() {
    let mut engine = engine();
    engine.run("x = 1").unwrap();
    let mut engine = std::thread::spawn(move || {
        engine.run("x += 1").unwrap();
        engine
    })
    .join()
    .unwrap();
    assert_eq!(number(&mut engine, "x"), 2.0);
}

// ---- LuauPool ----------------------------------------------------------------------------------

/// A configuration whose time limit no slow machine reaches.
fn patient() -> LuaPoolConfig {
    LuaPoolConfig { run_time_limit: Duration::from_secs(60), ..LuaPoolConfig::default() }
}

#[test]
fn execute_gives_the_value_and_nothing_of_the_params_remains() {
    let pool = LuauPool::builder().build().unwrap();
    let secret = [("password", "xyzzy")];
    assert_eq!(pool.execute("params.password", secret).unwrap(), "xyzzy".into());
    pool.execute("leak = params.password; params.other = 1", secret).unwrap();
    let searched = pool.execute(
        "local found = {} for k, v in _G do found[#found + 1] = k end return table.concat(found, ' ')",
        ScriptTable::default(),
    );
    let searched = searched.unwrap().to_string();
    assert!(!searched.contains("leak"), "{searched}");
    assert_eq!(pool.execute("params.password", ScriptTable::default()).unwrap(), ScriptValue::Nil);
    assert_eq!(pool.vms().stats().created, 1, "one VM served all");
}

#[test]
fn what_is_registered_late_is_seen_by_every_later_run() {
    let pool = LuauPool::builder().build().unwrap();
    let empty = ScriptTable::default;
    assert_eq!(pool.execute("double == nil and json == nil", empty()).unwrap(), true.into());
    pool.register_function("double", |x: f64| 2.0 * x).unwrap();
    assert_eq!(pool.execute("double(2)", empty()).unwrap(), 4.0.into());
    pool.install(&modules::json()).unwrap();
    assert_eq!(pool.execute("json.encode({double(1)})", empty()).unwrap(), "[2]".into());
    assert!(pool.unregister("double"));
    let error = pool.execute("double(2)", empty()).unwrap_err();
    assert!(error.to_string().contains("unregistered"), "{error}");
}

#[test]
fn a_run_that_is_stopped_costs_its_vm_and_nobody_else_notices() {
    let pool = LuauPool::builder().build().unwrap();
    let empty = ScriptTable::default;
    let error = pool.execute("while true do end", empty()).unwrap_err();
    assert!(error.to_string().contains("`run_time_limit`"), "{error}");
    let pool = LuauPool::builder().config(patient()).build().unwrap();
    let error = pool
        .execute("local t = {} for i = 1, 1e8 do t[i] = string.rep('x', 1e6 + i) end", empty())
        .unwrap_err();
    assert!(error.to_string().contains("memory"), "{error}");
    assert_eq!(pool.execute("1 + 1", empty()).unwrap(), 2.0.into());
    let stats = pool.vms().stats();
    assert_eq!((stats.leased, stats.reset_errors), (0, 0), "{stats:?}");
}

#[test]
fn a_source_with_a_nul_byte_is_not_taken_for_one_with_a_name() {
    let pool = LuauPool::builder().build().unwrap();
    let empty = ScriptTable::default;
    pool.execute_named("rules/tax.luau", "1", empty()).unwrap();
    let error = pool.execute("\0rules/tax.luau\x001", empty()).unwrap_err();
    assert!(error.to_string().contains("NUL"), "{error}");
    pool.execute_named("a\0b", "1", empty()).unwrap();
    let error = pool.execute_named("a", "b\x001", empty()).unwrap_err();
    assert!(error.to_string().contains("NUL"), "{error}");
}

/// Uses more than half of the memory that a run may hold, so that it is measured.
const LARGE: &str = "local large = table.create(400000, 0)";

#[test]
fn a_function_of_the_host_is_called_once_also_by_a_run_that_is_measured() {
    let calls = Arc::new(AtomicU32::new(0));
    let (called, failed) = (Arc::clone(&calls), Arc::clone(&calls));
    let pool = LuauPool::builder()
        .config(patient())
        .function("charge", move |sum: f64| sum + f64::from(called.fetch_add(1, Ordering::SeqCst)))
        .function("refuse", move |(): ()| {
            failed.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>("never")
        })
        .build()
        .unwrap();
    let source = format!(
        "local a, b = charge(10), math.random()
        local refused, why = pcall(refuse)
        assert(not refused and string.find(why, 'never'))
        {LARGE}
        return a + charge(#large)"
    );
    let sum = pool.execute(&source, ScriptTable::default()).unwrap();
    assert_eq!(sum, 400_012.0.into(), "what was told once is told again");
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[test]
fn a_run_that_was_told_too_much_to_begin_once_more_has_run_out_of_memory() {
    let calls = Arc::new(AtomicU32::new(0));
    let called = Arc::clone(&calls);
    let blob = move |(): ()| {
        called.fetch_add(1, Ordering::SeqCst);
        "x".repeat(100_000)
    };
    let pool = LuauPool::builder().config(patient()).function("blob", blob).build().unwrap();
    let empty = ScriptTable::default;
    let source = format!("for i = 1, 20 do blob() end {LARGE} return #large");
    for _ in 0..2 {
        calls.store(0, Ordering::SeqCst);
        let error = pool.execute(&source, empty()).unwrap_err();
        assert!(error.to_string().contains("`run_memory_limit`"), "{error}");
        assert_eq!(calls.load(Ordering::SeqCst), 20);
    }
    assert_eq!(pool.execute("#blob()", empty()).unwrap(), 100_000.into());
}

#[test]
fn a_run_that_goes_another_way_when_it_begins_once_more_has_run_out_of_memory() {
    let reads = AtomicU32::new(0);
    let server = move |_: &[&str]| Served::Value(reads.fetch_add(1, Ordering::SeqCst).into());
    let charged = Arc::new(Mutex::new(Vec::new()));
    let charges = Arc::clone(&charged);
    let charge = move |sum: f64| charges.lock().unwrap().push(sum);
    let pool = LuauPool::builder()
        .config(patient())
        .server("Bank", server)
        .function("charge", charge)
        .build()
        .unwrap();
    let source = format!("pcall(charge, Bank.sum) {LARGE} charge(7) return #large");
    let error = pool.execute(&source, ScriptTable::default()).unwrap_err();
    assert!(error.to_string().contains("`run_memory_limit`"), "{error}");
    assert_eq!(*charged.lock().unwrap(), [0.0]);
}

#[test]
fn closing_also_stops_a_run_that_began_anew_because_of_others_garbage() {
    let (began_anew, second_round) = crossbeam_channel::bounded(1);
    let rounds = AtomicU32::new(0);
    let round = move |_: &[&str]| {
        let round = rounds.fetch_add(1, Ordering::SeqCst) + 1;
        if round == 2 {
            began_anew.send(()).unwrap();
        }
        Served::Value(round.into())
    };
    let pool = LuauPool::builder().config(patient()).server("Run", round).build().unwrap();
    let empty = ScriptTable::default;
    // A VM that nobody has used is given no second chance.
    pool.execute("1", empty()).unwrap();
    let source = "
        if Run.round == 1 then
            local all = {}
            for i = 1, 1e9 do all[i] = string.rep('x', 1000) .. i end
        end
        while true do end";
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| pool.execute(source, empty()));
        second_round.recv_timeout(Duration::from_secs(30)).unwrap();
        let _ = pool.vms().close(Duration::ZERO);
        assert!(pool.vms().close(Duration::from_secs(60)), "it is interrupted");
        let error = runner.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("the pool was closed while the script ran"), "{error}");
    });
}

#[test]
fn ten_thousand_executes_leave_memory_and_vms_flat() {
    let config =
        LuaPoolConfig { pool: PoolConfig { max_use_count: 0, ..patient().pool }, ..patient() };
    let pool = LuauPool::builder().config(config).module(modules::json()).build().unwrap();
    let run = |i: u32| {
        // A new source each time: nothing of those that left the cache may pile up.
        let source = format!(
            "local t = {{}} for i = 1, 20 do t[i] = {{i, params.x}} end \
             g{i} = t; local co = coroutine.wrap(function() coroutine.yield(1) end) co() \
             return json.encode(t[20]) .. '{i}'"
        );
        pool.execute(&source, [("x", f64::from(i))]).unwrap();
    };
    let memory = || pool.vms().vms().iter().map(|vm| vm.memory_bytes).max().unwrap();
    (0..2000).for_each(run);
    let before = memory();
    (2000..12_000).for_each(run);
    let after = memory();
    assert!(after < before + 1024 * 1024, "{before} bytes, then {after}");
    assert_eq!(pool.vms().stats().created, 1, "one VM did it all");
}

#[test]
fn many_threads_execute_at_once() {
    let pool = LuauPool::builder().build().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let pool = &pool;
            scope.spawn(move || {
                for i in 0..100_u32 {
                    let value = pool.execute("params.a * params.b", [("a", thread), ("b", i)]);
                    assert_eq!(value.unwrap(), (thread * i).into());
                }
            });
        }
    });
}
