//! Scripts that change while they run.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::Lab;

const GOOD: &str = "
function on_start(self) self.n, self.starts = 0, (self.starts or 0) + 1 end
function on_update(self) self.n += 1 end
function on_reload(self) self.reloads = (self.reloads or 0) + 1 end
";

fn edited(step: u32) -> String {
    GOOD.replace("self.n += 1", &format!("self.n += {step}"))
}

fn number(lab: &Lab, entity: Entity, field: &str) -> f64 {
    match lab.field(entity, field) {
        ScriptValue::Number(number) => number,
        ScriptValue::Nil => 0.0,
        other => panic!("{other}"),
    }
}

/// What the snapshot says is wrong with a script's text.
fn broken(lab: &Lab, path: &str) -> Option<String> {
    let row = lab.snapshot().scripts.iter().find(|row| &*row.path == path)?;
    row.broken.as_ref().map(ToString::to_string)
}

/// Runs frames until a step of the counter is this long.
#[track_caller]
fn until_step(lab: &mut Lab, entity: Entity, step: f64) {
    let mut before = number(lab, entity, "n");
    lab.until(|lab| {
        let n = number(lab, entity, "n");
        n - std::mem::replace(&mut before, n) == step
    });
}

#[test]
fn an_edited_script_goes_on_with_self_intact_and_new_code() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", GOOD);
    lab.frames(3);
    assert_eq!(number(&lab, entity, "n"), 3.0);
    lab.edit("a.luau", &edited(100));
    // Every frame runs either the old code or the new one, and `on_reload` in the first new one.
    let mut n = 3.0;
    lab.until(|lab| {
        let step = number(lab, entity, "n") - n;
        n += step;
        assert!(step == 0.0 && n == 3.0 || step == 1.0 || step == 100.0, "{step}");
        assert_eq!(number(lab, entity, "reloads"), f64::from(u8::from(step == 100.0)));
        step == 100.0
    });
    lab.frames(3);
    assert_eq!(number(&lab, entity, "n"), n + 300.0);
    assert_eq!((number(&lab, entity, "reloads"), number(&lab, entity, "starts")), (1.0, 1.0));
}

#[test]
fn a_broken_edit_leaves_the_last_good_version_running_until_it_is_mended() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", GOOD);
    lab.frames(2);
    lab.edit("a.luau", "function on_update(self)\n  self.n += = 1\nend");
    lab.until(|lab| broken(lab, "a.luau").is_some());
    let problem = broken(&lab, "a.luau").expect("it is broken");
    assert!(problem.starts_with("a.luau:2: "), "{problem}");
    let row = &lab.snapshot().errors[0];
    assert_eq!((&*row.script, row.line, row.callback), ("a.luau", Some(2), None));

    let before = number(&lab, entity, "n");
    lab.frames(3);
    assert_eq!(number(&lab, entity, "n"), before + 3.0);
    assert_eq!(number(&lab, entity, "reloads"), 0.0);

    lab.edit("a.luau", &edited(100));
    until_step(&mut lab, entity, 100.0);
    lab.frame();
    assert_eq!(broken(&lab, "a.luau"), None);
    assert_eq!((number(&lab, entity, "reloads"), number(&lab, entity, "starts")), (1.0, 1.0));
}

#[test]
fn a_script_that_was_broken_from_the_start_starts_when_it_is_mended() {
    let mut lab = Lab::new();
    lab.file("a.luau", "function on_start(");
    let script = lab.load("a.luau");
    let entity = lab.app.world_mut().spawn(LuaScripts::new(script)).id();
    lab.frames(3);
    assert!(broken(&lab, "a.luau").is_some_and(|problem| problem.starts_with("a.luau:1: ")));
    lab.edit("a.luau", GOOD);
    lab.until(|lab| lab.snapshot().total.runs > 0);
    // The news that it loaded comes a frame after the script itself.
    lab.frame();
    assert_eq!(broken(&lab, "a.luau"), None);
    assert_eq!((number(&lab, entity, "starts"), number(&lab, entity, "reloads")), (1.0, 0.0));
}

#[test]
fn text_that_is_no_text_and_too_much_of_it_are_refused_with_the_file() {
    let mut lab = Lab::new();
    lab.bytes("latin.luau", b"-- caf\xe9\n");
    // How Luau's bytecode begins.
    lab.bytes("bytecode.luau", &[6, 3, 0, 0, 0xff, 0x81]);
    lab.file("huge.luau", &" ".repeat(256 * 1024 + 1));
    lab.file("large.luau", &" ".repeat(256 * 1024));
    for (path, says) in [
        ("latin.luau", "latin.luau: not text: byte 6 is not UTF-8"),
        ("bytecode.luau", "bytecode.luau: not text"),
        ("huge.luau", "huge.luau: 262145 bytes is too large for a script: at most 262144"),
    ] {
        let _handle = lab.load(path);
        lab.until(|lab| broken(lab, path).is_some());
        let problem = broken(&lab, path).expect("it is broken");
        assert!(problem.contains(says), "{problem}");
    }
    let _handle = lab.load("large.luau");
    lab.frame();
    assert_eq!(broken(&lab, "large.luau"), None);
}

#[test]
fn a_file_that_is_missing_is_shown_and_starts_when_it_appears() {
    let mut lab = Lab::new();
    let script = lab.load("late.luau");
    let entity = lab.app.world_mut().spawn(LuaScripts::new(script)).id();
    lab.until(|lab| broken(lab, "late.luau").is_some());
    lab.edit("late.luau", GOOD);
    lab.until(|lab| lab.snapshot().total.runs > 0);
    assert_eq!(number(&lab, entity, "starts"), 1.0);
}

#[test]
fn a_reload_wakes_a_script_that_was_put_aside() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", "function on_update(self) error('no') end");
    lab.frames(10);
    assert!(lab.get::<ScriptStates>(entity).is_put_aside("a.luau"));
    lab.edit("a.luau", GOOD);
    lab.until(|lab| number(lab, entity, "reloads") == 1.0);
    assert!(!lab.get::<ScriptStates>(entity).is_put_aside("a.luau"));
}

#[test]
fn a_reload_that_fails_in_on_reload_is_not_called_again() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", GOOD);
    lab.frame();
    lab.edit(
        "a.luau",
        &GOOD.replace("function on_reload(self)", "function on_reload(self) error('no')"),
    );
    lab.until(|lab| lab.snapshot().total.failed > 0);
    let n = number(&lab, entity, "n");
    lab.frames(3);
    assert_eq!(lab.snapshot().total.failed, 1);
    assert_eq!(number(&lab, entity, "n"), n + 3.0);
}
