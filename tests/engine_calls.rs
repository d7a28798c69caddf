//! What a call of an engine or a pool takes and gives: arguments, several results, output, coroutines, errors.

#![expect(clippy::unwrap_used, reason = "what is set up here can't fail")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bevy_lua_pool::engine::{
    CoroutineStatus, EngineSet, EngineSetConfig, EngineSetError, ExecuteError, OutputLine, Resumed,
};
use bevy_lua_pool::vm::Served;
use bevy_lua_pool::{
    EngineError, Failure, LuaEngine, LuaPoolConfig, LuauPool, PoolConfig, ScriptError, ScriptTable,
    ScriptValue, ScriptValues, Setting, Variadic,
};

fn engine() -> LuaEngine {
    LuaEngine::new().unwrap()
}

fn pool() -> LuauPool {
    LuauPool::builder().build().unwrap()
}

fn values<const N: usize>(values: [ScriptValue; N]) -> ScriptValues {
    values.into_iter().collect()
}

fn texts<'l>(lines: impl IntoIterator<Item = &'l OutputLine>) -> Vec<String> {
    lines.into_iter().map(|line| line.text.to_string()).collect()
}

// ---- values ------------------------------------------------------------------------------------

#[test]
fn a_global_is_set_from_any_plain_type_and_a_number_that_lua_cannot_hold_is_refused() {
    let mut engine = engine();
    engine.set("count", 3_usize).unwrap();
    engine.set("list", vec![1_u64, 2]).unwrap();
    engine
        .set("scores", HashMap::from([("ann".to_owned(), Some(2_i64)), ("bob".to_owned(), None)]))
        .unwrap();
    engine.set("nothing", None::<bool>).unwrap();
    let shown = "`{count} {#list} {scores.ann} {scores.bob} {nothing}`";
    assert_eq!(engine.evaluate(shown), Ok("3 2 2 nil nil".into()));
    let refused = engine.set("count", u64::MAX).unwrap_err();
    assert!(matches!(refused.error, ScriptError::Inexact { .. }), "{refused}");
    assert_eq!(engine.get("count"), Ok(3.0.into()), "it is as it was");
}

// ---- several results ---------------------------------------------------------------------------

#[test]
fn all_results_of_a_source_and_of_a_function_are_had() {
    let mut engine = engine();
    assert_eq!(
        engine.evaluate_all("string.find('a key', 'key')"),
        Ok(values([3.into(), 5.into()]))
    );
    assert_eq!(engine.evaluate_all("return"), Ok(values([])));
    assert_eq!(engine.evaluate_all("nil"), Ok(values([ScriptValue::Nil])));
    assert_eq!(engine.evaluate("return"), Ok(ScriptValue::Nil));
    engine.run("function all(...) return select('#', ...), ... end").unwrap();
    let all = engine.call_all("all", (1, None::<bool>, "x")).unwrap();
    assert_eq!(all, values([3.into(), 1.into(), ScriptValue::Nil, "x".into()]));
    assert_eq!(engine.call("all", Variadic(vec![7; 200])), Ok(200.into()));
    let done = pool().execution("return 1, nil, 'x'").run();
    assert_eq!(done.values.unwrap(), values([1.into(), ScriptValue::Nil, "x".into()]));
}

#[test]
fn one_of_several_results_that_is_no_data_is_named_and_they_are_bounded_together() {
    let mut engine = LuaEngine::builder().value_limit(4096).build().unwrap();
    let failure = engine.evaluate_all("return 1, print").unwrap_err();
    assert!(failure.to_string().contains("`result 2` is a function"), "{failure}");
    let large = "string.rep('x', 3000)";
    assert!(engine.evaluate_all(large).is_ok());
    let failure = engine.evaluate_all(&format!("return {large}, {large}")).unwrap_err();
    assert!(
        matches!(failure.error, ScriptError::TooMuch { setting: Setting::EngineValueLimit, .. }),
        "{failure}"
    );
    assert!(engine.evaluate(&format!("return {large}, {large}")).is_ok(), "only the first is read");
}

