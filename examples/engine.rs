//! A Lua engine of one's own, without Bevy's `App`: what persists, what Rust offers, and how many users
//! share a limit.
//!
//! ```text
//! cargo run --release --no-default-features --example engine
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bevy_lua_pool::engine::{EngineSetConfig, Resumed};
use bevy_lua_pool::vm::SharedValues;
use bevy_lua_pool::{EngineSet, LuaEngine, LuauPool, ScriptTable, ScriptValue, Variadic, modules};

fn main() -> Result<(), Box<dyn Error>> {
    reuse()?;
    coroutines()?;
    functions_and_servers()?;
    modules_of_choice()?;
    an_engine_per_user()?;
    clean_runs()?;
    println!("\nAll is well.");
    Ok(())
}

/// Shows a result, and ends the program if it isn't the expected one.
fn show(what: &str, got: ScriptValue, expected: impl Into<ScriptValue>) {
    println!("  {what:<44} {got}");
    assert_eq!(got, expected.into(), "{what}");
}

/// Globals and functions stay until the engine is reset.
fn reuse() -> Result<(), Box<dyn Error>> {
    println!("One VM that is yours");
    let mut engine = LuaEngine::new()?;
    engine.run("count = 0 function add(n) count += n return count end")?;
    engine.call("add", 2)?;
    show("add(3) after add(2)", engine.call("add", 3)?, 5);
    show("count * 2", engine.evaluate("count * 2")?, 10);

    // Any type that serde knows, several values, or what lies deep in a table.
    let list: Vec<u32> = engine.evaluate_as("{1, 2, count}")?;
    assert_eq!(list, [1, 2, 5]);
    let found = engine.evaluate_all("string.find('the lock and the key', 'key')")?;
    println!("  string.find gives two values                 {} and {}", found[0], found[1]);
    engine.set("hero", HashMap::from([("items", vec!["rope", "lamp"])]))?;
    let hero = engine.evaluate("{ name = 'Ada', items = hero.items }")?;
    println!("  {} carries a {}", hero.get("name"), hero.get("items.2"));
    assert_eq!(hero.get("items.2").as_str(), Some("lamp"));

    // A script can fail, run too long or take too much; the engine goes on.
    let failure = engine.evaluate("missing.field").expect_err("there is no such thing");
    println!("  a failure says where:  {failure}");

    // What one call printed.
    engine.run("print('counted to ' .. count)")?;
    let lines: Vec<&str> = engine.last_output().map(|line| &*line.text).collect();
    println!("  the last call printed  {lines:?}");
    assert_eq!(lines, ["counted to 5"]);

    engine.reset()?;
    show("count after a reset", engine.evaluate("count")?, ScriptValue::Nil);
    Ok(())
}

/// A dialogue waits in a coroutine until the game knows the answer.
fn coroutines() -> Result<(), Box<dyn Error>> {
    println!("\nCoroutines that the host goes on with");
    let mut engine = LuaEngine::new()?;
    engine.run(
        "talk = coroutine.create(function(name)
            local answer = coroutine.yield('Well met, ' .. name .. '. Tea?')
            return answer == 'yes' and 'Here you are.' or 'Suit yourself.'
        end)",
    )?;
    let talk = engine.coroutines()[0].id;
    let mut said = engine.resume_coroutine(talk, "Ada")?;
    while let Resumed::Yielded(line) = &said {
        println!("  {}", line[0]);
        said = engine.resume_coroutine(talk, "yes")?;
    }
    show("and then", said.values()[0].clone(), "Here you are.");
    Ok(())
}

/// Rust functions, and values that Lua reads when it asks for them.
fn functions_and_servers() -> Result<(), Box<dyn Error>> {
    println!("\nWhat Rust offers");
    let mut engine = LuaEngine::new()?;
    engine.register_function("greet", |name: String| format!("hello, {name}"))?;
    show("greet('you')", engine.evaluate("greet('you')")?, "hello, you");
    engine.replace_function("greet", |names: Variadic<String>| {
        (format!("hello, {}", names.join(" and ")), names.len())
    })?;
    let both = engine.evaluate_all("greet('you', 'Ada')")?;
    println!("  greet('you', 'Ada'), replaced                {} ({} of them)", both[0], both[1]);
    assert_eq!(both[..], ["hello, you and Ada".into(), 2.into()]);

    let game = SharedValues::new();
    game.set("player.health", 100.0);
    engine.register_server("Game", game.clone())?;
    show("Game.player.health", engine.evaluate("Game.player.health")?, 100.0);
    game.set("player.health", 75.0);
    show("the same after Rust changed it", engine.evaluate("Game.player.health")?, 75.0);
    engine.unregister("Game");
    let gone = engine.evaluate("Game.player.health").expect_err("it is unregistered");
    println!("  after `unregister`:  {gone}");
    Ok(())
}

