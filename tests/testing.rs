//! The test app that apps use for their own scripts and host functions.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::testing::{STEP, TestApp, patient_config};

/// The message with which this panics.
#[track_caller]
fn panic_of(act: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("it panics");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).expect("it is a text")
}

const TALKATIVE: &str = "
function on_start(self) self.n = 1 end
function on_update(self)
    print('about to fail')
    log.warn('beware')
    error('on purpose')
end";

#[test]
fn an_assertion_that_fails_shows_failures_and_log_lines() {
    let mut test = TestApp::new();
    let entity = test.entity("a.luau", TALKATIVE);
    test.frame();
    let shown = [
        "scripts failed",
        "a.luau:6: on purpose",
        "in on_update of",
        "scripts logged",
        "INFO a.luau:4: ",
        "about to fail",
        "WARN a.luau:5: ",
        "beware",
    ];
    for message in [
        panic_of(|| test.assert_no_failures()),
        panic_of(|| test.assert_failed("another message")),
        panic_of(|| test.assert_field(entity, "n", 2.0)),
        panic_of(|| drop(test.get::<Name>(entity))),
    ] {
        for part in shown {
            assert!(message.contains(part), "{part:?} is not in: {message}");
        }
    }
    let message = panic_of(|| test.assert_field(entity, "n", 2.0));
    assert!(message.starts_with("`self.n` of "), "{message}");
    assert!(message.contains(" is 1, not 2\n"), "{message}");
}

#[test]
fn assertions_that_hold_say_nothing() {
    let mut test = TestApp::new();
    let entity = test.entity("a.luau", "function on_update(self) self.n = 2 end");
    test.frame();
    test.assert_no_failures();
    test.assert_field(entity, "n", 2.0);
    test.entity("b.luau", TALKATIVE);
    test.frame();
    // Whoever took them: they are known.
    assert_eq!(test.failures().len(), 1);
    test.assert_failed("on purpose");
}

#[test]
fn log_lines_are_taken_once() {
    let mut test = TestApp::new();
    test.does((), "log.info('one') log.error('two')");
    let lines = test.take_log();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("INFO ") && lines[0].ends_with("one"), "{lines:?}");
    assert!(lines[1].starts_with("ERROR ") && lines[1].ends_with("two"), "{lines:?}");
    assert_eq!(test.take_log(), [""; 0]);
}

#[test]
fn what_a_test_does_wrong_is_told() {
    let message = panic_of(|| _ = TestApp::new().script("a.luau", "local = 1"));
    assert!(message.contains("a.luau is not loaded: "), "{message}");
    assert!(message.contains("a.luau:1: Expected identifier"), "{message}");
    let message = panic_of(|| _ = TestApp::new().does((), "error('no')"));
    assert!(message.contains(":1: no") && message.contains("in: error('no')"), "{message}");
    let message = panic_of(|| _ = TestApp::new().refuses((), "print('all is well')"));
    assert!(message.contains("it did not fail") && message.contains("all is well"), "{message}");
    let message = panic_of(|| {
        let mut test = TestApp::new();
        let entity = test.app.world_mut().spawn_empty().id();
        test.frame();
        test.state(entity);
    });
    assert!(message.contains("has no script that ran"), "{message}");
}

#[test]
fn the_clock_moves_by_one_step_a_frame() {
    let script = "
        function on_update(self, dt) self.updates, self.dt = (self.updates or 0) + 1, dt end
        function on_fixed_update(self) self.fixed = (self.fixed or 0) + 1 end";
    let mut test = TestApp::builder().config(patient_config()).fixed_step(STEP).build();
    let entity = test.entity("a.luau", script);
    test.frames(5);
    test.assert_field(entity, "updates", 5.0);
    test.assert_field(entity, "fixed", 5.0);
    let mut test = TestApp::builder().step(4 * STEP).fixed_step(STEP).build();
    let entity = test.entity("a.luau", script);
    test.frames(5);
    test.assert_field(entity, "updates", 5.0);
    test.assert_field(entity, "fixed", 20.0);
    test.assert_field(entity, "dt", 0.08);
}

#[test]
fn an_edited_file_is_loaded_anew() {
    let mut test = TestApp::new();
    let entity = test.entity("a.luau", "function on_update(self) self.version = 1 end");
    test.frame();
    test.edit("a.luau", "function on_update(self) self.version = 2 end");
    test.until(|test| test.field(entity, "version") == 2.0.into());
    test.send(entity, "nobody listens", ScriptValue::Nil);
    test.frame();
    assert_eq!(test.stats().undelivered, 1);
}