#[test]
fn a_host_function_takes_and_gives_any_number_of_values() {
    let mut engine = LuaEngine::builder()
        .function("divide", |(a, b): (i64, i64)| match b {
            0 => Err("divide: by zero"),
            b => Ok((a / b, a % b)),
        })
        .function("reversed", |mut all: Variadic<ScriptValue>| {
            all.reverse();
            all
        })
        .function("count", |(_, rest): (String, Variadic<f64>)| rest.len())
        .build()
        .unwrap();
    let all = engine.evaluate_all("divide(17, 5)");
    assert_eq!(all, Ok(values([3.into(), 2.into()])));
    assert_eq!(engine.evaluate("select('#', divide(1, 1))"), Ok(2.into()));
    let failure = engine.evaluate("divide(1, 0)").unwrap_err();
    assert!(failure.to_string().contains("divide: by zero"), "{failure}");
    let all = engine.evaluate_all("reversed(1, nil, 'x')");
    assert_eq!(all, Ok(values(["x".into(), ScriptValue::Nil, 1.into()])));
    assert_eq!(engine.evaluate("select('#', reversed())"), Ok(0.into()));
    assert_eq!(engine.evaluate("count('x', 1, 2, 3)"), Ok(3.into()));
    let failure = engine.evaluate("count('x', 1, {})").unwrap_err();
    assert!(matches!(failure.error, ScriptError::Argument { position: 3, .. }), "{failure}");
    let many =
        LuauPool::builder().function("many", |count: usize| Variadic(vec![1; count])).build();
    let many = many.unwrap();
    assert_eq!(many.execute("select('#', many(255))", ()).unwrap(), 255.into());
    let failure = many.execute("many(256)", ()).unwrap_err();
    assert!(failure.to_string().contains("256 results; at most 255"), "{failure}");
}

#[test]
fn what_is_evaluated_to_a_function_says_what_to_use_instead() {
    let failure = engine().evaluate("function(x) return x end").unwrap_err().to_string();
    for part in ["`result` is a function", "with `run`", "`call`"] {
        assert!(failure.contains(part), "{failure:?} lacks {part:?}");
    }
    let failure = engine().evaluate("coroutine.create(print)").unwrap_err().to_string();
    assert!(failure.contains("use `run`, which gives nothing"), "{failure}");
}

// ---- coroutines --------------------------------------------------------------------------------

/// The only coroutine there is.
fn only(engine: &LuaEngine) -> u64 {
    let all = engine.coroutines();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].id
}