/// Libraries are chosen for each engine.
fn modules_of_choice() -> Result<(), Box<dyn Error>> {
    println!("\nModules");
    let mut engine =
        LuaEngine::builder().module(modules::json()).module(modules::linalg()).build()?;
    let text = engine.evaluate("json.encode({1, 2, 3})")?;
    show("json.encode({1, 2, 3})", text, "[1,2,3]");
    show("json.decode('{\"a\":7}').a", engine.evaluate("json.decode('{\"a\":7}').a")?, 7.0);
    let mut plain = LuaEngine::new()?;
    show("json in another engine", plain.evaluate("json")?, ScriptValue::Nil);
    plain.install_all()?;
    println!("  all there are: {}", plain.modules().collect::<Vec<_>>().join(", "));
    Ok(())
}

/// Three users, room for two engines: who was away longest makes room, and loses nothing.
fn an_engine_per_user() -> Result<(), Box<dyn Error>> {
    println!("\nAn engine for each user");
    let saved = Arc::new(Mutex::new(Vec::<(String, ScriptTable)>::new()));
    let keep = Arc::clone(&saved);
    let users = EngineSet::new(
        EngineSetConfig { max_engines: 2, ..EngineSetConfig::default() },
        |_: &String| LuaEngine::new(),
        move |evicted| {
            if let (Ok(state), Ok(mut saved)) = (evicted.state, keep.lock()) {
                saved.push((evicted.key, state));
            }
        },
    )?;
    for user in ["ann", "bob", "ann", "cleo"] {
        let visits = users
            .try_with(user, |engine| engine.evaluate("visits = (visits or 0) + 1 return visits"))?;
        println!("  {user:<5} visit {visits}");
    }
    let saved = saved.lock().map_err(|_| "nobody panicked")?;
    println!("  had to make room: {} with {}", saved[0].0, saved[0].1);
    assert_eq!(*saved, [("bob".to_owned(), ScriptTable::from([("visits", 1)]))]);
    Ok(())
}

/// A pool for runs that must know nothing of each other.
fn clean_runs() -> Result<(), Box<dyn Error>> {
    println!("\nA pool for strangers' code");
    let pool = LuauPool::builder()
        .configure(|config| {
            config.pool.max_size = 2;
            config.run_time_limit = Duration::from_millis(50);
        })
        .module(modules::json())
        .build()?;
    show(
        "params.a + params.b",
        pool.execute("params.a + params.b", [("a", 1.0), ("b", 2.0)])?,
        3.0,
    );
    pool.execute("leak = params.secret", [("secret", 42.0)])?;
    show(
        "what the next run finds of it",
        pool.execute("leak or params.secret", ())?,
        ScriptValue::Nil,
    );
    let squares: Vec<u32> = pool.execute_as(
        "local t = {} for i, n in params do t[i] = n * n end return t",
        vec![1, 2, 3],
    )?;
    assert_eq!(squares, [1, 4, 9]);
    let endless = pool.execute("while true do end", ()).expect_err("nothing runs for ever");
    println!("  an endless loop:  {endless}");

    // All about one run: its name, its values, what it printed.
    let done = pool
        .execution("print('dividing') return params.a // params.b, params.a % params.b")
        .named("rules/divide.luau")
        .params([("a", 17), ("b", 5)])
        .run();
    let values = done.values?;
    println!("  17 // 5 and 17 % 5                           {} and {}", values[0], values[1]);
    println!("  it printed                                   {:?}", done.output[0].text);
    assert_eq!(values[..], [3.into(), 2.into()]);
    let stats = pool.vms().stats();
    println!("  VMs made {}, destroyed {}, idle {}", stats.created, stats.destroyed, stats.idle);
    Ok(())
}
