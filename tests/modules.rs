//! The optional modules, as scripts see them.
//!
//! Each file in `tests/modules/` is run by an engine that has the module of its name and no other.
#![cfg(all(feature = "data-formats", feature = "linalg"))]

use bevy_lua_pool::modules::{self, Module};
use bevy_lua_pool::{LuaEngine, ScriptValue};

fn engine(modules: impl IntoIterator<Item = Module>) -> LuaEngine {
    LuaEngine::builder().modules(modules).build().expect("the modules can be installed")
}

/// Runs a source in an engine that has one module.
fn passes(module: Module, name: &str, source: &str) {
    let mut engine = engine([module]);
    let mut all = String::from(include_str!("modules/prelude.luau"));
    all.push_str(source);
    if let Err(failure) = engine.run_named(name, &all) {
        panic!("{failure}");
    }
}

macro_rules! files {
    ($($test:ident $module:ident),*) => {$(
        #[test]
        fn $test() {
            let source = include_str!(concat!("modules/", stringify!($module), ".luau"));
            passes(modules::$module(), stringify!($module), source);
        }
    )*};
}
files! {
    json_does_what_it_says json,
    yaml_does_what_it_says yaml,
    toml_does_what_it_says toml,
    math_does_what_it_says math,
    linalg_does_what_it_says linalg,
    random_does_what_it_says random
}

/// Each module with its source and its test.
fn sources() -> [(Module, &'static str, &'static str); 6] {
    macro_rules! sources {
        ($($module:ident),*) => {[$((
            modules::$module(),
            include_str!(concat!("../src/modules/", stringify!($module), ".rs")),
            include_str!(concat!("modules/", stringify!($module), ".luau")),
        )),*]};
    }
    sources!(json, yaml, toml, math, linalg, random)
}

#[test]
fn the_example_in_the_documentation_of_each_module_runs() {
    for (module, source, _) in sources() {
        let lines = source.lines().skip_while(|line| *line != "/// ```lua").skip(1);
        // Indentation matters to the YAML within: one space belongs to the comment.
        let example: Vec<_> = lines
            .take_while(|line| *line != "/// ```")
            .map(|line| line.strip_prefix("/// ").unwrap_or(""))
            .collect();
        assert!(example.len() > 3, "{} has an example", module.name());
        let name = module.name().to_owned();
        passes(module, &name, &example.join("\n"));
    }
}

#[test]
fn every_function_is_tested_and_documented() {
    for (module, source, test) in sources() {
        for function in module.functions() {
            let name = function.name();
            assert!(test.contains(name), "{name} has no test");
            // A row of the table may shorten all names but the first: `linalg.vec3.a`, `.b`.
            let last = name.rsplit('.').next().unwrap_or(name);
            let documented = source
                .lines()
                .filter(|line| line.starts_with("/// |"))
                .any(|line| line.contains(&format!(".{last}(")));
            assert!(documented, "{name} is not in the table of its module");
        }
    }
}

#[test]
fn two_engines_with_different_modules_do_not_see_each_others() {
    let mut with_json = engine([modules::json()]);
    let mut with_random = engine([modules::random(), modules::math()]);
    let mut with_none = engine([]);
    let kind = |engine: &mut LuaEngine, what: &str| {
        engine.evaluate(&format!("type({what})")).expect("it is an expression")
    };
    for (engine, json, random, gcd) in [
        (&mut with_json, "table", "nil", "nil"),
        (&mut with_random, "nil", "table", "function"),
        (&mut with_none, "nil", "nil", "nil"),
    ] {
        assert_eq!(kind(engine, "json"), json.into());
        assert_eq!(kind(engine, "random"), random.into());
        assert_eq!(kind(engine, "math.gcd"), gcd.into());
        assert_eq!(kind(engine, "math.sin"), "function".into(), "Luau's own stay");
    }
}

#[test]
fn a_module_of_the_apps_own_is_like_any_other() {
    let greeter = Module::new("greeter")
        .constant("greeting", "hello")
        .constant("deep.limit", 3.0)
        .function("greet", |name: String| format!("hello {name}"))
        .function("deep.double", |number: f64| number * 2.0);
    let mut engine = engine([greeter]);
    assert_eq!(engine.evaluate("greeter.greet('you')").ok(), Some("hello you".into()));
    assert_eq!(engine.evaluate("greeter.greeting").ok(), Some("hello".into()));
    assert_eq!(engine.evaluate("greeter.deep.double(greeter.deep.limit)").ok(), Some(6.0.into()));
    let failure = engine.run("greeter.greeting = 1").expect_err("it is read-only");
    assert!(failure.to_string().contains("readonly"), "{failure}");
}

#[test]
fn a_name_that_is_no_lua_name_or_taken_is_told_at_installation() {
    let module = |name: &str, function: &str| Module::new(name).function(function, |(): ()| ());
    for (module, told) in [
        (module("my-dice", "roll"), "my-dice.roll"),
        (module("dice", "end"), "dice.end"),
        (module("dice", ""), "dice."),
        (module("table", "insert"), "table"),
        (module("math", "sin"), "math.sin"),
    ] {
        let error = LuaEngine::builder().module(module).build().expect_err("the name is wrong");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn an_error_of_a_module_has_the_place_in_the_script_and_can_be_caught() {
    let mut engine = engine([modules::json()]);
    let failure = engine.run_named("save.luau", "\n\njson.decode('{')").expect_err("no JSON");
    assert_eq!(failure.line, Some(3));
    assert!(failure.to_string().contains("json.decode: EOF"), "{failure}");
    let caught = engine.evaluate("pcall(json.decode, '{') == false").expect("it is caught");
    assert_eq!(caught, true.into());
}

#[test]
fn the_numbers_of_an_engine_depend_on_its_seed_alone() {
    let drawn = |seed| -> Vec<ScriptValue> {
        let builder = LuaEngine::builder().module(modules::random()).seed(seed);
        let mut engine = builder.build().expect("it can be installed");
        let draw = "random.number() + random.integer(1, 1000) + random.normal() + math.random()";
        (0..5).map(|_| engine.evaluate(draw).expect("a number")).collect()
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
}