#[test]
fn a_coroutine_that_was_listed_can_be_resumed_to_its_end() {
    let mut engine = engine();
    engine
        .run(
            "step = coroutine.wrap(function(...)
                local got = { ... }
                while got[1] ~= 'stop' do got = { coroutine.yield(#got, got[1]) } end
                return 'over', nil
            end)",
        )
        .unwrap();
    let id = only(&engine);
    let waits = engine.resume_coroutine(id, ("a", "b")).unwrap();
    assert_eq!(waits, Resumed::Yielded(values([2.into(), "a".into()])));
    assert_eq!(
        engine.evaluate_all("step(1, 2, 3)"),
        Ok(values([3.into(), 1.into()])),
        "scripts go on too"
    );
    assert_eq!(engine.coroutines()[0].status, CoroutineStatus::Suspended);
    assert_eq!(engine.resume_coroutine(id, ()).unwrap().values()[0], 0.into());
    let over = engine.resume_coroutine(id, "stop").unwrap();
    assert_eq!(over, Resumed::Finished(values(["over".into(), ScriptValue::Nil])));
    assert_eq!(engine.coroutines(), []);
    let calls = engine.stats().calls;
    let failure = engine.resume_coroutine(id, ()).unwrap_err();
    assert_eq!(failure.error, ScriptError::NoCoroutine { id });
    assert_eq!(engine.stats().calls, calls + 1);
}

#[test]
fn a_coroutine_that_fails_when_it_is_resumed_names_the_place_and_is_over() {
    let mut engine = engine();
    engine
        .run_named(
            "talk.luau",
            "local function fails(what)\n  error('no ' .. what)\nend\n\
             talk = coroutine.create(function(what)\n  fails(what)\nend)",
        )
        .unwrap();
    let id = only(&engine);
    let failure = engine.resume_coroutine(id, "way").unwrap_err();
    assert_eq!(failure.error, ScriptError::Raised { message: "no way".to_owned() });
    assert_eq!((&*failure.script, failure.line), ("talk.luau", Some(2)));
    assert!(failure.traceback.contains("talk.luau:5"), "{failure}");
    assert_eq!(engine.evaluate("coroutine.status(talk)"), Ok("dead".into()));
    assert_eq!(engine.coroutines(), []);
}

#[test]
fn a_resumed_coroutine_is_bounded_as_any_call() {
    let mut engine = LuaEngine::builder()
        .time_limit(Duration::from_millis(50))
        .memory_limit(4 * 1024 * 1024)
        .output_limit(1000)
        .build()
        .unwrap();
    let mut resume = |body: &str| {
        engine.reset().unwrap();
        engine.run(&format!("co = coroutine.create(function(...) {body} end)")).unwrap();
        let id = only(&engine);
        let failure = engine.resume_coroutine(id, "argument").unwrap_err();
        assert_eq!(engine.evaluate("1 + 1"), Ok(2.into()), "{body}");
        failure.error
    };
    let error = resume("while true do end");
    assert!(matches!(error, ScriptError::TimedOut { .. }), "{error}");
    let error = resume("pcall(function() while true do end end)");
    assert!(matches!(error, ScriptError::TimedOut { .. }), "{error}");
    let error = resume("local t = {} while true do t[#t + 1] = { #t } end");
    assert!(matches!(error, ScriptError::EngineOutOfMemory { .. }), "{error}");
    let error = resume("while true do print('again and again') end");
    assert!(
        matches!(error, ScriptError::TooMuch { setting: Setting::EngineOutputLimit, .. }),
        "{error}"
    );
    let error = resume("return print");
    assert!(matches!(error, ScriptError::NotData { .. }), "{error}");
    let error = resume("coroutine.yield(1, {}, print)");
    assert!(matches!(error, ScriptError::NotData { .. }), "{error}");
}

#[test]
fn a_coroutine_is_resumed_with_more_arguments_than_its_stack_has_room_for() {
    let mut engine = engine();
    engine.run("co = coroutine.create(function(...) return select('#', ...) end)").unwrap();
    let id = only(&engine);
    let args: Vec<ScriptValue> = vec![1.into(); 5000];
    assert_eq!(engine.resume_coroutine(id, args).unwrap().values()[..], [5000.into()]);
    let count = 2_000_000;
    engine.run("co = coroutine.create(function(...) return select('#', ...) end)").unwrap();
    let id = only(&engine);
    assert!(engine.resume_coroutine(id, vec![ScriptValue::Nil; count]).is_err());
    assert_eq!(engine.evaluate("coroutine.status(co)"), Ok("suspended".into()), "it didn't begin");
}

#[test]
fn a_coroutine_before_a_reset_is_not_resumed_after_it() {
    let mut engine = engine();
    engine.run("co = coroutine.create(function() return 1 end)").unwrap();
    let id = only(&engine);
    engine.reset().unwrap();
    engine.run("co = coroutine.create(function() return 2 end)").unwrap();
    assert!(engine.resume_coroutine(id, ()).is_err());
    let id = only(&engine);
    assert_eq!(engine.resume_coroutine(id, ()).unwrap(), Resumed::Finished(values([2.into()])));
}

// ---- output ------------------------------------------------------------------------------------

#[test]
fn what_the_last_call_printed_is_told_apart_from_earlier_output() {
    let mut engine = engine();
    engine.run("print('first')").unwrap();
    engine.evaluate("print('second') error('and out')").unwrap_err();
    assert_eq!(texts(engine.last_output()), ["second"], "also of one that failed");
    engine.run("").unwrap();
    assert_eq!(texts(engine.last_output()), [""; 0]);
    assert_eq!(texts(engine.output()), ["first", "second"]);
    engine.run("print('third')").unwrap();
    engine.take_output();
    assert_eq!(texts(engine.last_output()), [""; 0]);
}

#[test]
fn an_execution_gives_its_output_whether_it_fails_or_not() {
    let pool = pool();
    let done = pool.execution("log.warn('careful')\nprint(params.a)").params([("a", 1)]).run();
    assert_eq!(done.values.unwrap(), values([]));
    assert_eq!(texts(&done.output), ["careful", "1"]);
    assert_eq!(done.output[1].line, Some(2));
    let failed = pool.execution("print('before')\nerror('then')").named("rules/x.luau").run();
    assert_eq!(texts(&failed.output), ["before"]);
    match failed.values {
        Err(ExecuteError::Failed(failure)) => assert_eq!(&*failure.script, "rules/x.luau"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_output_of_a_run_that_begins_once_more_is_told_once() {
    let rounds = Arc::new(AtomicU32::new(0));
    let round = Arc::clone(&rounds);
    let live = move |_: &[&str]| Served::Value((round.fetch_add(1, Ordering::SeqCst) + 1).into());
    let pool = LuauPool::builder()
        .configure(|config| config.run_memory_limit = Some(8 * 1024 * 1024))
        .server("Run", live)
        .build()
        .unwrap();
    let source = "print('once', Run.round) local held = table.create(400000, 1) print(#held)";
    let done = pool.execution(source).run();
    assert!(done.values.is_ok(), "{done:?}");
    assert_eq!(rounds.load(Ordering::SeqCst), 2, "it began once more");
    assert_eq!(texts(&done.output), ["once\t2", "400000"]);
}

#[test]
fn an_execution_ends_in_time_by_the_clock_on_the_wall() {
    let done = pool().execution("while true do end").within(Duration::from_millis(20)).run();
    match done.values {
        Err(ExecuteError::Failed(Failure { error: ScriptError::Overdue { .. }, .. })) => {}
        other => panic!("{other:?}"),
    }
}

// ---- a pool of one's own -----------------------------------------------------------------------

#[test]
fn a_pool_outside_a_game_gives_a_run_more_than_a_frame_has() {
    let ours = LuauPool::default_config();
    let of_a_frame = LuaPoolConfig::default();
    assert_eq!(ours.validate(), Ok(()));
    assert_eq!(pool().config(), ours);
    assert_eq!(ours.run_time_limit, Duration::from_secs(1));
    assert!(ours.run_time_limit > of_a_frame.run_time_limit);
    let pool = LuauPool::builder().configure(|config| config.pool.max_size = 1).build().unwrap();
    assert_eq!(
        pool.config(),
        LuaPoolConfig { pool: PoolConfig { max_size: 1, ..ours.pool }, ..ours }
    );
}

#[test]
fn a_value_is_had_as_any_type_that_serde_knows_or_an_error_says_why_not() {
    let pool = pool();
    let lengths: HashMap<String, usize> = pool
        .execute_as("local t = {} for _, w in params do t[w] = #w end return t", vec!["a", "bcd"])
        .unwrap();
    assert_eq!(lengths, HashMap::from([("a".to_owned(), 1), ("bcd".to_owned(), 3)]));
    match pool.execute_as::<u8>("'x'", ()) {
        Err(ExecuteError::Failed(failure)) => {
            assert!(failure.to_string().contains("execute"), "{failure}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.execute("next(params)", ()).unwrap(), ScriptValue::Nil);
}

// ---- functions that are replaced ---------------------------------------------------------------

#[test]
fn a_function_is_replaced_for_whatever_scripts_kept_of_it() {
    let mut engine = engine();
    engine.register_function("game.rate", || 1).unwrap();
    engine.run("kept = game.rate").unwrap();
    engine.replace_function("game.rate", || 2).unwrap();
    assert_eq!(engine.evaluate("kept() + game.rate()"), Ok(4.into()));
    assert_eq!(engine.stats().functions, 1);
    engine.replace_function("game.new", |x: f64| x).unwrap();
    assert_eq!(engine.evaluate("game.new(3)"), Ok(3.into()), "one that wasn't there is offered");
    engine.unregister("game.rate");
    engine.replace_function("game.rate", || 3).unwrap();
    assert_eq!(engine.evaluate("kept()"), Ok(3.into()));
    for taken in ["math.sin", "game", "game.rate.x", "no name"] {
        let error = engine.replace_function(taken, || 1);
        assert!(matches!(error, Err(EngineError::Name(_))), "{taken}: {error:?}");
    }
}

#[test]
fn a_function_of_a_pool_is_replaced_without_a_new_vm() {
    let pool = LuauPool::builder().function("rate", || 1).build().unwrap();
    assert_eq!(pool.execute("rate()", ()).unwrap(), 1.into());
    let created = pool.vms().stats().created;
    pool.replace_function("rate", || 2).unwrap();
    assert_eq!(pool.execute("rate()", ()).unwrap(), 2.into());
    assert_eq!(pool.vms().stats().created, created);
    pool.replace_function("fresh", || 3).unwrap();
    assert_eq!(pool.execute("fresh()", ()).unwrap(), 3.into());
    assert!(pool.replace_function("math.sin", || 1).is_err());
}

// ---- errors ------------------------------------------------------------------------------------

#[test]
fn a_script_that_fails_while_an_engine_is_set_up_is_no_prelude() {
    fn make() -> Result<LuaEngine, EngineError> {
        let mut engine = LuaEngine::new()?;
        engine.run("error('not today')")?;
        Ok(engine)
    }
    let error = make().unwrap_err();
    assert!(matches!(error, EngineError::Script(_)), "{error}");
    assert!(!error.to_string().contains("prelude"), "{error}");
    let error = LuaEngine::builder().prelude("lib.luau", "error('nor then')").build().unwrap_err();
    assert!(matches!(error, EngineError::Prelude(_)), "{error}");
    assert!(error.to_string().contains("prelude"), "{error}");
}

#[test]
fn a_set_of_engines_is_asked_by_borrowed_keys_and_has_one_error_for_all() {
    let make = |user: &String| match user.as_str() {
        "nobody" => Ok(LuaEngine::builder().prelude("p", "error('no')").build()?),
        _ => LuaEngine::new(),
    };
    let users = EngineSet::new(EngineSetConfig::default(), make, |_| ()).unwrap();
    fn visit(users: &EngineSet<String>, user: &str) -> Result<ScriptValue, EngineSetError> {
        users.try_with(user, |engine| engine.run("visits = (visits or 0) + 1"))?;
        users.try_with(user, |engine| engine.evaluate("visits"))
    }
    assert_eq!(visit(&users, "ann"), Ok(1.into()));
    assert_eq!(visit(&users, "ann"), Ok(2.into()));
    assert!(matches!(visit(&users, "nobody"), Err(EngineSetError::Make(_))));
    let failed = users.try_with("ann", |engine| engine.run("error('oh')"));
    assert!(matches!(&failed, Err(EngineSetError::Script(_))), "{failed:?}");
    let offered = users.try_with("ann", |engine| engine.register_function("math.sin", || 1));
    assert!(matches!(offered, Err(EngineSetError::Make(EngineError::Name(_)))), "{offered:?}");
    assert_eq!(users.with("ann", |engine| engine.stats().failures), Ok(1));
    assert!(users.evict("ann"));
    assert!(!users.evict("ann"));
    let state = ScriptTable::default();
    assert_eq!(users.with("ann", |engine| engine.state()), Ok(Ok(state)));
}
