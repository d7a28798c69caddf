//! To register is as cheap for the thousandth name as for the first.

#[path = "../benches/common/counting.rs"]
mod counting;

use bevy::prelude::*;
use bevy_lua_pool::modules::Module;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::testing::TestApp;
use bevy_lua_pool::vm::SharedValues;
use bevy_lua_pool::{LuaEngine, LuauPool};
use counting::{Counting, count};

#[global_allocator]
static HEAP: Counting = Counting;

/// Blocks that `register` asks the heap for, for so many names.
fn blocks(names: usize, register: &mut dyn FnMut(&str)) -> u64 {
    let names: Vec<String> = (0..names).map(|name| format!("game.f{name}")).collect();
    let ((), heap) = count(|| names.iter().for_each(|name| register(name)));
    heap.rust
}

/// That four times as many names take about four times as many blocks. If each registration copied what is
/// there, it would be sixteen times as many.
#[track_caller]
fn assert_linear(what: &str, mut with: impl FnMut(usize) -> u64) {
    let [few, many] = [400, 1600].map(&mut with);
    assert!(many < 6 * few, "{what}: {few} blocks for 400 names, {many} for 1600");
}

/// One test: what other tests of this program ask for would be counted too.
#[test]
fn what_is_registered_is_not_copied_again_and_again() {
    assert_linear("functions of an engine", |names| {
        let mut engine = LuaEngine::new().expect("there is memory");
        let blocks = blocks(names, &mut |name| {
            engine.register_function(name, |x: f64| x).expect("the name is free");
        });
        let last = format!("game.f0(1) + game.f{}(2)", names - 1);
        assert_eq!(engine.evaluate(&last).expect("both are there"), 3.0.into());
        blocks
    });
    assert_linear("functions of an engine that come back", |names| {
        let mut engine = LuaEngine::new().expect("there is memory");
        let mut again = |name: &str| {
            engine.register_function(name, |x: f64| x).expect("the name is free");
            assert!(engine.unregister(name));
        };
        blocks(names, &mut again) + blocks(names, &mut again)
    });
    assert_linear("servers of an engine", |names| {
        let mut engine = LuaEngine::new().expect("there is memory");
        let values = SharedValues::new();
        blocks(names, &mut |name| {
            engine.register_server(name, values.clone()).expect("the name is free");
        })
    });
    assert_linear("modules of an engine", |names| {
        let mut engine = LuaEngine::new().expect("there is memory");
        blocks(names, &mut |name| {
            let module = Module::new(name).function("f", |x: f64| x).constant("c", 1.0);
            engine.install(&module).expect("the name is free");
        })
    });
    assert_linear("functions of an engine's builder", |names| {
        let mut builder = Some(LuaEngine::builder());
        blocks(names, &mut |name| {
            let with = builder.take().expect("it is there").function(name, |x: f64| x);
            builder = Some(with);
        })
    });
    assert_linear("functions of a pool", |names| {
        let pool = LuauPool::builder().build().expect("the configuration is valid");
        let blocks = blocks(names, &mut |name| {
            pool.register_function(name, |x: f64| x).expect("the name is free");
        });
        let last = format!("game.f0(1) + game.f{}(2)", names - 1);
        let sum = pool.execute(&last, ScriptTable::default()).expect("both are there");
        assert_eq!(sum, 3.0.into());
        blocks
    });
    assert_linear("modules of a pool", |names| {
        let pool = LuauPool::builder().build().expect("the configuration is valid");
        blocks(names, &mut |name| {
            let module = Module::new(name).function("f", |x: f64| x);
            pool.install(&module).expect("the name is free");
        })
    });
    assert_linear("functions of an app", |names| {
        let mut app = TestApp::new().app;
        blocks(names, &mut |name| _ = app.add_lua_function(name, |x: f64| x))
    });
    assert_linear("functions of a running app", |names| {
        let mut test = TestApp::new();
        test.frame();
        let mut app = test.app;
        blocks(names, &mut |name| _ = app.add_lua_function(name, |x: f64| x))
    });
    assert_linear("modules of a running app", |names| {
        let mut test = TestApp::new();
        test.frame();
        let mut app = test.app;
        blocks(names, &mut |name| {
            app.add_lua_module(Module::new(name).function("f", |x: f64| x));
        })
    });
}
