//! What a failed run tells.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{Callback, ScriptError};
use common::Lab;

#[test]
fn a_failure_names_script_line_callback_entity_and_call_stack() {
    let mut lab = Lab::new();
    let entity = lab.entity(
        "npc/bad.luau",
        "local function inner()
            error('lost my way')
        end
        local function outer() inner() end
        function on_update(self) outer() end",
    );
    lab.frame();
    let failed = lab.drain::<ScriptFailed>();
    assert_eq!(failed.len(), 1);
    let ScriptFailed { failure, .. } = &failed[0];
    assert_eq!((failed[0].entity, failed[0].callback), (entity, Callback::Update));
    assert!(!failed[0].put_aside);
    assert_eq!((&*failure.script, failure.line), ("npc/bad.luau", Some(2)));
    assert_eq!(failure.error, ScriptError::Raised { message: "lost my way".into() });
    let stack: Vec<_> =
        failure.traceback.lines().filter(|line| line.starts_with("npc/bad.luau")).collect();
    assert_eq!(
        stack,
        ["npc/bad.luau:2 in inner", "npc/bad.luau:4 in outer", "npc/bad.luau:5 in on_update"]
    );
    assert!(failure.to_string().starts_with("npc/bad.luau:2: lost my way\n    at "));
}

#[test]
fn each_callback_that_fails_is_named() {
    for (callback, name) in [
        (Callback::Start, "on_start"),
        (Callback::Update, "on_update"),
        (Callback::FixedUpdate, "on_fixed_update"),
        (Callback::Reload, "on_reload"),
        (Callback::Message, "on_message"),
        (Callback::Stop, "on_stop"),
    ] {
        let mut lab = Lab::new();
        lab.app.insert_resource(Time::<Fixed>::from_seconds(0.020));
        let script = format!("function {name}(self) error('no') end");
        let entity = lab.entity("a.luau", &script);
        lab.app.world_mut().write_message(ToScript::new(entity, "x", ScriptValue::Nil));
        lab.frame();
        if callback == Callback::Reload {
            assert_eq!(lab.failures(), [""; 0], "nothing was reloaded yet");
            lab.edit("a.luau", &format!("{script} -- edited"));
            lab.until(|lab| lab.snapshot().total.failed > 0);
        }
        lab.app.world_mut().despawn(entity);
        lab.frame();
        let failed = lab.drain::<ScriptFailed>();
        assert!(!failed.is_empty(), "{name}");
        let is_told =
            |failed: &ScriptFailed| (failed.callback, failed.entity) == (callback, entity);
        assert!(failed.iter().all(is_told), "{name}: {failed:?}");
        assert_eq!(lab.snapshot().errors[0].callback, Some(name));
    }
}

#[test]
fn the_same_error_is_one_row_that_counts() {
    let mut lab = Lab::new();
    let failing = "function on_update(self) error('no') end";
    lab.entity("a.luau", failing);
    let last = lab.entity("a.luau", failing);
    lab.frames(3);
    let errors = &lab.snapshot().errors;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let row = &errors[0];
    assert_eq!((&*row.script, row.line, &*row.message), ("a.luau", Some(1), "no"));
    assert_eq!((row.callback, row.entity, row.count), (Some("on_update"), Some(last), 6));
    assert!(row.traceback.contains("a.luau:1 in on_update"), "{}", row.traceback);
    let scripts = &lab.snapshot().scripts;
    assert_eq!((scripts.len(), scripts[0].runs, scripts[0].errors), (1, 6, 6));
    assert_eq!((lab.snapshot().total.runs, lab.snapshot().total.failed), (6, 6));
}

#[test]
fn different_errors_are_different_rows_the_latest_first() {
    let mut lab = Lab::new();
    lab.entity("a.luau", "function on_update(self) error('a') end");
    lab.entity("b.luau", "function on_update(self)\nerror('b') end");
    lab.frame();
    let rows: Vec<_> =
        lab.snapshot().errors.iter().map(|row| (row.message.to_string(), row.line)).collect();
    assert_eq!(rows, [("b".to_owned(), Some(2)), ("a".to_owned(), Some(1))]);
}

#[test]
fn calling_what_is_not_defined_says_so_with_the_line() {
    let mut lab = Lab::new();
    let failure = lab.refuses((), "\nundefined_function(3)");
    assert!(failure.contains(":2: attempt to call a nil value"), "{failure}");
}

#[test]
fn a_callback_that_is_no_function_is_an_error_that_says_so() {
    let mut lab = Lab::new();
    lab.entity("a.luau", "on_update = 5");
    lab.frame();
    assert_eq!(lab.failures(), ["a.luau: `on_update` must be a function, but it is a number"]);
}

#[test]
fn an_error_that_is_no_text_is_still_told() {
    let mut lab = Lab::new();
    let failure = lab.refuses((), "error({code = 5})");
    assert!(failure.contains("table"), "{failure}");
    let failure = lab.refuses(
        (),
        "error(setmetatable({}, {__tostring = function() return 'my own error' end}))",
    );
    assert!(failure.contains("my own error"), "{failure}");
    let failure = lab.refuses((), "error()");
    assert!(failure.contains("nil"), "{failure}");
}

#[test]
fn a_bad_script_beside_good_ones_harms_none_of_them() {
    let mut lab = Lab::new();
    let good = "function on_update(self) self.n = (self.n or 0) + 1; entity.Transform.translation.x += 1 end";
    // Vectors are values in Lua: a component of one is not a place.
    let good = good.replace(
        "entity.Transform.translation.x += 1",
        "entity.Transform.translation += vector.create(1, 0, 0)",
    );
    let before = lab.entity("good.luau", &good);
    let bad = lab.entity(
        "bad.luau",
        "function on_update(self)
            self.n = 1
            entity.Transform.translation = vector.create(9, 9, 9)
            world.spawn{}
            emit('x')
            error('no')
        end",
    );
    let after = lab.entity("good.luau", &good);
    lab.frames(3);
    for good in [before, after] {
        assert_eq!(lab.field(good, "n"), 3.0.into());
        assert_eq!(lab.transform(good).translation.x, 3.0);
    }
    assert_eq!(lab.state(bad), ScriptTable::default());
    assert_eq!(lab.transform(bad), Transform::default());
    assert_eq!(lab.snapshot().total.spawned, 0);
    assert_eq!(lab.drain::<ScriptEvent>(), []);
}

#[test]
fn an_error_in_on_start_keeps_the_script_from_starting_until_it_succeeds() {
    let mut lab = Lab::new();
    let entity = lab.entity(
        "a.luau",
        "function on_start(self) assert(entity.Transform.translation.x > 0, 'not yet') end
        function on_update(self) self.n = (self.n or 0) + 1 end",
    );
    lab.frame();
    assert_eq!(lab.state(entity), ScriptTable::default());
    lab.app.world_mut().get_mut::<Transform>(entity).expect("it has one").translation.x = 1.0;
    lab.frame();
    assert_eq!(lab.field(entity, "n"), 1.0.into());
}
